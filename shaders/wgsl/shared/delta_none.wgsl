// The residual stream as it is.

fn residual(i: u32) -> vec4<f32> {
    return x[i];
}
