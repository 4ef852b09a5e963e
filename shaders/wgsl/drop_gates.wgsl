// Copies rows without the gates of their first heads: each of those is followed by as many elements that gate it, and what comes after
// the heads follows them in y.
// Grid: an invocation an element of y, linear over x and y.
// Needs: nothing of the sizes.
#import grid

struct Params {
    rows: u32,
    // Columns of y.
    cols: u32,
    // Columns of y that are gated heads.
    gated: u32,
    // Elements of a head.
    head_dim: u32,
    // Elements from one row of `x` to the next.
    x_stride: u32,
    // Elements from one row of `y` to the next.
    y_stride: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// [rows, x_stride]
@group(0) @binding(1) var<storage, read> x: array<f32>;
// [rows, y_stride]
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

// Invocations of a workgroup.
override WG: u32 = 128u;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let element = group_index(id, groups) * WG + lane;
    let row = element / params.cols;
    if row >= params.rows {
        return;
    }
    let i = element % params.cols;
    let source = select(i + params.gated, i + i / params.head_dim * params.head_dim, i < params.gated);
    y[row * params.y_stride + i] = x[row * params.x_stride + source];
}
