// SwiGLU: y[r, i] = silu(gate_up[r, i]) * gate_up[r, n + i] with silu(v) = v / (1 + exp(-v)).
// Grid: an invocation an element of y, linear over x and y.
// Needs: nothing of `n` and the strides.
#import grid

struct Params {
    rows: u32,
    // Columns of y; the gate is the first n columns of `gate_up`, the other factor the next n.
    n: u32,
    // Elements from one row of `gate_up` to the next.
    x_stride: u32,
    // Elements from one row of `y` to the next.
    y_stride: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// [rows, x_stride]
@group(0) @binding(1) var<storage, read> gate_up: array<f32>;
// [rows, y_stride]
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

// Invocations of a workgroup.
override WG: u32 = 128u;

// exp(-|v|) cannot overflow, whatever the sign of v.
fn silu(v: f32) -> f32 {
    let e = exp(-abs(v));
    return v * select(e, 1.0, v >= 0.0) / (1.0 + e);
}

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
    let source = row * params.x_stride + i;
    y[row * params.y_stride + i] = silu(gate_up[source]) * gate_up[source + params.n];
}
