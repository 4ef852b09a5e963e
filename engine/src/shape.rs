//! Shapes of values: rows are a symbol that each step binds, columns are known.

use std::fmt;

/// The symbol that stands for a value's number of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rows {
    /// One row for each token of the step.
    Step,
    /// One row for each token whose logits are wanted.
    Outputs,
}

/// A matrix of f32 activations, row-major. A row takes [`Shape::stride`] elements; those past `cols` hold garbage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Number of rows, as a symbol.
    pub rows: Rows,
    /// Number of columns.
    pub cols: u32,
}

impl Shape {
    /// Elements from one row to the next: `cols` rounded up to a multiple of 4, so that kernels can read `vec4<f32>`.
    pub fn stride(self) -> u32 {
        self.cols.next_multiple_of(4)
    }

    /// Bytes of `rows` rows.
    pub fn bytes(self, rows: u32) -> u64 {
        u64::from(rows) * u64::from(self.stride()) * 4
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = match self.rows {
            Rows::Step => "rows",
            Rows::Outputs => "outputs",
        };
        write!(f, "[{rows}, {}]", self.cols)
    }
}

/// The most that any step of a plan may ask for. Buffers are sized by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Rows of a step.
    pub rows: u32,
    /// Rows whose logits are wanted.
    pub outputs: u32,
    /// Entries of KV cache a sequence can have.
    pub context: u32,
    /// Sequences alive at once.
    pub sequences: u32,
}

/// What one step binds the symbols to, within the plan's [`Bounds`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StepShape {
    /// Rows of the step, at least 1.
    pub rows: u32,
    /// Rows whose logits are wanted; 0 skips the output head.
    pub outputs: u32,
    /// No row attends to KV entries at or past this one.
    pub kv_len: u32,
    /// What the step ends with.
    pub head: Head,
    /// Where its rows come from.
    pub source: RowSource,
}

/// Where the rows of a step come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RowSource {
    /// The host wrote them.
    Host,
    /// The step before sampled them: decoding without a wait.
    Sampled,
}

/// What a step ends with and what feeds the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Head {
    /// Logits, or what else the model gives, for the host to read.
    Logits,
    /// A sampled token an output, written into the rows of the next decode step.
    Sample,
}
