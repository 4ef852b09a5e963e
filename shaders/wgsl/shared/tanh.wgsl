// The hyperbolic tangent, right to a few units in the last place. WGSL's own may overflow inside for large arguments.

// By a rational function near 0 (a continued fraction of Lambert's cut off), where 1 - exp(-2 x) would cancel; by the exponential from
// 1 on.
fn tanh4(x: vec4<f32>) -> vec4<f32> {
    let a = min(abs(x), vec4(12.0));
    let s = a * a;
    let near = a * (135135.0 + s * (17325.0 + s * (378.0 + s))) / (135135.0 + s * (62370.0 + s * (3150.0 + s * 28.0)));
    let t = exp2(-2.885390082 * a);
    return sign(x) * select((1.0 - t) / (1.0 + t), near, a < vec4(1.0));
}
