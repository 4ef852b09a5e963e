//! A plan: which buffers a model needs on a device, when each is alive, and the recording of any step within its bounds.
//! All sizes are known here, before anything is allocated.

use parhelion_shaders::{axes, shared};

use crate::{
    exec::{DeviceInfo, ExecError},
    graph::{KvDecl, Model, Output, TableId, ValueId, WeightId},
    ops::{
        kv::{PAGE, layer_bytes},
        state::SLOTS,
    },
    recorder::{Bound, KvBuffers, Recorder, StepBuffers, Tensor, WeightPart},
    recording::{BufferDesc, BufferId, BufferSlice, BufferUse, Recording},
    shape::{Bounds, Head, RowSource, Rows, Shape, StepShape},
    slots::Slots,
    weights::WeightLayout,
};

mod kv;
mod memory;

pub use kv::KvGroup;
use kv::most_pages;
pub use memory::PlanMemory;

/// What a plan is made for, beside the model.
#[derive(Debug, Clone, Copy)]
pub struct PlanOptions {
    /// The most that a step asks for.
    pub bounds: Bounds,
    /// How the KV cache is stored.
    pub kv: axes::Kv,
    /// Pinned f32 kernels and reduction orders only.
    pub reproducible: bool,
}

/// A model on a device: buffers and how to record steps.
#[derive(Debug)]
pub struct Plan {
    model: Model,
    options: PlanOptions,
    device: DeviceInfo,
    weights: Vec<WeightLayout>,
    slots: Slots,
    kv_groups: Vec<KvGroup>,
    vocab: u32,
}

/// What a plan cannot do on a device.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// One buffer is over the device's limits.
    #[error(transparent)]
    Limit(#[from] ExecError),
    /// An operator cannot be recorded.
    #[error("{label}: {reason}")]
    Operator {
        /// The operator's label.
        label: String,
        /// What is wrong.
        reason: String,
    },
    /// A step outside the plan's bounds.
    #[error("a step of {shape:?} is outside the plan's {bounds:?}")]
    Bounds {
        /// The step.
        shape: StepShape,
        /// The plan's bounds.
        bounds: Bounds,
    },
}

/// The plan's buffers, allocated.
#[derive(Debug)]
pub struct Buffers {
    pub(crate) weights: Vec<Vec<WeightPart>>,
    pub(crate) tables: Vec<BufferSlice>,
    slots: Vec<BufferSlice>,
    page_tables: Vec<BufferSlice>,
    kv: Vec<KvBuffers>,
    pub(crate) states: Vec<BufferSlice>,
    rows: BufferSlice,
    next_rows: BufferSlice,
    step: StepBuffers,
}

impl Plan {
    /// Plans a model for a device. `weights` are the layouts of the model's weights in their order.
    ///
    /// # Errors
    /// [`PlanError::Limit`] if a buffer that cannot be split is over the device's limits.
    pub fn new(model: Model, weights: Vec<WeightLayout>, device: DeviceInfo, options: PlanOptions) -> Result<Self, PlanError> {
        let slots = Slots::assign(&model, &options.bounds);
        let vocab = match model.gives {
            Output::Logits => model.values[model.output.index()].shape.cols,
            Output::Embeddings => 0,
        };
        let most = most_pages(model.gives, &options.bounds);
        let bytes = |layer: &KvDecl, pages| 2 * layer_bytes(options.kv, layer.heads, layer.head_dim, layer.window.map_or(most, |_| pages));
        let kv_groups = KvGroup::all(&model.kv, &options.bounds, bytes);
        let plan = Self { model, options, device, weights, slots, kv_groups, vocab };
        let limit = plan.device.limits.max_binding.min(plan.device.limits.max_buffer);
        for buffer in plan.descriptions() {
            if buffer.size > limit {
                return Err(ExecError::OverLimit { label: buffer.label, size: buffer.size, limit }.into());
            }
        }
        Ok(plan)
    }

    /// What the plan was made for.
    pub fn options(&self) -> &PlanOptions {
        &self.options
    }

    /// Columns of the logits; 0 for a model that gives none.
    pub fn vocab(&self) -> u32 {
        self.vocab
    }

    /// The layouts of the weights, in the model's order.
    pub fn weights(&self) -> &[WeightLayout] {
        &self.weights
    }

    /// The model's weights, in order.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Logical pages of KV cache a sequence can have: the length of its part of a page table.
    pub fn pages_per_sequence(&self) -> u32 {
        self.options.bounds.context.div_ceil(PAGE)
    }

    /// Pages of KV cache in all, of layers that keep all of it.
    pub fn pages(&self) -> u32 {
        most_pages(self.model.gives, &self.options.bounds)
    }

    /// Bytes that the plan needs.
    pub fn memory(&self) -> PlanMemory {
        let of = |usage| self.descriptions().iter().filter(|b| b.usage == usage).map(|b| b.size).sum::<u64>();
        let kv = self.kv_groups.iter().map(|group| group.bytes).sum::<u64>()
            + self.model.states.iter().map(|state| self.state_bytes(state.elems)).sum::<u64>();
        PlanMemory {
            weights: of(BufferUse::Weights),
            kv,
            scratch: of(BufferUse::Scratch),
            other: of(BufferUse::State) - kv + of(BufferUse::Io),
        }
    }

    /// Bytes of all slots of a recurrent state.
    fn state_bytes(&self, elems: u32) -> u64 {
        4 * u64::from(elems) * u64::from(self.state_slots())
    }

    /// Slots of each recurrent state.
    pub(crate) fn state_slots(&self) -> u32 {
        SLOTS * self.options.bounds.sequences
    }

    /// Whether sequences have recurrent state, which cannot be cut back.
    pub fn has_state(&self) -> bool {
        !self.model.states.is_empty()
    }

    /// Every buffer of the plan, in the order that [`Plan::bind`] expects.
    pub fn descriptions(&self) -> Vec<BufferDesc> {
        let desc = |label: String, size: u64, usage| BufferDesc { label, size: size.max(4), usage };
        let bounds = self.options.bounds;
        let mut out = Vec::new();
        for weight in &self.weights {
            for part in &weight.parts {
                out.push(desc(weight.label.clone(), part.quant_bytes, BufferUse::Weights));
                if part.scale_bytes > 0 {
                    out.push(desc(format!("{} scales", weight.label), part.scale_bytes, BufferUse::Weights));
                }
            }
        }
        for table in &self.model.tables {
            out.push(desc(table.label.clone(), table.bytes.len() as u64, BufferUse::State));
        }
        for (i, &size) in self.slots.sizes.iter().enumerate() {
            out.push(desc(format!("scratch {i}"), size, BufferUse::Scratch));
        }
        for group in &self.kv_groups {
            let label = group.window.map_or_else(|| "page table".into(), |window| format!("page table of a window of {window}"));
            out.push(desc(label, 4 * u64::from(self.pages_per_sequence()) * u64::from(bounds.sequences), BufferUse::State));
        }
        for (i, kv) in self.model.kv.iter().enumerate() {
            let size = self.kv_bytes(kv);
            out.push(desc(format!("keys of layer {i} for a context of {}", bounds.context), size, BufferUse::State));
            out.push(desc(format!("values of layer {i} for a context of {}", bounds.context), size, BufferUse::State));
        }
        for state in &self.model.states {
            let layer = state.layer.unwrap_or_default();
            out.push(desc(
                format!("state of layer {layer} for {} sequences", bounds.sequences),
                self.state_bytes(state.elems),
                BufferUse::State,
            ));
        }
        let words = |n: u32, each: usize| u64::from(n) * each as u64;
        let outputs = bounds.outputs.max(bounds.sequences);
        out.extend([
            desc("rows".into(), words(bounds.rows, size_of::<shared::Row>()), BufferUse::Io),
            desc("next rows".into(), words(outputs, size_of::<shared::Row>()), BufferUse::State),
            desc("output index".into(), words(outputs, 4), BufferUse::Io),
            desc("samplers".into(), words(outputs, size_of::<shared::Sampler>()), BufferUse::State),
            desc("token counts".into(), words(bounds.sequences, 4) * u64::from(self.vocab), BufferUse::State),
            desc("sampled".into(), words(outputs, size_of::<shared::Sampled>()), BufferUse::Io),
            desc("runs".into(), words(bounds.sequences, size_of::<shared::Run>()), BufferUse::Io),
        ]);
        out
    }

    /// Says which allocated buffer is which: `ids` in the order of [`Plan::descriptions`].
    ///
    /// # Errors
    /// [`PlanError::Operator`] if `ids` are not as many.
    pub fn bind(&self, ids: Vec<BufferId>) -> Result<Buffers, PlanError> {
        let descriptions = self.descriptions();
        if ids.len() != descriptions.len() {
            let reason = format!("{} buffers for {} descriptions", ids.len(), descriptions.len());
            return Err(PlanError::Operator { label: "plan".into(), reason });
        }
        let mut all = ids.iter().zip(&descriptions).map(|(&id, desc)| BufferSlice::whole(id, desc.size));
        let mut next = || all.next().unwrap_or(BufferSlice::whole(BufferId(u32::MAX), 0));
        let weights = self.weights.iter().map(|weight| weight.bind(&mut next)).collect();
        let tables = self.model.tables.iter().map(|_| next()).collect();
        let slots = self.slots.sizes.iter().map(|_| next()).collect();
        let page_tables: Vec<_> = self.kv_groups.iter().map(|_| next()).collect();
        let layer = |kv: &KvDecl, keys, values| KvBuffers { keys, values, pages: page_tables[self.group_of(kv)], format: self.options.kv };
        let kv = self.model.kv.iter().map(|kv| layer(kv, next(), next())).collect();
        let states = self.model.states.iter().map(|_| next()).collect();
        let (rows, next_rows) = (next(), next());
        let step = StepBuffers {
            rows,
            next_rows,
            output_index: next(),
            samplers: next(),
            counts: next(),
            sampled: next(),
            runs: next(),
            pages_per_sequence: self.pages_per_sequence(),
        };
        Ok(Buffers { weights, tables, slots, page_tables, kv, states, rows, next_rows, step })
    }

    /// Where what a step with this many outputs gives lies after it: `[outputs, stride]` f32.
    pub fn output(&self, buffers: &Buffers, outputs: u32) -> Tensor {
        self.tensor(buffers, self.model.output, StepShape { rows: 1, outputs, kv_len: 1, head: Head::Logits, source: RowSource::Host })
    }

    /// Where the embedded tokens of a step with this many rows lie: the host may write rows of its own there before the step,
    /// which tokens outside the vocabulary leave as they are. None for a model that embeds nothing.
    pub fn embedding(&self, buffers: &Buffers, rows: u32) -> Option<Tensor> {
        let shape = StepShape { rows, outputs: 0, kv_len: 1, head: Head::Logits, source: RowSource::Host };
        Some(self.tensor(buffers, self.model.embedding?, shape))
    }

    fn tensor(&self, buffers: &Buffers, id: ValueId, shape: StepShape) -> Tensor {
        let value: Shape = self.model.values[id.index()].shape;
        let rows = match value.rows {
            Rows::Step => shape.rows,
            Rows::Outputs => shape.outputs,
        };
        Tensor::new(buffers.slots[self.slots.of_value[id.index()]], value, rows)
    }

    /// Records one step.
    ///
    /// # Errors
    /// [`PlanError::Bounds`], [`PlanError::Operator`].
    pub fn record(&self, buffers: &Buffers, shape: StepShape) -> Result<Recording, PlanError> {
        let bounds = self.options.bounds;
        let fits = (1..=bounds.rows).contains(&shape.rows)
            && shape.outputs <= bounds.outputs
            && shape.outputs <= shape.rows
            && (1..=bounds.context).contains(&shape.kv_len);
        if !fits {
            return Err(PlanError::Bounds { shape, bounds });
        }
        let mut step = buffers.step;
        step.rows = match shape.source {
            RowSource::Host => buffers.rows,
            RowSource::Sampled => buffers.next_rows,
        };
        let bound = BoundStep { buffers, step };
        let mut recording = Recording::default();
        for (i, node) in self.model.nodes.iter().enumerate() {
            if (node.outputs_only && shape.outputs == 0) || (node.samples && shape.head == Head::Logits) {
                continue;
            }
            let tensor = |id: &ValueId| self.tensor(buffers, *id, shape);
            let mut recorder = Recorder {
                bound: &bound,
                recording: &mut recording,
                label: &node.label,
                inputs: node.inputs.iter().map(tensor).collect(),
                output: node.output.as_ref().map(tensor),
                scratch: self.slots.of_scratch[i].map(|slot| buffers.slots[slot]),
                shape,
                bounds,
                switches: self.device.switches,
                limits: self.device.limits,
                software: self.device.software,
                reproducible: self.options.reproducible,
            };
            node.op.record(&mut recorder).map_err(|reason| PlanError::Operator { label: node.label.clone(), reason })?;
        }
        Ok(recording)
    }
}

impl Buffers {
    /// The buffers that every step shares; `rows` are those that the host writes.
    pub fn step(&self) -> &StepBuffers {
        &self.step
    }

    /// The page table of each group of layers, in the order of [`Plan::kv_groups`].
    pub fn page_tables(&self) -> &[BufferSlice] {
        &self.page_tables
    }
}

struct BoundStep<'a> {
    buffers: &'a Buffers,
    step: StepBuffers,
}

impl Bound for BoundStep<'_> {
    fn weight(&self, id: WeightId) -> &[WeightPart] {
        &self.buffers.weights[id.index()]
    }

    fn vector(&self, id: WeightId) -> BufferSlice {
        self.buffers.weights[id.index()][0].quants
    }

    fn table(&self, id: TableId) -> BufferSlice {
        self.buffers.tables[id.index()]
    }

    fn kv(&self, layer: u32) -> KvBuffers {
        self.buffers.kv[layer as usize]
    }

    fn state(&self, index: u32) -> BufferSlice {
        self.buffers.states[index as usize]
    }

    fn step(&self) -> &StepBuffers {
        &self.step
    }
}
