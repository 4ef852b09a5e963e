//! Token embedding: rows of a table in any weight format.

use parhelion_shaders::{axes::Weight, embed, shared::Row};

use super::{
    Operator, TwinArgs,
    blocks::{BLOCK, Planes},
    grid, twin,
};
use crate::{
    graph::{Graph, ValueId, WeightId},
    recorder::Recorder,
    shape::{Rows, Shape},
};

#[derive(Debug)]
struct Embed {
    table: WeightId,
    vocab: u32,
    cols: u32,
    scale: f32,
}

impl Graph {
    /// The rows of the weight `name` (`[vocab, cols]`) that the step's tokens name, times `scale`: `[Step, cols]`.
    pub fn embed(&self, name: &'static str, vocab: u32, cols: u32, scale: f32) -> ValueId {
        let table = self.matrix(&[(name, vocab)], cols);
        let value = self.push(Embed { table, vocab, cols, scale }, name, &[]);
        self.set_embedding(value);
        value
    }
}

impl Operator for Embed {
    fn name(&self) -> &'static str {
        "embed"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Option<Shape>, String> {
        if !inputs.is_empty() || self.vocab == 0 || self.cols == 0 {
            return Err(format!("a table of {} x {} with {} inputs", self.vocab, self.cols, inputs.len()));
        }
        Ok(Some(Shape { rows: Rows::Step, cols: self.cols }))
    }

    fn record(&self, recorder: &mut Recorder<'_>) -> Result<(), String> {
        let (y, step) = (recorder.output()?, recorder.step());
        let constants = embed::Constants::default();
        for part in recorder.weight(self.table).to_vec() {
            recorder.dispatch(embed::call(
                part.format,
                constants,
                embed::Params {
                    rows: y.rows,
                    first_token: part.first_row,
                    tokens: part.rows,
                    cols: part.cols,
                    blocks: part.blocks,
                    y_stride: y.stride,
                    scale: self.scale,
                },
                embed::Bindings { rows: step.rows, quants: part.quants, scales: part.scales, y: y.slice },
                grid(u64::from(y.rows) * u64::from(part.blocks), constants.wg)?,
            ));
        }
        Ok(())
    }
}

/// The scalar twin of `embed`.
pub(super) fn twin(args: &TwinArgs<'_>) -> Result<(), String> {
    let p = embed::params(args.call);
    let b = embed::Bindings::collect(|slot| args.read(slot), |slot| args.write(slot)).ok_or_else(twin::unbound)?;
    let format = Weight::of(args.call.kernel).ok_or("the kernel has no weight format")?;
    let planes = Planes::new(format, p.tokens, p.blocks, b.quants, b.scales)?;
    let (rows, y) = (twin::view::<Row>(b.rows)?, twin::view_mut::<f32>(b.y)?);
    for (row, y) in rows.iter().zip(y.chunks_mut(p.y_stride as usize)).take(p.rows as usize) {
        let token = row.token.wrapping_sub(p.first_token);
        if token >= p.tokens {
            continue;
        }
        for (block, y) in y[..p.cols as usize].chunks_mut(BLOCK).enumerate() {
            for (y, weight) in y.iter_mut().zip(planes.block(token as usize, block)) {
                *y = weight * p.scale;
            }
        }
    }
    Ok(())
}
