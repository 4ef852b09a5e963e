//! The twins against plain sums in f64 over the same weights.

use parhelion_shaders::{
    Call,
    axes::{Reduce, Tile, Weight},
    matmul, matvec,
};

use super::{
    Twin, TwinArgs, TwinSlice,
    blocks::{BLOCK, Planes},
    linear::in_order,
    linear_twin,
};
use crate::{
    doctor::{
        Rng,
        dense::{Scales, WeightData},
    },
    exec::{Parallel, Serial},
    recording::{BufferId, BufferSlice},
};

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

fn run(twin: Twin, call: &Call<BufferSlice>, buffers: [&[u32]; 4], y: &mut [u32], parallel: &dyn Parallel) {
    let [x, quants, scales, bias] = buffers.map(TwinSlice::Read);
    // `chosen` may be anything: no row is chosen.
    let bound = vec![(1, x), (2, quants), (3, scales), (4, TwinSlice::Write(y)), (5, bias), (6, TwinSlice::Read(&[]))];
    twin(&TwinArgs::new(call, bound, parallel)).unwrap();
}

fn check(format: Weight, shape: &Shape, with_bias: bool, parallel: &dyn Parallel) {
    let Shape { x_rows, rows, cols } = *shape;
    let weights = WeightData::new(&mut Rng::new(1), format, rows, cols, Scales::Moderate);
    let (blocks, x_stride, y_offset) = (weights.blocks, cols.next_multiple_of(4), 5);
    let y_stride = rows + 9;
    let [quants, scales] = weights.planes();
    let x = Rng::new(3).floats((x_rows * x_stride) as usize, 1.0);
    let bias = Rng::new(5).floats((y_offset + rows) as usize, 1.0);
    let planes = Planes::new(format, rows, blocks, quants, Some(scales)).unwrap();
    let nowhere = BufferSlice { buffer: BufferId(0), offset: 0, size: 0 };
    let bindings = || (nowhere, nowhere, Some(nowhere), nowhere);
    let (bx, bq, bs, by) = bindings();
    let vec_call = matvec::call(
        format,
        Reduce::Tree,
        matvec::Constants { with_bias, ..Default::default() },
        in_order([rows, cols, blocks], [x_stride, y_stride], y_offset),
        matvec::Bindings { x: bx, quants: bq, scales: bs, y: by, bias: bq, chosen: bq },
        [1, 1, x_rows],
    );
    let mat_call = matmul::call(
        format,
        Tile::F32,
        matmul::Constants { with_bias, ..Default::default() },
        matmul::Params { x_rows, rows, cols, blocks, x_stride, y_stride, y_offset },
        matmul::Bindings { x: bx, quants: bq, scales: bs, y: by, bias: bq },
        [1, 1, 1],
    );
    for (twin, call) in [(linear_twin::matvec as Twin, &vec_call), (linear_twin::matmul, &mat_call)] {
        let mut y = vec![7.0f32; (x_rows * y_stride) as usize];
        run(
            twin,
            call,
            [bytemuck::cast_slice(&x), quants, scales, bytemuck::cast_slice(&bias)],
            bytemuck::cast_slice_mut(&mut y),
            parallel,
        );
        for (m, y) in y.chunks(y_stride as usize).enumerate() {
            let (before, rest) = y.split_at(y_offset as usize);
            let (results, after) = rest.split_at(rows as usize);
            assert!(before.iter().chain(after).all(|&y| y == 7.0), "{} writes outside its columns", call.kernel.variant);
            for (n, &got) in results.iter().enumerate() {
                let added = if with_bias { f64::from(bias[y_offset as usize + n]) } else { 0.0 };
                let (mut sum, mut size) = (added, added.abs());
                for (c, magnitude) in weights.magnitudes(n).into_iter().enumerate().take(cols as usize) {
                    let x = f64::from(x[m * x_stride as usize + c]);
                    sum += f64::from(planes.block(n, c / BLOCK)[c % BLOCK]) * x;
                    size += magnitude * x.abs();
                }
                // Every addition and product rounds once.
                let bound = f64::from(cols + 8) * f64::from(f32::EPSILON) * size;
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
            check(format, &shape, false, &Serial);
            check(format, &shape, true, &Many);
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
