// Activation f of a feed-forward block: y[r, i] = f(x[r, i]) * x[r, n + i] where it is gated, f(x[r, i]) where it is not.
// Grid: an invocation an element of y, linear over x and y.
// Needs: nothing of `n` and the strides.
#import grid

struct Params {
    rows: u32,
    // Columns of y; f takes the first n columns of x, and the other factor of gated ones is the next n.
    n: u32,
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
// f: 0 SiLU, 1 GELU by tanh, 2 GELU by erf, 3 the square of ReLU, 4 the clamped swish of gpt-oss.
override ACTIVATION: u32 = 0u;
// Whether there is another factor.
override GATED: bool = true;

// Of the clamped swish: f(v) = c / (1 + exp(-1.702 c)) with c = min(v, 7), times 1 + the other factor within 7 of zero.
const SWISH_SLOPE: f32 = 1.702;
const SWISH_LIMIT: f32 = 7.0;

// v / (1 + exp(-t)). exp(-|t|) cannot overflow, whatever the sign of t.
fn logistic_share(v: f32, t: f32) -> f32 {
    let e = exp(-abs(t));
    return v * select(e, 1.0, t >= 0.0) / (1.0 + e);
}

// v (1 + tanh(u)) / 2 with u = sqrt(2 / pi) (v + 0.044715 v^3), which is v / (1 + exp(-2 u)). Past 30 nothing changes.
fn gelu_tanh(v: f32) -> f32 {
    let c = clamp(v, -30.0, 30.0);
    return logistic_share(v, 1.5957691216 * (c + 0.044715 * c * c * c));
}

// v times the normal distribution's cumulative share at v: erfc(|v| / sqrt(2)) / 2 is the part beyond |v|. Chebyshev's fit of
// erfc, good to 1.2e-7 of its value everywhere. Past 30 nothing changes.
fn gelu_erf(v: f32) -> f32 {
    let z = min(abs(v), 30.0) * 0.70710678118;
    let t = 1.0 / (1.0 + 0.5 * z);
    let low = -1.26551223 + t * (1.00002368 + t * (0.37409196 + t * (0.09678418 + t * -0.18628806)));
    let high = t * t * t * t * t * (0.27886807 + t * (-1.13520398 + t * (1.48851587 + t * (-0.82215223 + t * 0.17087277))));
    let beyond = 0.5 * t * exp(low + high - z * z);
    return v * select(beyond, 1.0 - beyond, v >= 0.0);
}

fn activated(v: f32) -> f32 {
    switch ACTIVATION {
        case 0u: {
            return logistic_share(v, v);
        }
        case 1u: {
            return gelu_tanh(v);
        }
        case 2u: {
            return gelu_erf(v);
        }
        case 3u: {
            let positive = max(v, 0.0);
            return positive * positive;
        }
        default: {
            let c = min(v, SWISH_LIMIT);
            return logistic_share(c, SWISH_SLOPE * c);
        }
    }
}

// What f is multiplied with.
fn other_factor(v: f32) -> f32 {
    if ACTIVATION == 4u {
        return clamp(v, -SWISH_LIMIT, SWISH_LIMIT) + 1.0;
    }
    return v;
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
    var result = activated(x[source]);
    if GATED {
        result *= other_factor(x[source + params.n]);
    }
    y[row * params.y_stride + i] = result;
}
