// NVFP4 weights: 4-bit floats and an 8-bit float (E4M3 without a sign) a block of 16; a weight is float * scale.
// A row of scales: two bytes a block of 32.
#import floats4
#import scaled_halves
#import scales

// Half an 8-bit float, since stored values are twice the floats. The top bit is not read; 0x7f is no number and counts as zero.
fn half_scale(byte: u32) -> f32 {
    let exponent = (byte >> 3u) & 15u;
    let mantissa = byte & 7u;
    let normal = bitcast<f32>(((exponent + 119u) << 23u) | (mantissa << 20u));
    let value = select(normal, f32(mantissa) * 0.0009765625, exponent == 0u);
    return select(value, 0.0, byte == 0x7fu);
}

fn block_scale(row: u32, block: u32, blocks: u32) -> vec2<f32> {
    let both = scale_short(row * ((blocks + 1u) / 2u), block);
    return vec2<f32>(half_scale(both & 0xffu), half_scale(both >> 8u));
}
