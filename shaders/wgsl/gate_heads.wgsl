// Gates the heads of each row in place: x = n(x) f(gate). n is RMSNorm of the head with a weight that all heads share, or nothing; f is
// SiLU or the logistic function.
// Grid: x and y linear over rows and heads.
// Needs: nothing of the sizes.
#import grid
#import reduce

struct Params {
    // Heads of all rows.
    items: u32,
    // Heads of a row.
    heads: u32,
    // Elements of a head.
    head_dim: u32,
    // Elements from one row of `x` to the next.
    x_stride: u32,
    // Elements from one row of `gates` to the next.
    gates_stride: u32,
    // Column of the first head's gate.
    gates_first: u32,
    // Columns from one head's gate to the next's.
    gates_step: u32,
    // Added to the mean of squares.
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
// [rows, x_stride]
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
// [rows, gates_stride]
@group(0) @binding(2) var<storage, read> gates: array<f32>;
// [head_dim]; read where NORMED.
@group(0) @binding(3) var<storage, read> w: array<f32>;

// Invocations of a workgroup: a power of two.
override WG: u32 = 128u;
override LANES: u32 = WG;
override NORMED: bool = true;
// f is SiLU, not the logistic function.
override SILU: bool = true;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let item = group_index(id, groups);
    if item >= params.items {
        return;
    }
    let row = item / params.heads;
    let head = item % params.heads;
    let base = row * params.x_stride + head * params.head_dim;
    let gate_base = row * params.gates_stride + params.gates_first + head * params.gates_step;
    var scale = 1.0;
    if NORMED {
        var squares = 0.0;
        for (var i = lane; i < params.head_dim; i += WG) {
            squares += x[base + i] * x[base + i];
        }
        scale = inverseSqrt(group_add(squares, lane) / f32(params.head_dim) + params.eps);
    }
    for (var i = lane; i < params.head_dim; i += WG) {
        let gate = gates[gate_base + i];
        let e = exp(-abs(gate));
        var share = select(e, 1.0, gate >= 0.0) / (1.0 + e);
        if SILU {
            share *= gate;
        }
        var value = x[base + i] * scale;
        if NORMED {
            value *= w[i];
        }
        x[base + i] = value * share;
    }
}
