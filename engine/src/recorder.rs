//! Gives operators what they record with: the step's sizes, the device, and where values, weights and state lie.

use parhelion_shaders::{Call, axes};

use crate::{
    exec::{DeviceLimits, Switches},
    graph::{TableId, WeightId},
    recording::{BufferSlice, Recording, Step},
    shape::{Bounds, Rows, Shape, StepShape},
};

/// A value of the step: where it lies and how large it is.
#[derive(Debug, Clone, Copy)]
pub struct Tensor {
    /// The bytes of its rows.
    pub slice: BufferSlice,
    /// Rows in this step.
    pub rows: u32,
    /// Columns.
    pub cols: u32,
    /// Elements from one row to the next.
    pub stride: u32,
}

/// Rows `first_row..first_row + rows` of a weight matrix in the engine's layout, small enough for one binding.
#[derive(Debug, Clone, Copy)]
pub struct WeightPart {
    /// First row, counted from the weight's first.
    pub first_row: u32,
    /// Rows of this part.
    pub rows: u32,
    /// Columns.
    pub cols: u32,
    /// Blocks of 32 columns a row.
    pub blocks: u32,
    /// The format of its planes.
    pub format: axes::Weight,
    /// `vec4<u32>` plane.
    pub quants: BufferSlice,
    /// Scales, for formats that have them.
    pub scales: Option<BufferSlice>,
}

/// The KV cache of one layer.
#[derive(Debug, Clone, Copy)]
pub struct KvBuffers {
    /// Key tiles.
    pub keys: BufferSlice,
    /// Value tiles.
    pub values: BufferSlice,
    /// Page table of the layer, `pages_per_sequence` words a sequence.
    pub pages: BufferSlice,
    /// Element format of both.
    pub format: axes::Kv,
}

/// Buffers that every step shares.
#[derive(Debug, Clone, Copy)]
pub struct StepBuffers {
    /// `array<Row>` of this step (a decode step's are those that sampling advances).
    pub rows: BufferSlice,
    /// `array<Row>` of the next decode step, one a sequence that is being generated, in the order of the outputs.
    pub next_rows: BufferSlice,
    /// For each output the row it comes from, `array<u32>`.
    pub output_index: BufferSlice,
    /// `array<Sampler>`, one an output.
    pub samplers: BufferSlice,
    /// How often each sequence has seen each token, `sequences * vocab` words.
    pub counts: BufferSlice,
    /// `array<Sampled>`, one an output.
    pub sampled: BufferSlice,
    /// `array<Run>`: the rows of each sequence in the step and the slots of its recurrent state.
    pub runs: BufferSlice,
    /// Page table entries a sequence.
    pub pages_per_sequence: u32,
}

/// Where everything lies that operators bind, and what they may choose from. Made by the plan.
pub(crate) trait Bound {
    fn weight(&self, id: WeightId) -> &[WeightPart];
    fn vector(&self, id: WeightId) -> BufferSlice;
    fn table(&self, id: TableId) -> BufferSlice;
    fn kv(&self, layer: u32) -> KvBuffers;
    fn state(&self, index: u32) -> BufferSlice;
    fn step(&self) -> &StepBuffers;
}

/// What an operator's `record` works with.
pub struct Recorder<'a> {
    pub(crate) bound: &'a dyn Bound,
    pub(crate) recording: &'a mut Recording,
    pub(crate) label: &'a str,
    pub(crate) inputs: Vec<Tensor>,
    pub(crate) output: Option<Tensor>,
    pub(crate) scratch: Option<BufferSlice>,
    /// What the step binds rows, outputs and KV length to.
    pub shape: StepShape,
    /// The most that any step asks for.
    pub bounds: Bounds,
    /// Which kernels may be chosen.
    pub switches: Switches,
    /// The device's limits.
    pub limits: DeviceLimits,
    /// Whether the CPU plays the device: loads are dear there, and workgroups run one after another.
    pub software: bool,
    /// Pinned f32 kernels and reduction orders only.
    pub reproducible: bool,
}

impl Recorder<'_> {
    /// How many rows a symbol stands for in this step.
    pub fn rows(&self, rows: Rows) -> u32 {
        match rows {
            Rows::Step => self.shape.rows,
            Rows::Outputs => self.shape.outputs,
        }
    }

    /// The operator's input `i`.
    pub fn input(&self, i: usize) -> Tensor {
        self.inputs[i]
    }

    /// The operator's output.
    ///
    /// # Errors
    /// For an operator whose `infer` gave none.
    pub fn output(&self) -> Result<Tensor, String> {
        self.output.ok_or_else(|| "this operator has no output".into())
    }

    /// Scratch memory of the size `scratch_bytes` asked for.
    ///
    /// # Errors
    /// For an operator that asked for none.
    pub fn scratch(&self) -> Result<BufferSlice, String> {
        self.scratch.ok_or_else(|| "this operator asked for no scratch memory".into())
    }

    /// The parts of a weight matrix, in the order of their rows.
    pub fn weight(&self, id: WeightId) -> &[WeightPart] {
        self.bound.weight(id)
    }

    /// A weight vector as f32.
    pub fn vector(&self, id: WeightId) -> BufferSlice {
        self.bound.vector(id)
    }

    /// A table that the host made when the graph was built.
    pub fn table(&self, id: TableId) -> BufferSlice {
        self.bound.table(id)
    }

    /// The KV cache of a layer.
    pub fn kv(&self, layer: u32) -> KvBuffers {
        self.bound.kv(layer)
    }

    /// The slots of a recurrent state.
    pub fn state(&self, index: u32) -> BufferSlice {
        self.bound.state(index)
    }

    /// How many runs the step can have: what a grid over them needs.
    pub fn most_runs(&self) -> u32 {
        self.shape.rows.min(self.bounds.sequences)
    }

    /// Buffers that every step shares.
    pub fn step(&self) -> StepBuffers {
        *self.bound.step()
    }

    /// How kernels add up: by subgroups where there are any, unless orders are pinned.
    pub fn reduce(&self) -> axes::Reduce {
        if self.switches.subgroups && !self.reproducible { axes::Reduce::Subgroup } else { axes::Reduce::Tree }
    }

    /// Adds a dispatch whose workgroups all have the same to do, whatever the shape. Kernels with an override `SUBGROUP_MIN` are
    /// given the device's.
    pub fn dispatch(&mut self, call: Call<BufferSlice>) {
        self.dispatch_each(1, call);
    }

    /// Adds a dispatch each of whose workgroups has `each` units to do: what [`Step::work`] counts.
    pub fn dispatch_each(&mut self, each: u64, mut call: Call<BufferSlice>) {
        fit_to_device(&mut call, &self.limits);
        let work = call.grid.iter().fold(each, |work, &n| work.saturating_mul(n.into()));
        self.recording.steps.push(Step { label: self.label.to_owned(), call, work });
    }
}

/// Gives a kernel with an override `SUBGROUP_MIN` the device's smallest subgroup size.
pub(crate) fn fit_to_device<B>(call: &mut Call<B>, limits: &DeviceLimits) {
    const NAME: &str = "SUBGROUP_MIN";
    if call.kernel.constants.iter().any(|constant| constant.name == NAME) {
        call.constants.retain(|(name, _)| *name != NAME);
        call.constants.push((NAME, f64::from(limits.subgroup_min)));
    }
}

impl Tensor {
    pub(crate) fn new(slice: BufferSlice, shape: Shape, rows: u32) -> Self {
        Self { slice: slice.head(shape.bytes(rows)), rows, cols: shape.cols, stride: shape.stride() }
    }
}
