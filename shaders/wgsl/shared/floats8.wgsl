// Weights of 8-bit floats with an f32 scale d for 64 columns; a weight is float * d. MANTISSA and BIAS are constants of the format's
// module. Codes of infinities and of what is no number go on as if the largest exponent were like the others.
// A row of scales: a word a group.
#import eights
#import scaled
#import scales

// A device may read subnormal numbers as zero, so none is made on the way.
fn quad(c: Codes, v: u32) -> vec4<f32> {
    let bytes = code_bytes(c, v);
    let magnitude = bytes & vec4<u32>(0x7fu);
    let normal = bitcast<vec4<f32>>((magnitude << vec4<u32>(23u - MANTISSA)) + vec4<u32>((127u - BIAS) << 23u));
    let small = vec4<f32>(magnitude) / f32(1u << (BIAS + MANTISSA - 1u));
    let value = select(normal, small, magnitude < vec4<u32>(1u << MANTISSA));
    return bitcast<vec4<f32>>(bitcast<vec4<u32>>(value) | ((bytes & vec4<u32>(0x80u)) << vec4<u32>(24u)));
}

fn block_scale(row: u32, block: u32, blocks: u32) -> f32 {
    return bitcast<f32>(scales[(row * blocks + block) / 2u]);
}
