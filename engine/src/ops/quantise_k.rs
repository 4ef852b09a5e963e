//! Quantisation to Q4_K: the call of `quantise_k` and its scalar twin, which searches as the kernel does, integer by integer.

use half::f16;
use parhelion_shaders::{Call, axes::Weight, quantise_k as kernel};

use super::{
    TwinArgs, grid,
    quantise::{Bound, Rows, TargetPlanes},
    twin,
};
use crate::formats::{BLOCK, RowOut, k::put_k_scales, pack::to_nibbles};

/// Invocations of a workgroup, as in the kernel.
const LANES: u32 = 64;
/// Larger differences count as this one, so that 32 squares fit a word.
const MOST: u32 = 11500;

/// The dispatch that quantises rows.
///
/// # Errors
/// For more rows than a grid can hold.
pub(crate) fn call<B>(rows: Rows, bound: Bound<B>) -> Result<Call<B>, String> {
    let Rows { rows, blocks, x_stride, first_row } = rows;
    let Bound { x, quants, scales, faults } = bound;
    let params = kernel::Params { rows, first_row, blocks, x_stride };
    let grid = grid(u64::from(rows) * u64::from(blocks), LANES)?;
    Ok(kernel::call(kernel::Constants::default(), params, kernel::Bindings { x, quants, scales, faults }, grid))
}

/// The scalar twin of `quantise_k`.
pub(super) fn twin(args: &TwinArgs<'_>) -> Result<(), String> {
    let p = kernel::params(args.call);
    let starts = kernel::constants(args.call).starts;
    let b = kernel::Bindings::collect(|slot| args.read(slot), |slot| args.write(slot)).ok_or_else(twin::unbound)?;
    let rows = Rows { rows: p.rows, blocks: p.blocks, x_stride: p.x_stride, first_row: p.first_row };
    let planes = TargetPlanes { format: Weight::Q4K, quants: b.quants, scales: b.scales };
    let row = |x: &[f32], out: &mut RowOut<'_>| {
        let blocks = x.as_chunks::<256>().0.iter().enumerate();
        blocks.fold(true, |finite, (i, x)| quantise_256(x, starts, i, out) && finite)
    };
    if !planes.fill(args.parallel, rows, twin::view(b.x)?, &row)? {
        b.faults[0] |= 1;
    }
    Ok(())
}

/// Values of 32 columns in units of 2^(e - 15), where 2^e is over the largest of the 256 columns.
type Values = [i32; BLOCK];

/// A line scale * level - minimum in sixteenths of a unit.
#[derive(Clone, Copy, Default)]
struct Line {
    scale: u32,
    minimum: u32,
}

/// What comes of giving every value the level of a line that is nearest to it.
#[derive(Default)]
struct Assigned {
    /// Sum of the squared differences, in units.
    error: u32,
    /// Sums of the levels, their squares, and their products with the values.
    levels: i32,
    squares: i32,
    products: i32,
}

/// Quantises 256 columns; whether all of them, and their scales, are finite.
fn quantise_256(x: &[f32; 256], starts: u32, i: usize, out: &mut RowOut<'_>) -> bool {
    let field = x.iter().fold(0, |largest, x| largest.max(x.to_bits() & 0x7fff_ffff)) >> 23;
    let largest = field.max(1);
    let e = largest as i32 - 126;
    let values: [Values; 8] = std::array::from_fn(|b| std::array::from_fn(|j| to_units(x[BLOCK * b + j].to_bits(), largest)));
    let lines = values.map(|values| best_line(&values, starts));
    let most = |of: fn(&Line) -> u32| lines.iter().map(of).fold(0, u32::max);
    let (d, d_units) = shared_half(most(|line| line.scale), e);
    let (dmin, dmin_units) = shared_half(most(|line| line.minimum), e);
    let units = [d_units, dmin_units];
    let mut pairs = [[0; 2]; 8];
    for (b, (values, line)) in values.iter().zip(lines).enumerate() {
        let pair = best_pair(values, line, units);
        let line = line_of(pair, units);
        let inverse = inverse_of(line.scale);
        let codes = values.map(|value| level_of(value * 16 + line.minimum as i32, line.scale, inverse) as u8);
        out.put_quants(0, 8 * i + b, &to_nibbles(|j| codes[j]));
        pairs[b] = pair.map(|bits| bits as u8);
    }
    let [d0, d1] = d.to_le_bytes();
    let [m0, m1] = dmin.to_le_bytes();
    put_k_scales(out, 0, i, [d0, d1, m0, m1], &pairs);
    field < 0xff && d.is_finite() && dmin.is_finite()
}

/// The value of an f32 in units, to the nearest, halves away from zero; `largest` is the exponent field of the largest of the 256.
fn to_units(bits: u32, largest: u32) -> i32 {
    let field = bits >> 23 & 0xff;
    let fraction = bits & 0x7f_ffff;
    let mantissa = if field == 0 { fraction } else { fraction | 0x80_0000 };
    let shift = (9 + largest - field.max(1)).min(31);
    let rounded = ((mantissa + (1 << (shift - 1))) >> shift) as i32;
    if bits >> 31 == 1 { -rounded } else { rounded }
}

/// The level of a value, from the line's scale and its inverse in units of 2^-28.
#[inline(always)]
fn level_of(above: i32, scale: u32, inverse: u32) -> u32 {
    let within = (above.max(0) as u32).min(scale * 15);
    (within * inverse + (1 << 27)) >> 28
}

fn inverse_of(scale: u32) -> u32 {
    (1_u32 << 28).checked_div(scale).unwrap_or(0)
}

fn assign(values: &Values, line: Line) -> Assigned {
    let inverse = inverse_of(line.scale);
    let mut sums = Assigned::default();
    for &value in values {
        let above = value * 16 + line.minimum as i32;
        let level = level_of(above, line.scale, inverse);
        let difference = ((above - (line.scale * level) as i32 + 8) >> 4).unsigned_abs().min(MOST);
        sums.error += difference * difference;
        sums.levels += level as i32;
        sums.squares += (level * level) as i32;
        sums.products += level as i32 * value;
    }
    sums
}

/// a / b in sixteenths.
fn sixteenths(a: i32, b: i32) -> u32 {
    (((a / b) as u32) << 4) + (((a % b) as u32) << 4) / b as u32
}

/// The line of least squared error for the levels that were assigned; none if they are all alike.
fn fitted(sums: &Assigned, sum: i32) -> Option<Line> {
    let slope = 32 * sums.products - sums.levels * sum;
    let spread = 32 * sums.squares - sums.levels * sums.levels;
    if slope <= 0 || spread <= 0 {
        return None;
    }
    let scale = sixteenths(slope, spread);
    let minimum = (scale as i32 * sums.levels - 16 * sum) / 32;
    let line = match u32::try_from(minimum) {
        Ok(minimum) => Line { scale, minimum },
        // Minima are not negative: the best line through zero.
        Err(_) if sums.products <= 0 => return None,
        Err(_) => Line { scale: sixteenths(sums.products, sums.squares), minimum: 0 },
    };
    (line.scale > 0).then_some(line)
}

/// The best line for 32 values by themselves.
fn best_line(values: &Values, starts: u32) -> Line {
    let low = values.iter().fold(0, |low, &value| low.min(value));
    let high = values.iter().fold(values[0], |high, &value| high.max(value));
    let sum = values.iter().sum();
    let minimum = low.unsigned_abs() * 16;
    let mut best = Line { scale: 0, minimum };
    if high <= low {
        return best;
    }
    let mut least = u32::MAX;
    for start in 0..starts {
        let mut line = Line { scale: ((high - low) as u32) << 9, minimum };
        line.scale /= 440 + 20 * start;
        for _ in 0..3 {
            let sums = assign(values, line);
            if sums.error < least {
                (least, best) = (sums.error, line);
            }
            match fitted(&sums, sum) {
                Some(fitted) => line = fitted,
                None => break,
            }
        }
    }
    best
}

/// A scale of 256 columns, from the largest of theirs in sixteenths of a unit of 2^(e - 15): the f16 that stands for 1 of 63, and
/// how many units of 2^(e - 15) / 2^12 it is.
fn shared_half(largest: u32, e: i32) -> (f16, u32) {
    let n = (largest << 12) / 63;
    if n == 0 {
        return (f16::ZERO, 0);
    }
    // n * 2^(e - 31): at most 23 bits, so exact as f64, and rounded once.
    let exact = f64::from(n) * 2_f64.powi(e - 31);
    let half = f16::from_f64(exact);
    // The lowest bit that f16 keeps, had it no largest number.
    let lowest = (n.ilog2() as i32 + e - 31 - 10).max(-24);
    let mantissa = round_half_even(exact / 2_f64.powi(lowest));
    let shift = lowest - e + 27;
    let units = match shift {
        21.. => 0,
        0..=20 => mantissa << shift,
        _ => mantissa >> (-shift).min(31),
    };
    (half, units)
}

/// A number below 2^12 to the nearest whole one, halves to the even one.
fn round_half_even(number: f64) -> u32 {
    number.round_ties_even() as u32
}

/// How often a unit goes into sixteenths, to the nearest, 63 times at the most.
fn multiples(sixteenths: u32, unit: u32) -> u32 {
    ((sixteenths << 8) + unit / 2).checked_div(unit).unwrap_or(0).min(63)
}

/// The line of 6 bits each, in units of 2^(e - 15) / 2^12.
fn line_of(pair: [u32; 2], units: [u32; 2]) -> Line {
    let [scale, minimum] = [0, 1].map(|i| (pair[i] * units[i] + 128) >> 8);
    Line { scale, minimum }
}

/// The best scale and minimum of 6 bits around a line.
fn best_pair(values: &Values, line: Line, units: [u32; 2]) -> [u32; 2] {
    let around = |n: u32| n.saturating_sub(1)..=(n + 1).min(63);
    let (scale, minimum) = (multiples(line.scale, units[0]), multiples(line.minimum, units[1]));
    let (mut best, mut least) = ([0, 0], u32::MAX);
    for s in around(scale) {
        for m in around(minimum) {
            let error = assign(values, line_of([s, m], units)).error;
            if error < least {
                (least, best) = (error, [s, m]);
            }
        }
    }
    best
}
