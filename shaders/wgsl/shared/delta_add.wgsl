// The residual stream with a block's output added to it, in place. The kernel's Params have `delta_scale`.

// What is added to `x`: [rows, stride].
@group(0) @binding(2) var<storage, read> delta: array<vec4<f32>>;

fn residual(i: u32) -> vec4<f32> {
    let sum = x[i] + params.delta_scale * delta[i];
    x[i] = sum;
    return sum;
}
