//! Quantisation to formats with an f16 scale for each block of 32: the call of `quantise` and its scalar twin.

use std::sync::{Mutex, PoisonError};

use half::f16;
use parhelion_shaders::{
    Call,
    axes::{Target, Weight},
    quantise as kernel,
};

use super::{TwinArgs, grid, twin};
use crate::{
    exec::Parallel,
    formats::{
        self, BLOCK, Block, RowOut,
        pack::{to_bits, to_nibbles},
    },
};

/// Rows of f32 that become rows of a part's planes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows {
    /// Rows of f32.
    pub(crate) rows: u32,
    /// Blocks of 32 columns a row.
    pub(crate) blocks: u32,
    /// Elements from one row of f32 to the next, a multiple of 4.
    pub(crate) x_stride: u32,
    /// The row of the planes that the first one becomes.
    pub(crate) first_row: u32,
}

/// The format that a target's planes are in.
pub(crate) fn format_of(target: Target) -> Weight {
    match target {
        Target::Q8_0 => Weight::Q8_0,
        Target::Q4_0 => Weight::Q4_0,
        Target::Q5_0 => Weight::Q5_0,
    }
}

/// What a quantising kernel is bound to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound<B> {
    /// Rows of f32.
    pub(crate) x: B,
    /// The target's planes.
    pub(crate) quants: B,
    pub(crate) scales: B,
    /// A word that becomes 1 where something is not finite.
    pub(crate) faults: B,
}

/// The dispatch that quantises rows.
///
/// # Errors
/// For more rows than a grid can hold.
pub(crate) fn call<B>(target: Target, rows: Rows, bound: Bound<B>) -> Result<Call<B>, String> {
    let Rows { rows, blocks, x_stride, first_row } = rows;
    let Bound { x, quants, scales, faults } = bound;
    let constants = kernel::Constants::default();
    let params = kernel::Params { rows, first_row, blocks, x_stride };
    let grid = grid(u64::from(rows) * u64::from(blocks.div_ceil(2)), constants.wg)?;
    Ok(kernel::call(target, constants, params, kernel::Bindings { x, quants, scales, faults }, grid))
}

/// What quantising a row of f32 writes; `false` for a value or a scale that is not finite.
type QuantiseRow = fn(&[f32], &mut RowOut<'_>) -> bool;

/// The scalar twin of `quantise`.
pub(super) fn twin(args: &TwinArgs<'_>) -> Result<(), String> {
    let p = kernel::params(args.call);
    let b = kernel::Bindings::collect(|slot| args.read(slot), |slot| args.write(slot)).ok_or_else(twin::unbound)?;
    let target = Target::of(args.call.kernel).ok_or("the kernel has no target")?;
    let row: QuantiseRow = match target {
        Target::Q8_0 => |x, out| blocks(x, |b, x| q8_0(x, b, out)),
        Target::Q4_0 => |x, out| blocks(x, |b, x| centred::<8>(x, |d, codes| put_q4_0(out, b, d, codes))),
        Target::Q5_0 => |x, out| blocks(x, |b, x| centred::<16>(x, |d, codes| put_q5_0(out, b, d, codes))),
    };
    let rows = Rows { rows: p.rows, blocks: p.blocks, x_stride: p.x_stride, first_row: p.first_row };
    let planes = TargetPlanes { format: format_of(target), quants: b.quants, scales: b.scales };
    if !planes.fill(args.parallel, rows, twin::view(b.x)?, &row)? {
        b.faults[0] |= 1;
    }
    Ok(())
}

/// The planes that twins quantise to.
pub(super) struct TargetPlanes<'a> {
    pub(super) format: Weight,
    pub(super) quants: &'a mut [u32],
    pub(super) scales: &'a mut [u32],
}

impl TargetPlanes<'_> {
    /// Fills rows on all threads; `false` if one of them says so.
    ///
    /// # Errors
    /// If something bound is too short.
    pub(super) fn fill(
        self,
        parallel: &dyn Parallel,
        rows: Rows,
        x: &[f32],
        quantise: &(dyn Fn(&[f32], &mut RowOut<'_>) -> bool + Sync),
    ) -> Result<bool, String> {
        let info = formats::info(self.format);
        let (blocks, first, count) = (rows.blocks as usize, rows.first_row as usize, rows.rows as usize);
        let (vectors, words) = (4 * info.vectors(blocks as u64) as usize, info.words(blocks as u64) as usize);
        let cols = blocks * BLOCK;
        let end = first + count;
        let short = end * vectors > self.quants.len() || end * words > self.scales.len() || count * rows.x_stride as usize > x.len();
        if short || cols > rows.x_stride as usize || !cols.is_multiple_of(info.columns()) {
            return Err(format!("{rows:?} do not fit what is bound"));
        }
        let quants = self.quants[first * vectors..].chunks_exact_mut(vectors);
        let scales = self.scales[first * words..].chunks_exact_mut(words);
        let outs: Vec<_> = quants.zip(scales).take(count).map(Mutex::new).collect();
        let fault = std::sync::atomic::AtomicBool::new(false);
        parallel.for_each(count, &|i| {
            let mut out = outs[i].lock().unwrap_or_else(PoisonError::into_inner);
            let (quants, scales) = &mut *out;
            scales.fill(0);
            let mut out = RowOut::new(info, blocks, bytemuck::cast_slice_mut(quants), bytemuck::cast_slice_mut(scales));
            if !quantise(&x[i * rows.x_stride as usize..][..cols], &mut out) {
                fault.store(true, std::sync::atomic::Ordering::Relaxed);
            }
        });
        Ok(!fault.into_inner())
    }
}

/// Quantises each block of a row; whether all of it is finite.
fn blocks(x: &[f32], mut quantise: impl FnMut(usize, &Block) -> bool) -> bool {
    let blocks = x.as_chunks::<BLOCK>().0.iter().enumerate();
    blocks.fold(true, |finite, (b, x)| quantise(b, x) && finite)
}

/// 1 / d as levels are multiplied by; 0 where there is none.
fn inverse(d: f32) -> f32 {
    let inverse = 1.0 / d;
    if inverse.is_finite() { inverse } else { 0.0 }
}

/// ggml's `quantize_row_q8_0_ref`.
fn q8_0(x: &Block, b: usize, out: &mut RowOut<'_>) -> bool {
    let largest = x.iter().fold(0.0_f32, |largest, x| if x.is_nan() { *x } else { largest.max(x.abs()) });
    let d = largest / 127.0;
    let inverse = inverse(d);
    let codes: [u8; BLOCK] = x.map(|x| (x * inverse).round() as i8 as u8);
    for (v, vector) in codes.as_chunks::<16>().0.iter().enumerate() {
        out.put_quants(v * out.blocks, b, vector);
    }
    let d = f16::from_f32(d);
    out.put_scale(0, b, &d.to_le_bytes());
    d.is_finite() && largest.is_finite()
}

/// ggml's `quantize_row_q4_0_ref` (`HALF` 8) and `quantize_row_q5_0_ref` (16): hands the scale's bytes and the levels to `put`.
fn centred<const HALF: u8>(x: &Block, put: impl FnOnce([u8; 2], &[u8; BLOCK])) -> bool {
    let largest = x[1..].iter().fold(x[0], |largest, &x| if x.abs() > largest.abs() || x.is_nan() { x } else { largest });
    let d = largest / -f32::from(HALF);
    let inverse = inverse(d);
    let codes = x.map(|x| ((x * inverse + (f32::from(HALF) + 0.5)) as u8).min(2 * HALF - 1));
    let d = f16::from_f32(d);
    put(d.to_le_bytes(), &codes);
    d.is_finite() && largest.is_finite()
}

fn put_q4_0(out: &mut RowOut<'_>, b: usize, d: [u8; 2], codes: &[u8; BLOCK]) {
    out.put_quants(0, b, &to_nibbles(|j| codes[j]));
    out.put_scale(0, b, &d);
}

fn put_q5_0(out: &mut RowOut<'_>, b: usize, d: [u8; 2], codes: &[u8; BLOCK]) {
    out.put_quants(0, b, &to_nibbles(|j| codes[j]));
    out.put_scale(0, b, &to_bits(|j| codes[j] >> 4));
    out.put_scale(1, b, &d);
}
