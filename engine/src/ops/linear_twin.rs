//! The scalar twins of `matvec` and `matmul`. On a machine without a GPU they are the program's speed, so their loops run on
//! all threads and are compiled for several instruction sets; multiplication and addition stay apart, so that all of them give
//! the same bits.

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
    /// Rows of weights.
    rows: usize,
    cols: usize,
    x: &'a [f32],
    x_rows: usize,
    x_stride: usize,
    y_stride: usize,
    y_offset: usize,
    /// Added to each row of y.
    bias: Option<&'a [f32]>,
}

/// Computes weight rows `first..first + n` times every row of a pass, into `n` values a row of the pass.
type Tile = fn(&Planes<'_>, usize, &Rows, usize, &mut [f32]);

/// The scalar twin of `matvec`.
pub(super) fn matvec(args: &TwinArgs<'_>) -> Result<(), String> {
    let p = matvec::params(args.call);
    let b = matvec::Bindings::collect(|slot| args.read(slot), |slot| args.write(slot)).ok_or_else(twin::unbound)?;
    let product = Product {
        planes: Planes::new(format_of(args)?, p.rows, p.blocks, b.quants, b.scales)?,
        rows: p.rows as usize,
        cols: p.cols as usize,
        x: twin::view(b.x)?,
        x_rows: args.call.grid[2] as usize,
        x_stride: p.x_stride as usize,
        y_stride: p.y_stride as usize,
        y_offset: p.y_offset as usize,
        bias: matvec::constants(args.call).with_bias.then(|| twin::view(b.bias)).transpose()?,
    };
    product.run(args.parallel, twin::view_mut(b.y)?, tile_of_quants)
}

/// The scalar twin of `matmul`.
pub(super) fn matmul(args: &TwinArgs<'_>) -> Result<(), String> {
    let p = matmul::params(args.call);
    let b = matmul::Bindings::collect(|slot| args.read(slot), |slot| args.write(slot)).ok_or_else(twin::unbound)?;
    let product = Product {
        planes: Planes::new(format_of(args)?, p.rows, p.blocks, b.quants, b.scales)?,
        rows: p.rows as usize,
        cols: p.cols as usize,
        x: twin::view(b.x)?,
        x_rows: p.x_rows as usize,
        x_stride: p.x_stride as usize,
        y_stride: p.y_stride as usize,
        y_offset: p.y_offset as usize,
        bias: matmul::constants(args.call).with_bias.then(|| twin::view(b.bias)).transpose()?,
    };
    product.run(args.parallel, twin::view_mut(b.y)?, tile_of_weights)
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
    fn count(&self) -> usize {
        self.blocks.len() / self.len.max(1)
    }

    fn row(&self, i: usize) -> Activations<'_> {
        let range = i * self.len..(i + 1) * self.len;
        Activations { blocks: &self.blocks[range.clone()], sums: &self.sums[range] }
    }
}

impl Product<'_> {
    fn run(&self, parallel: &dyn Parallel, y: &mut [f32], tile: Tile) -> Result<(), String> {
        self.check(y.len())?;
        for first in (0..self.x_rows).step_by(PASS) {
            let rows = self.rows_of_pass(first, PASS.min(self.x_rows - first));
            self.pass(parallel, &rows, &mut y[first * self.y_stride..], tile);
        }
        Ok(())
    }

    /// Everything that the loops index must be there.
    fn check(&self, y_len: usize) -> Result<(), String> {
        let last = self.x_rows.saturating_sub(1);
        let end = |stride: usize, row: usize| last.checked_mul(stride).and_then(|start| start.checked_add(row));
        let fits = |end: Option<usize>, len: usize| end.is_some_and(|end| end <= len);
        if self.x_rows == 0 || self.rows == 0 || self.cols == 0 || self.cols > self.planes.blocks() * BLOCK {
            return Err(format!("{} x {} weights in {} blocks a row", self.rows, self.cols, self.planes.blocks()));
        }
        let y_row = self.y_offset.checked_add(self.rows);
        let y_fits = y_row.is_some_and(|row| fits(end(self.y_stride, row), y_len));
        if let Some(bias) = self.bias.filter(|bias| y_row.is_none_or(|row| row > bias.len())) {
            return Err(format!("a bias of {} elements for {} rows from column {} on", bias.len(), self.rows, self.y_offset));
        }
        if y_fits && fits(end(self.x_stride, self.cols), self.x.len()) {
            return Ok(());
        }
        Err(format!("{} rows of activations do not fit {} elements of x and {y_len} of y", self.x_rows, self.x.len()))
    }

    fn rows_of_pass(&self, first: usize, count: usize) -> Rows {
        let len = self.planes.blocks();
        let mut blocks = vec![[0.0; BLOCK]; count * len];
        for (i, row) in blocks.chunks_mut(len).enumerate() {
            let start = (first + i) * self.x_stride;
            row.as_flattened_mut()[..self.cols].copy_from_slice(&self.x[start..start + self.cols]);
        }
        let sums = blocks.iter().map(half_sums).collect();
        Rows { blocks, sums, len }
    }

    /// One pass: threads take chunks of weight rows and compute into memory of their own, which is then put in its place.
    fn pass(&self, parallel: &dyn Parallel, rows: &Rows, y: &mut [f32], tile: Tile) {
        let count = rows.count();
        let chunk = self.rows.div_ceil(4 * parallel.threads()).next_multiple_of(GROUP);
        let mut results = vec![0.0; self.rows * count];
        let parts = results.chunks_mut(chunk * count).collect();
        twin::for_each_part(parallel, parts, &|i, out| tile(&self.planes, i * chunk, rows, out.len() / count, out));
        for (i, part) in results.chunks(chunk * count).enumerate() {
            let n = part.len() / count;
            for (row, values) in part.chunks(n).enumerate() {
                let column = self.y_offset + i * chunk;
                let y = &mut y[row * self.y_stride + column..][..n];
                y.copy_from_slice(values);
                if let Some(bias) = self.bias {
                    y.iter_mut().zip(&bias[column..]).for_each(|(y, bias)| *y += bias);
                }
            }
        }
    }
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
