//! The twins against plain sums in f64 over the same weights.

use parhelion_shaders::{
    Call,
    axes::{Reduce, Tile, Weight},
    matmul, matvec,
};

use super::{
    Twin, TwinArgs, TwinSlice,
    blocks::{BLOCK, Planes},
    linear_twin,
};
use crate::{
    exec::{Parallel, Serial},
    formats,
    recording::{BufferId, BufferSlice},
};

/// Pseudo-random words whose halves are all moderate f16 numbers, so that every format gives finite weights.
fn words(count: usize, seed: u32) -> Vec<u32> {
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
        ((state >> ((state >> 28) + 4)) ^ state).wrapping_mul(277_803_737)
    };
    (0..count).map(|_| next() & 0xbfff_bfff | 0x2000_2000).collect()
}

fn floats(count: usize, seed: u32) -> Vec<f32> {
    words(count, seed).iter().map(|word| (*word & 0xffff) as f32 / 32768.0 - 1.0).collect()
}

/// Says that it has more threads than there is work for, so that chunks are cut unevenly.
struct Many;

impl Parallel for Many {
    fn threads(&self) -> usize {
        3
    }

    fn for_each(&self, count: usize, body: &(dyn Fn(usize) + Sync)) {
        Serial.for_each(count, body);
    }
}

struct Shape {
    x_rows: u32,
    rows: u32,
    cols: u32,
}

fn run(twin: Twin, call: &Call<BufferSlice>, buffers: [&[u32]; 3], y: &mut [u32], parallel: &dyn Parallel) {
    let [x, quants, scales] = buffers.map(TwinSlice::Read);
    let bound = vec![(1, x), (2, quants), (3, scales), (4, TwinSlice::Write(y))];
    twin(&TwinArgs::new(call, bound, parallel)).unwrap();
}

fn check(format: Weight, shape: &Shape, parallel: &dyn Parallel) {
    let Shape { x_rows, rows, cols } = *shape;
    let info = formats::info(format);
    let (blocks, x_stride, y_offset) = (cols.next_multiple_of(info.columns() as u32) / 32, cols.next_multiple_of(4), 5);
    let y_stride = rows + 9;
    let quants = words((4 * rows) as usize * info.vectors(blocks.into()) as usize, 1);
    let scales = [info.codebook, &words(rows as usize * info.words(blocks.into()) as usize, 2)].concat();
    let x = floats((x_rows * x_stride) as usize, 3);
    let planes = Planes::new(format, rows, blocks, &quants, Some(&scales)).unwrap();
    let nowhere = BufferSlice { buffer: BufferId(0), offset: 0, size: 0 };
    let bindings = || (nowhere, nowhere, Some(nowhere), nowhere);
    let (bx, bq, bs, by) = bindings();
    let vec_call = matvec::call(
        format,
        Reduce::Tree,
        matvec::Constants::default(),
        matvec::Params { rows, cols, blocks, x_stride, y_stride, y_offset },
        matvec::Bindings { x: bx, quants: bq, scales: bs, y: by },
        [1, 1, x_rows],
    );
    let mat_call = matmul::call(
        format,
        Tile::F32,
        matmul::Constants::default(),
        matmul::Params { x_rows, rows, cols, blocks, x_stride, y_stride, y_offset },
        matmul::Bindings { x: bx, quants: bq, scales: bs, y: by },
        [1, 1, 1],
    );
    for (twin, call) in [(linear_twin::matvec as Twin, &vec_call), (linear_twin::matmul, &mat_call)] {
        let mut y = vec![7.0f32; (x_rows * y_stride) as usize];
        run(twin, call, [bytemuck::cast_slice(&x), &quants, &scales], bytemuck::cast_slice_mut(&mut y), parallel);
        for (m, y) in y.chunks(y_stride as usize).enumerate() {
            let (before, rest) = y.split_at(y_offset as usize);
            let (results, after) = rest.split_at(rows as usize);
            assert!(before.iter().chain(after).all(|&y| y == 7.0), "{} writes outside its columns", call.kernel.variant);
            for (n, &got) in results.iter().enumerate() {
                let terms = (0..cols as usize).map(|c| {
                    let weight = f64::from(planes.block(n, c / BLOCK)[c % BLOCK]);
                    weight * f64::from(x[m * x_stride as usize + c])
                });
                let (sum, size) = terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + f64::abs(term)));
                // Every addition and product rounds once; Q4_1's quants and minima cancel, to an eighth at most here.
                let bound = 8.0 * f64::from(cols + 8) * f64::from(f32::EPSILON) * size;
                assert!((f64::from(got) - sum).abs() <= bound, "{} [{m}, {n}]: {got} for {sum}", call.kernel.variant);
            }
        }
    }
}

#[test]
fn twins_agree_with_plain_sums() {
    for &format in Weight::ALL {
        for shape in [
            Shape { x_rows: 1, rows: 1, cols: 1 },
            Shape { x_rows: 3, rows: 7, cols: 33 },
            Shape { x_rows: 70, rows: 13, cols: 96 },
            Shape { x_rows: 2, rows: 129, cols: 200 },
        ] {
            check(format, &shape, &Serial);
            check(format, &shape, &Many);
        }
    }
}

#[test]
fn planes_that_are_too_short_are_refused() {
    assert!(Planes::new(Weight::Q4_0, 2, 1, &[0; 8], Some(&[0; 2])).is_ok());
    assert!(Planes::new(Weight::Q4_0, 2, 1, &[0; 7], Some(&[0; 2])).is_err());
    assert!(Planes::new(Weight::Q4_0, 3, 1, &[0; 12], Some(&[0; 2])).is_err());
    assert!(Planes::new(Weight::F32, u32::MAX, u32::MAX, &[0; 32], None).is_err());
}
