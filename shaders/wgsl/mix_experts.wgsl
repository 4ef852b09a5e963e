// What a token's experts give, added up: y[r, i] = the sum over its experts s, in their order, of weight[r, s] * x[r, s * x_each + i].
// Grid: an invocation an element of y, linear over x and y.
// Needs: nothing of `n` and the strides.
#import grid

struct Params {
    rows: u32,
    // Columns of y.
    n: u32,
    // Experts of a token.
    used: u32,
    // Elements from one expert's results to the next's.
    x_each: u32,
    // Elements from one row of `x` to the next.
    x_stride: u32,
    // Elements from one row of `chosen` to the next.
    chosen_stride: u32,
    // Elements from one row of `y` to the next.
    y_stride: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// [rows, x_stride]
@group(0) @binding(1) var<storage, read> x: array<f32>;
// [rows, chosen_stride]: the numbers of each token's `used` experts, then the bits of their weights.
@group(0) @binding(2) var<storage, read> chosen: array<u32>;
// [rows, y_stride]
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

// Invocations of a workgroup.
override WG: u32 = 128u;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let element = group_index(id, groups) * WG + lane;
    let row = element / params.n;
    if row >= params.rows {
        return;
    }
    let i = element % params.n;
    let weights = row * params.chosen_stride + params.used;
    let source = row * params.x_stride + i;
    var sum = 0.0;
    for (var s = 0u; s < params.used; s++) {
        sum += bitcast<f32>(chosen[weights + s]) * x[source + s * params.x_each];
    }
    y[row * params.y_stride + i] = sum;
}
