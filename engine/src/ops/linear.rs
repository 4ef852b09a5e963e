//! Products with weight matrices. A few rows of activations go through `matvec`, which reads each weight once a row; many
//! through `matmul`, which uses each weight for a tile of rows.

use parhelion_shaders::{axes::Tile, matmul, matvec};

use super::{Operator, grid};
use crate::{
    graph::{Graph, ValueId, WeightId},
    recorder::{Recorder, Tensor, WeightPart},
    recording::BufferSlice,
    shape::Shape,
    weights::BLOCK,
};

/// The most rows of activations that `matvec` takes.
const MATVEC_ROWS: u32 = 4;
/// Lanes that share a row of weights in `matvec`.
const LANES: u32 = 32;
/// The same on devices that the CPU plays: invocations without a block of their own cost as much as others there.
const SOFTWARE_LANES: u32 = 4;
/// The same wherever orders are pinned: few enough for devices that the CPU plays.
const PINNED_LANES: u32 = 4;
/// Weight rows from which a group of lanes takes two at once: with fewer there would be too few workgroups.
const TWO_ROWS_FROM: u32 = 8192;
/// Tiles from which they are made larger: with fewer there would be too few workgroups.
const LARGE_TILES_FROM: u64 = 256;
/// Bytes of workgroup memory from which tiles are f32 even where there is f16: tiles of half the size let more workgroups run at
/// once, and cost conversions. With 48 KiB (NVIDIA H200) f32 tiles gave prefill 1.3 to 1.4 times the speed.
const F32_TILES_FROM: u32 = 32 << 10;

#[derive(Debug)]
struct Linear {
    weight: WeightId,
    rows: Option<u32>,
    cols: u32,
    /// A bias and its length.
    bias: Option<(WeightId, u32)>,
}

impl Graph {
    /// `x` times the transpose of a weight matrix, whose rows are those of `tensors` (names and rows) in order:
    /// `[_, n] -> [_, sum of the rows]`.
    pub fn linear(&self, x: ValueId, tensors: &[(&'static str, u32)]) -> ValueId {
        self.linear_with_bias(x, tensors, &[])
    }

    /// The same plus a bias, whose parts belong to `tensors` one by one and are as long as those have rows; none where `biases` is
    /// empty.
    pub fn linear_with_bias(&self, x: ValueId, tensors: &[(&'static str, u32)], biases: &[&'static str]) -> ValueId {
        let cols = self.shape(x).cols;
        let rows = tensors.iter().try_fold(0u32, |sum, (_, rows)| sum.checked_add(*rows));
        let detail = tensors.iter().map(|(name, _)| *name).collect::<Vec<_>>().join("+");
        let parts: Vec<_> = biases.iter().zip(tensors).map(|(&name, &(_, rows))| (name, rows)).collect();
        let len = parts.iter().fold(0, |sum: u32, (_, rows)| sum.saturating_add(*rows));
        let bias = (!biases.is_empty()).then(|| (self.joined_vector(&parts), len));
        self.push(Linear { weight: self.matrix(tensors, cols), rows, cols, bias }, &detail, &[x])
    }
}

impl Operator for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Option<Shape>, String> {
        let rows = self.rows.filter(|&rows| rows > 0 && rows <= i32::MAX as u32);
        let rows = rows.ok_or("the weight's tensors have no rows or more than 2^31")?;
        if let Some((_, len)) = self.bias.filter(|(_, len)| *len != rows) {
            return Err(format!("a bias of {len} elements for {rows} rows"));
        }
        match inputs {
            [x] if x.cols == self.cols && x.cols > 0 => Ok(Some(Shape { rows: x.rows, cols: rows })),
            [x] => Err(format!("the input is {x} where [_, {}] is needed", self.cols)),
            _ => Err(format!("{} inputs where one is needed", inputs.len())),
        }
    }

    fn record(&self, recorder: &mut Recorder<'_>) -> Result<(), String> {
        let (x, y) = (recorder.input(0), recorder.output()?);
        let bias = self.bias.map(|(bias, _)| recorder.vector(bias));
        for part in recorder.weight(self.weight).to_vec() {
            if x.rows <= MATVEC_ROWS {
                record_matvec(recorder, x, y, (part, bias), None)?;
            } else {
                record_matmul(recorder, x, y, (part, bias))?;
            }
        }
        Ok(())
    }
}

/// Rows of a weight matrix, and the bias of the whole matrix.
pub(super) type PartAndBias = (WeightPart, Option<BufferSlice>);

/// Which rows of a matrix make which results, where a router says so.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChosenRows {
    /// What the router gave.
    pub chosen: Tensor,
    /// Experts of a token.
    pub used: u32,
    /// Rows of results that are made of the same row of x.
    pub x_each: u32,
    /// Rows of an expert in each of the tensors that make the matrix.
    pub expert_rows: u32,
    /// Rows of all experts in each of them.
    pub tensor_rows: u32,
}

impl ChosenRows {
    fn params(&self, outputs: u32, plain: matvec::Params) -> matvec::Params {
        let &Self { chosen, used, x_each, expert_rows, tensor_rows } = self;
        matvec::Params { outputs, used, x_each, chosen_stride: chosen.stride, expert_rows, tensor_rows, ..plain }
    }
}

/// Parameters of `matvec` for all rows of a matrix in their order, of which the first gives column `y_offset`.
pub(crate) fn in_order([rows, cols, blocks]: [u32; 3], [x_stride, y_stride]: [u32; 2], y_offset: u32) -> matvec::Params {
    matvec::Params {
        rows,
        cols,
        blocks,
        x_stride,
        y_stride,
        y_offset,
        outputs: rows,
        used: 1,
        x_each: 1,
        chosen_stride: 1,
        expert_rows: 1,
        tensor_rows: 1,
    }
}

/// Adds the dispatch of `matvec` for a row of results each in `y`. Without `rows` each has all rows of the part, in their order.
///
/// # Errors
/// For more rows than a grid can hold.
pub(super) fn record_matvec(
    recorder: &mut Recorder<'_>,
    x: Tensor,
    y: Tensor,
    (part, bias): PartAndBias,
    rows_of: Option<ChosenRows>,
) -> Result<(), String> {
    let defaults = matvec::Constants::default();
    // A group of lanes must be a multiple of every subgroup, unless it adds up without them.
    let lanes = match () {
        () if recorder.reproducible => PINNED_LANES,
        () if recorder.software => recorder.limits.subgroup_max.max(SOFTWARE_LANES),
        () => recorder.limits.subgroup_max.max(LANES),
    };
    // How many rows are taken at once changes no sum.
    let rows = match () {
        () if recorder.software => 4,
        () if part.rows >= TWO_ROWS_FROM && rows_of.is_none() && !recorder.reproducible => 2,
        () => 1,
    };
    let constants = matvec::Constants {
        lanes,
        wg: defaults.wg.max(lanes),
        rows,
        ragged: !part.cols.is_multiple_of(BLOCK),
        with_bias: bias.is_some(),
        experts: rows_of.is_some(),
        ..defaults
    };
    let group_rows = constants.wg / constants.lanes * constants.rows;
    let outputs = if rows_of.is_some() { y.cols } else { part.rows };
    let [groups_x, groups_y, _] = grid(u64::from(outputs), group_rows)?;
    let plain = in_order([part.rows, part.cols, part.blocks], [x.stride, y.stride], part.first_row);
    let params = rows_of.map_or(plain, |rows| rows.params(outputs, plain));
    recorder.dispatch_each(
        u64::from(group_rows) * u64::from(part.cols),
        matvec::call(
            part.format,
            recorder.reduce(),
            constants,
            params,
            matvec::Bindings {
                x: x.slice,
                quants: part.quants,
                scales: part.scales,
                y: y.slice,
                bias: bias.unwrap_or(part.quants),
                chosen: rows_of.map_or(part.quants, |rows| rows.chosen.slice),
            },
            [groups_x, groups_y, y.rows],
        ),
    );
    Ok(())
}

fn record_matmul(recorder: &mut Recorder<'_>, x: Tensor, y: Tensor, (part, bias): PartAndBias) -> Result<(), String> {
    let scarce = recorder.limits.max_workgroup_memory < F32_TILES_FROM;
    let tile = if scarce && recorder.switches.f16 && !recorder.reproducible { Tile::F16 } else { Tile::F32 };
    let tiles = |size: u32| u64::from(x.rows.div_ceil(size)) * u64::from(part.rows.div_ceil(size));
    // Results do not depend on the size of the tiles: each is the sum over blocks of 32 columns in their order.
    let size = if tiles(64) >= LARGE_TILES_FROM { 64 } else { 32 };
    recorder.dispatch_each(
        u64::from(size * size) * u64::from(part.cols),
        matmul::call(
            part.format,
            tile,
            matmul::Constants { tile_x: size, tile_w: size, with_bias: bias.is_some() },
            matmul::Params {
                x_rows: x.rows,
                rows: part.rows,
                cols: part.cols,
                blocks: part.blocks,
                x_stride: x.stride,
                y_stride: y.stride,
                y_offset: part.first_row,
            },
            matmul::Bindings { x: x.slice, quants: part.quants, scales: part.scales, y: y.slice, bias: bias.unwrap_or(part.quants) },
            grid(tiles(size), 1)?,
        ),
    );
    Ok(())
}
