// Signs kept apart from magnitudes.

// `v` with the signs of its values flipped where bits 0, 1, 2, 3 of `signs` are set.
fn with_signs(v: vec4<f32>, signs: u32) -> vec4<f32> {
    let flips = (vec4<u32>(signs) << vec4<u32>(31u, 30u, 29u, 28u)) & vec4<u32>(0x80000000u);
    return bitcast<vec4<f32>>(bitcast<vec4<u32>>(v) ^ flips);
}

// 8 signs of which 7 bits are kept: the eighth makes the number of minus signs even.
fn eight_signs(seven: u32) -> u32 {
    return seven | ((countOneBits(seven) & 1u) << 7u);
}
