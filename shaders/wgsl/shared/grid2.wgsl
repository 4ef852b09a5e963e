// Points of 8 magnitudes, each one of 8, 25 and 43, named by an index into a codebook in front of the scales. A word of it is a
// point: byte b holds the level of value b in its low nibble and that of value b + 4 in its high one.
#import quads
#import scales

// Half `half` (0 or 1) of a point.
fn grid_half(index: u32, half: u32) -> vec4<f32> {
    let level = (scales[index] >> (4u * half)) & 0x0f0f0f0fu;
    // 8 + 17 level + level / 2
    return vec4<f32>(unpack4xU8(level * 17u + ((level >> 1u) & 0x01010101u) + 0x08080808u));
}

// 1/4 of d times (1/2 + scale), for each of two scales of 4 bits.
fn grid_scales(d: f32, both: u32) -> vec2<f32> {
    return (vec2<f32>(vec2<u32>(both & 15u, both >> 4u)) + 0.5) * d * 0.25;
}
