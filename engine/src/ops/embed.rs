//! Embedding: rows of a table in any weight format, named by tokens or by positions.

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

/// What names a row of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryOf {
    /// The row's token.
    Token,
    /// The row's position.
    Position,
    /// Nothing: all have the table's first.
    First,
}

impl EntryOf {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Token, Self::Position, Self::First];

    /// What the kernel calls it.
    pub(crate) fn code(self) -> u32 {
        match self {
            Self::Token => 0,
            Self::Position => 1,
            Self::First => 2,
        }
    }

    /// What a call of the kernel has.
    pub(crate) fn of_code(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|entry| entry.code() == code)
    }

    /// The entry of a row.
    fn of(self, row: &Row) -> u32 {
        match self {
            Self::Token => row.token,
            Self::Position => row.position[0],
            Self::First => 0,
        }
    }
}

#[derive(Debug)]
struct Embed {
    table: WeightId,
    entries: u32,
    cols: u32,
    scale: f32,
    index: EntryOf,
}

impl Graph {
    /// The rows of the weight `name` (`[vocab, cols]`) that the step's tokens name, times `scale`: `[Step, cols]`.
    pub fn embed(&self, name: &'static str, vocab: u32, cols: u32, scale: f32) -> ValueId {
        let table = self.matrix(&[(name, vocab)], cols);
        let value = self.push(Embed { table, entries: vocab, cols, scale, index: EntryOf::Token }, name, &[]);
        self.set_embedding(value);
        value
    }

    /// Adds to `x`, in place, the rows of the weight `name` (`[entries, cols of x]`) that `index` says.
    pub fn add_embedding(&self, x: ValueId, name: &'static str, entries: u32, index: EntryOf) {
        let cols = self.shape(x).cols;
        let table = self.matrix(&[(name, entries)], cols);
        self.push_effect(Embed { table, entries, cols, scale: 1.0, index }, name, &[x]);
    }
}

impl Operator for Embed {
    fn name(&self) -> &'static str {
        "embed"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Option<Shape>, String> {
        let shape = Shape { rows: Rows::Step, cols: self.cols };
        match inputs {
            _ if self.entries == 0 || self.cols == 0 => Err(format!("a table of {} x {}", self.entries, self.cols)),
            [] => Ok(Some(shape)),
            [x] if *x == shape => Ok(None),
            _ => Err(format!("{} inputs where none or one of {shape} is needed", inputs.len())),
        }
    }

    fn record(&self, recorder: &mut Recorder<'_>) -> Result<(), String> {
        let add = !recorder.inputs.is_empty();
        let (y, step) = (if add { recorder.input(0) } else { recorder.output()? }, recorder.step());
        let constants = embed::Constants { index: self.index.code(), add, ..Default::default() };
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
    let (p, constants) = (embed::params(args.call), embed::constants(args.call));
    let index = EntryOf::of_code(constants.index).ok_or_else(|| format!("entries by {}", constants.index))?;
    let b = embed::Bindings::collect(|slot| args.read(slot), |slot| args.write(slot)).ok_or_else(twin::unbound)?;
    let format = Weight::of(args.call.kernel).ok_or("the kernel has no weight format")?;
    let planes = Planes::new(format, p.tokens, p.blocks, b.quants, b.scales)?;
    let (rows, y) = (twin::view::<Row>(b.rows)?, twin::view_mut::<f32>(b.y)?);
    for (row, y) in rows.iter().zip(y.chunks_mut(p.y_stride as usize)).take(p.rows as usize) {
        let token = index.of(row).wrapping_sub(p.first_token);
        if token >= p.tokens {
            continue;
        }
        for (block, y) in y[..p.cols as usize].chunks_mut(BLOCK).enumerate() {
            for (y, weight) in y.iter_mut().zip(planes.block(token as usize, block)) {
                let entry = weight * p.scale;
                *y = if constants.add { *y + entry } else { entry }; // plain tables keep the sign of their zeros
            }
        }
    }
    Ok(())
}
