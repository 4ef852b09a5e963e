// Gated delta rule, the recurrence of linear attention. Each value head has a matrix S of KEY_DIM x VALUE_DIM; for each row in turn,
// with k and q normalised to length 1 and q divided by sqrt(KEY_DIM):
//   S = exp(g) S;  d = beta (v - S^T k);  S = S + k d^T;  y = S^T q
//   beta = sigmoid(b);  g = -decay * softplus(a + dt_bias)
// A row of qkv has the heads of q, those of k and those of v. Columns of S are independent: a workgroup takes WG / LANES of them, LANES
// invocations each, over all rows of a run. S^T q is taken before the update, which adds d (k . q): so all sums are made at once.
// Grid: x = value head and its tile of columns, z = run.
// Needs: KEY_DIM a multiple of 4 and at most 16 LANES, which is a power of two; qkv_stride a multiple of 4.
#import run

struct Params {
    value_heads: u32,
    // Heads of queries, and as many of keys; divides value_heads.
    key_heads: u32,
    // Elements from one row of `qkv` to the next.
    qkv_stride: u32,
    // Elements from one row of `gates` to the next.
    gates_stride: u32,
    // Column of `gates` where b begins; a follows it.
    gates_first: u32,
    // Elements from one row of `y` to the next.
    y_stride: u32,
    // Added to squared lengths.
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> runs: array<Run>;
// [rows, qkv_stride]
@group(0) @binding(2) var<storage, read> qkv: array<vec4<f32>>;
// [rows, gates_stride]
@group(0) @binding(3) var<storage, read> gates: array<f32>;
// [value_heads]: the logarithm of what a state decays by, or less that itself.
@group(0) @binding(4) var<storage, read> decay: array<f32>;
// [value_heads]
@group(0) @binding(5) var<storage, read> dt_bias: array<f32>;
// [slots, value_heads, VALUE_DIM, KEY_DIM]
@group(0) @binding(6) var<storage, read_write> state: array<vec4<f32>>;
// [rows, y_stride]
@group(0) @binding(7) var<storage, read_write> y: array<f32>;

// Invocations of a workgroup.
override WG: u32 = 128u;
// Invocations that share a column.
override LANES: u32 = 8u;
override KEY_DIM: u32 = 128u;
override VALUE_DIM: u32 = 128u;
// Value heads of one key head are key_heads apart rather than neighbours.
override TILED: bool = false;
// `decay` holds logarithms.
override LOG_DECAY: bool = true;
// Columns of a workgroup.
override COLUMNS: u32 = WG / LANES;

var<workgroup> partial: array<vec4<f32>, WG>;
var<workgroup> partial_squares: array<f32, WG>;

// ln(1 + z) for z from 0 to 1, as 2 atanh(z / (2 + z)): the built-in logarithm loses what is small.
fn log1p(z: f32) -> f32 {
    let s = z / (2.0 + z);
    let t = s * s;
    let series = t * (0.33333333 + t * (0.2 + t * (0.14285714 + t * (0.11111111 + t * (0.09090909 + t * 0.07692308)))));
    return 2.0 * (s + s * series);
}

fn softplus(v: f32) -> f32 {
    return max(v, 0.0) + log1p(exp(-abs(v)));
}

fn sigmoid(v: f32) -> f32 {
    let e = exp(-abs(v));
    return select(e, 1.0, v >= 0.0) / (1.0 + e);
}

// Four elements of a key or query head, which begins at vector `base`; zeros past its end.
fn quad(base: u32, i: u32) -> vec4<f32> {
    if i >= KEY_DIM / 4u {
        return vec4<f32>();
    }
    return qkv[base + i];
}

// Four elements of a column of a state.
fn loaded(base: u32, i: u32, there: bool) -> vec4<f32> {
    if !there || i >= KEY_DIM / 4u {
        return vec4<f32>();
    }
    return state[base + i];
}

fn store(base: u32, i: u32, value: vec4<f32>) {
    if i < KEY_DIM / 4u {
        state[base + i] = value;
    }
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) index: u32) {
    let run = runs[id.z];
    let tiles = (VALUE_DIM + COLUMNS - 1u) / COLUMNS;
    let head = id.x / tiles;
    let column = id.x % tiles * COLUMNS + index / LANES;
    let key_head = select(head / (params.value_heads / params.key_heads), head % params.key_heads, TILED);
    let lane = index % LANES;
    let in_head = column < VALUE_DIM;
    let vectors = KEY_DIM / 4u;
    let column_at = (head * VALUE_DIM + column) * vectors;
    let slot = params.value_heads * VALUE_DIM * vectors;

    let there = in_head && run.read != EMPTY;
    let from_slot = run.read * slot + column_at;
    var s0 = loaded(from_slot, lane, there);
    var s1 = loaded(from_slot, lane + LANES, there);
    var s2 = loaded(from_slot, lane + 2u * LANES, there);
    var s3 = loaded(from_slot, lane + 3u * LANES, there);

    let rate = select(-decay[head], exp(decay[head]), LOG_DECAY);
    let bias = dt_bias[head];
    for (var i = 0u; i < run.rows; i++) {
        let row = run.first + i;
        let row_at = row * (params.qkv_stride / 4u);
        let q_at = row_at + key_head * vectors;
        let q0 = quad(q_at, lane);
        let q1 = quad(q_at, lane + LANES);
        let q2 = quad(q_at, lane + 2u * LANES);
        let q3 = quad(q_at, lane + 3u * LANES);
        let k_at = q_at + params.key_heads * vectors;
        let k0 = quad(k_at, lane);
        let k1 = quad(k_at, lane + LANES);
        let k2 = quad(k_at, lane + 2u * LANES);
        let k3 = quad(k_at, lane + 3u * LANES);
        let gates_at = row * params.gates_stride + params.gates_first + head;
        let beta = sigmoid(gates[gates_at]);
        let kept = exp(-rate * softplus(gates[gates_at + params.value_heads] + bias));

        partial[index] = vec4(
            dot(s0, k0) + dot(s1, k1) + dot(s2, k2) + dot(s3, k3),
            dot(s0, q0) + dot(s1, q1) + dot(s2, q2) + dot(s3, q3),
            dot(k0, q0) + dot(k1, q1) + dot(k2, q2) + dot(k3, q3),
            dot(k0, k0) + dot(k1, k1) + dot(k2, k2) + dot(k3, k3),
        );
        partial_squares[index] = dot(q0, q0) + dot(q1, q1) + dot(q2, q2) + dot(q3, q3);
        for (var reach = LANES / 2u; reach > 0u; reach /= 2u) {
            workgroupBarrier();
            if lane < reach {
                partial[index] += partial[index + reach];
                partial_squares[index] += partial_squares[index + reach];
            }
        }
        workgroupBarrier();
        let sums = partial[index - lane];
        let k_scale = inverseSqrt(sums.w + params.eps);
        let q_scale = inverseSqrt(partial_squares[index - lane] + params.eps) * inverseSqrt(f32(KEY_DIM));
        workgroupBarrier();

        let v_at = (2u * params.key_heads * KEY_DIM) + head * VALUE_DIM + min(column, VALUE_DIM - 1u);
        let v = qkv[row_at + v_at / 4u][v_at % 4u];
        let d = k_scale * beta * (v - kept * k_scale * sums.x);
        s0 = kept * s0 + d * k0;
        s1 = kept * s1 + d * k1;
        s2 = kept * s2 + d * k2;
        s3 = kept * s3 + d * k3;
        if in_head && lane == 0u {
            y[row * params.y_stride + head * VALUE_DIM + column] = q_scale * (kept * sums.y + d * sums.z);
        }
    }
    if in_head && run.rows > 0u {
        let to_slot = run.write * slot + column_at;
        store(to_slot, lane, s0);
        store(to_slot, lane + LANES, s1);
        store(to_slot, lane + 2u * LANES, s2);
        store(to_slot, lane + 3u * LANES, s3);
    }
}
