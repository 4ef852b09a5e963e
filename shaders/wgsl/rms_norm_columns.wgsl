// RMSNorm in place of two neighbouring ranges of columns, the queries and the keys of each row as a whole:
// x = x * w / sqrt(mean(x^2) + eps) with the mean over the range.
// Grid: x and y linear over rows, z = range.
// Needs: nothing of the ranges and the stride.
#import grid
#import reduce

struct Params {
    rows: u32,
    // The first range is columns 0..split.
    split: u32,
    // The second is columns split..end.
    end: u32,
    // Elements from one row to the next.
    stride: u32,
    // Added to the mean of squares.
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
// [rows, stride]
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
// The weights of both ranges: [end].
@group(0) @binding(2) var<storage, read> w: array<f32>;

// Invocations of a workgroup: a power of two.
override WG: u32 = 128u;
override LANES: u32 = WG;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group_index(id, groups);
    if row >= params.rows {
        return;
    }
    let first = select(params.split, 0u, id.z == 0u);
    let end = select(params.end, params.split, id.z == 0u);
    let base = row * params.stride;
    var squares = 0.0;
    for (var c = first + lane; c < end; c += WG) {
        let v = x[base + c];
        squares += v * v;
    }
    let scale = inverseSqrt(group_add(squares, lane) / f32(end - first) + params.eps);
    for (var c = first + lane; c < end; c += WG) {
        x[base + c] = x[base + c] * scale * w[c];
    }
}
