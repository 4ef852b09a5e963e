//! Which intermediate values share memory: values that are never alive together may lie in the same buffer.

use crate::{
    graph::Model,
    shape::{Bounds, Rows},
};

/// The scratch buffers of a plan and what lies in each.
#[derive(Debug)]
pub(crate) struct Slots {
    /// Bytes of each buffer.
    pub sizes: Vec<u64>,
    /// The buffer of each value.
    pub of_value: Vec<usize>,
    /// The buffer of each node's scratch memory.
    pub of_scratch: Vec<Option<usize>>,
}

impl Slots {
    /// Walks the nodes in order: an output takes the best-fitting buffer that is free, and a buffer is free again after the
    /// last node that uses its value. Inputs and outputs of one node never share, since no dispatch may both read and write a
    /// buffer.
    pub(crate) fn assign(model: &Model, bounds: &Bounds) -> Self {
        let mut last_use = vec![0; model.values.len()];
        for (i, node) in model.nodes.iter().enumerate() {
            for id in node.inputs.iter().chain(&node.output) {
                last_use[id.index()] = i;
            }
        }
        last_use[model.output.index()] = usize::MAX; // the host may read them after the step
        let mut pool = Pool::default();
        let mut of_value = vec![usize::MAX; model.values.len()];
        let mut of_scratch = vec![None; model.nodes.len()];
        for (i, node) in model.nodes.iter().enumerate() {
            let scratch = node.op.scratch_bytes(bounds);
            if let Some(id) = node.output {
                let shape = model.values[id.index()].shape;
                let rows = match shape.rows {
                    Rows::Step => bounds.rows,
                    Rows::Outputs => bounds.outputs,
                };
                of_value[id.index()] = pool.take(shape.bytes(rows));
            }
            of_scratch[i] = (scratch > 0).then(|| pool.take(scratch));
            pool.free.extend(of_scratch[i]);
            let mut done: Vec<usize> =
                node.inputs.iter().chain(&node.output).filter(|id| last_use[id.index()] == i).map(|id| of_value[id.index()]).collect();
            done.sort_unstable();
            done.dedup();
            pool.free.extend(done);
        }
        Self { sizes: pool.sizes, of_value, of_scratch }
    }
}

#[derive(Default)]
struct Pool {
    sizes: Vec<u64>,
    free: Vec<usize>,
}

impl Pool {
    /// The smallest free buffer that is large enough, else the largest free one, grown, else a new one.
    fn take(&mut self, size: u64) -> usize {
        let fitting =
            self.free.iter().enumerate().filter(|(_, slot)| self.sizes[**slot] >= size).min_by_key(|(_, slot)| self.sizes[**slot]);
        let chosen = fitting.or_else(|| self.free.iter().enumerate().max_by_key(|(_, slot)| self.sizes[**slot]));
        let Some((at, &slot)) = chosen else {
            self.sizes.push(size);
            return self.sizes.len() - 1;
        };
        self.free.swap_remove(at);
        self.sizes[slot] = self.sizes[slot].max(size);
        slot
    }
}
