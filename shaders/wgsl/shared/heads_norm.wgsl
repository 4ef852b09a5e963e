// RMSNorm of each query and key head by itself, before it is rotated: x * w / sqrt(mean(x^2) + eps). Value heads may have the same
// without a weight.
// Needs from the kernel: `reduce`, `params.eps`, the override PAIRS (half of head_dim) and the parts of a row, QUERIES and VALUES.
#import reduce

// Value heads are normalised too.
override NORM_VALUES: bool = false;

// The weight of query heads: [head_dim].
@group(0) @binding(7) var<storage, read> q_norm: array<f32>;
// The weight of key heads: [head_dim].
@group(0) @binding(8) var<storage, read> k_norm: array<f32>;

// The pair `value`, which lies at elements `at` of its head, normalised. All invocations of the workgroup must call it, those past
// PAIRS with zeros.
fn normalised(value: vec2<f32>, at: vec2<u32>, part: u32, index: u32) -> vec2<f32> {
    if part == VALUES && !NORM_VALUES {
        return value;
    }
    let mean = group_add(dot(value, value), index) / f32(2u * PAIRS);
    if index >= PAIRS {
        return value;
    }
    let normal = value * inverseSqrt(mean + params.eps);
    if part == VALUES {
        return normal;
    }
    if part == QUERIES {
        return normal * vec2(q_norm[at.x], q_norm[at.y]);
    }
    return normal * vec2(k_norm[at.x], k_norm[at.y]);
}
