//! The scalar twins of `matvec` and `matmul`. On a machine without a GPU they are the program's speed, so their loops run on
//! all threads and are compiled for several instruction sets; multiplication and addition stay apart, so that all of them give
//! the same bits.

use std::collections::BTreeMap;

use parhelion_shaders::{axes::Weight, matmul, matvec};

use super::{
    TwinArgs,
    blocks::{Activations, BLOCK, Block, LANES, Planes, add_products, half_sums},
    twin,
};
use crate::exec::Parallel;

/// Rows of activations that a pass takes: their blocks stay in a core's cache while weights stream by.
const PASS: usize = 64;
/// Rows of weights that are dequantised together.
const GROUP: usize = 4;

/// Where the rows of a product come from and go to.
struct Product<'a> {
    planes: Planes<'a>,
    /// The first row of weights.
    first: usize,
    /// Rows of weights.
    rows: usize,
    cols: usize,
    x: &'a [f32],
    x_stride: usize,
    y_stride: usize,
    /// The column of y that the first row of weights gives.
    column: usize,
    /// Added to each row of y: one for each row of weights.
    bias: Option<&'a [f32]>,
}

/// A row of x, and the row of y that is made of it.
type Pair = (usize, usize);

/// Computes weight rows `first..first + n` times every row of a pass, into `n` values a row of the pass.
type Tile = fn(&Planes<'_>, usize, &Rows, usize, &mut [f32]);

/// The scalar twin of `matvec`.
pub(super) fn matvec(args: &TwinArgs<'_>) -> Result<(), String> {
    let (p, constants) = (matvec::params(args.call), matvec::constants(args.call));
    let b = matvec::Bindings::collect(|slot| args.read(slot), |slot| args.write(slot)).ok_or_else(twin::unbound)?;
    let bias = constants.with_bias.then(|| twin::view(b.bias)).transpose()?;
    let column = p.y_offset as usize;
    let whole = Product {
        planes: Planes::new(format_of(args)?, p.rows, p.blocks, b.quants, b.scales)?,
        first: 0,
        rows: p.rows as usize,
        cols: p.cols as usize,
        x: twin::view(b.x)?,
        x_stride: p.x_stride as usize,
        y_stride: p.y_stride as usize,
        column,
        bias: from_column(bias, column)?,
    };
    let (y, z) = (twin::view_mut(b.y)?, args.call.grid[2]);
    if !constants.experts {
        return whole.run(args.parallel, in_order(z), y, tile_of_quants);
    }
    for (piece, pairs) in chosen_rows(&p, b.chosen, z)? {
        let product =
            Product { first: piece.row, rows: piece.rows, column: piece.column, bias: from_column(whole.bias, piece.row)?, ..whole };
        product.run(args.parallel, pairs, y, tile_of_quants)?;
    }
    Ok(())
}

/// The scalar twin of `matmul`.
pub(super) fn matmul(args: &TwinArgs<'_>) -> Result<(), String> {
    let p = matmul::params(args.call);
    let b = matmul::Bindings::collect(|slot| args.read(slot), |slot| args.write(slot)).ok_or_else(twin::unbound)?;
    let bias = matmul::constants(args.call).with_bias.then(|| twin::view(b.bias)).transpose()?;
    let column = p.y_offset as usize;
    let product = Product {
        planes: Planes::new(format_of(args)?, p.rows, p.blocks, b.quants, b.scales)?,
        first: 0,
        rows: p.rows as usize,
        cols: p.cols as usize,
        x: twin::view(b.x)?,
        x_stride: p.x_stride as usize,
        y_stride: p.y_stride as usize,
        column,
        bias: from_column(bias, column)?,
    };
    product.run(args.parallel, in_order(p.x_rows), twin::view_mut(b.y)?, tile_of_weights)
}

/// Each row of y is made of the same row of x.
fn in_order(rows: u32) -> Vec<Pair> {
    (0..rows as usize).map(|row| (row, row)).collect()
}

/// A bias from an element on.
fn from_column(bias: Option<&[f32]>, first: usize) -> Result<Option<&[f32]>, String> {
    bias.map(|bias| bias.get(first..).ok_or_else(|| format!("a bias of {} elements ends before {first}", bias.len()))).transpose()
}

fn format_of(args: &TwinArgs<'_>) -> Result<Weight, String> {
    Weight::of(args.call.kernel).ok_or_else(|| format!("{} has no weight format", args.call.kernel.variant))
}

/// Rows of activations in whole blocks, zero past the last column.
struct Rows {
    blocks: Vec<Block>,
    sums: Vec<[f32; 2]>,
    /// Blocks a row.
    len: usize,
}

impl Rows {
    fn row(&self, i: usize) -> Activations<'_> {
        let range = i * self.len..(i + 1) * self.len;
        Activations { blocks: &self.blocks[range.clone()], sums: &self.sums[range] }
    }
}

impl Product<'_> {
    fn run(&self, parallel: &dyn Parallel, pairs: Vec<Pair>, y: &mut [f32], tile: Tile) -> Result<(), String> {
        self.check(&pairs, y.len())?;
        for pairs in pairs.chunks(PASS) {
            self.pass(parallel, pairs, y, tile);
        }
        Ok(())
    }

    /// Everything that the loops index must be there.
    fn check(&self, pairs: &[Pair], y_len: usize) -> Result<(), String> {
        if pairs.is_empty() || self.rows == 0 || self.cols == 0 || self.cols > self.planes.blocks() * BLOCK {
            return Err(format!("{} x {} weights in {} blocks a row", self.rows, self.cols, self.planes.blocks()));
        }
        if let Some(bias) = self.bias.filter(|bias| bias.len() < self.rows) {
            return Err(format!("a bias of {} elements for {} rows", bias.len(), self.rows));
        }
        let fits = |row: usize, stride: usize, end: Option<usize>, len: usize| {
            row.checked_mul(stride).and_then(|start| start.checked_add(end?)).is_some_and(|end| end <= len)
        };
        let last = |row: fn(&Pair) -> usize| pairs.iter().map(row).max().unwrap_or(0);
        let y_fits = fits(last(|pair| pair.1), self.y_stride, self.column.checked_add(self.rows), y_len);
        if y_fits && fits(last(|pair| pair.0), self.x_stride, Some(self.cols), self.x.len()) {
            return Ok(());
        }
        Err(format!("{} rows of activations do not fit {} elements of x and {y_len} of y", pairs.len(), self.x.len()))
    }

    fn rows_of_pass(&self, pairs: &[Pair]) -> Rows {
        let len = self.planes.blocks();
        let mut blocks = vec![[0.0; BLOCK]; pairs.len() * len];
        for (row, (x_row, _)) in blocks.chunks_mut(len).zip(pairs) {
            let start = x_row * self.x_stride;
            row.as_flattened_mut()[..self.cols].copy_from_slice(&self.x[start..start + self.cols]);
        }
        let sums = blocks.iter().map(half_sums).collect();
        Rows { blocks, sums, len }
    }

    /// One pass: threads take chunks of weight rows and compute into memory of their own, which is then put in its place.
    fn pass(&self, parallel: &dyn Parallel, pairs: &[Pair], y: &mut [f32], tile: Tile) {
        let (rows, count) = (self.rows_of_pass(pairs), pairs.len());
        let chunk = self.rows.div_ceil(4 * parallel.threads()).next_multiple_of(GROUP);
        let mut results = vec![0.0; self.rows * count];
        let parts = results.chunks_mut(chunk * count).collect();
        twin::for_each_part(parallel, parts, &|i, out| tile(&self.planes, self.first + i * chunk, &rows, out.len() / count, out));
        for (i, part) in results.chunks(chunk * count).enumerate() {
            let n = part.len() / count;
            for ((_, y_row), values) in pairs.iter().zip(part.chunks(n)) {
                let y = &mut y[y_row * self.y_stride + self.column + i * chunk..][..n];
                y.copy_from_slice(values);
                if let Some(bias) = self.bias {
                    y.iter_mut().zip(&bias[i * chunk..]).for_each(|(y, bias)| *y += bias);
                }
            }
        }
    }
}

/// Rows of weights that lie together and give columns that lie together.
struct Piece {
    row: usize,
    rows: usize,
    column: usize,
}

/// What each expert that was chosen has in a part of the weights, and the rows that it is chosen for.
fn chosen_rows(p: &matvec::Params, chosen: &[u32], results: u32) -> Result<Vec<(Piece, Vec<Pair>)>, String> {
    if [p.used, p.x_each, p.expert_rows, p.tensor_rows].contains(&0) || !p.tensor_rows.is_multiple_of(p.expert_rows) {
        return Err(format!("{} rows of {} of an expert, {} experts used", p.tensor_rows, p.expert_rows, p.used));
    }
    let mut pairs_of: BTreeMap<u32, Vec<Pair>> = BTreeMap::new();
    for z in 0..results {
        let at = u64::from(z / p.used) * u64::from(p.chosen_stride) + u64::from(z % p.used);
        let expert = chosen.get(at as usize).ok_or_else(|| format!("{} numbers of experts where number {at} is needed", chosen.len()))?;
        if *expert >= p.tensor_rows / p.expert_rows {
            return Err(format!("expert {expert} of {}", p.tensor_rows / p.expert_rows));
        }
        pairs_of.entry(*expert).or_default().push(((z / p.x_each) as usize, z as usize));
    }
    let (own, tensor) = (u64::from(p.expert_rows), u64::from(p.tensor_rows));
    let (part_start, part_end) = (u64::from(p.y_offset), u64::from(p.y_offset) + u64::from(p.rows));
    let mut pieces = Vec::new();
    for (expert, pairs) in pairs_of {
        for i in 0..u64::from(p.outputs.div_ceil(p.expert_rows)) {
            let first = i * tensor + u64::from(expert) * own;
            let (start, end) = (first.max(part_start), (first + own.min(u64::from(p.outputs) - i * own)).min(part_end));
            if start < end {
                let column = (i * own + start - first) as usize;
                pieces.push((Piece { row: (start - part_start) as usize, rows: (end - start) as usize, column }, pairs.clone()));
            }
        }
    }
    Ok(pieces)
}

/// For a few rows of activations: weights are unpacked in registers, again for each row.
#[multiversion::multiversion(targets("x86_64+avx+avx2"))]
fn tile_of_quants(planes: &Planes<'_>, first: usize, rows: &Rows, n: usize, out: &mut [f32]) {
    for (i, out) in out.chunks_mut(n).enumerate() {
        planes.dot_rows(first, rows.row(i), out);
    }
}

/// For many rows of activations: a few rows of weights are dequantised once and used for all.
#[multiversion::multiversion(targets("x86_64+avx+avx2"))]
fn tile_of_weights(planes: &Planes<'_>, first: usize, rows: &Rows, n: usize, out: &mut [f32]) {
    let mut weights = vec![[0.0; BLOCK]; GROUP * rows.len];
    for group in (0..n).step_by(GROUP) {
        let size = GROUP.min(n - group);
        for (row, weights) in (first + group..).zip(weights.chunks_mut(rows.len).take(size)) {
            planes.dequantise_row(row, weights);
        }
        for (i, out) in out.chunks_mut(n).enumerate() {
            let products = dot_group(&weights, rows.row(i).blocks);
            out[group..group + size].copy_from_slice(&products[..size]);
        }
    }
}

/// A row of activations times each row of a group, so that it is loaded once.
#[inline(always)]
fn dot_group(weights: &[Block], x: &[Block]) -> [f32; GROUP] {
    let mut lanes = [[0.0; LANES]; GROUP];
    for (block, x) in x.iter().enumerate() {
        for (row, lanes) in lanes.iter_mut().enumerate() {
            add_products(lanes, &weights[row * (weights.len() / GROUP) + block], x);
        }
    }
    lanes.map(|lanes| lanes.iter().sum())
}
