// Q6_K weights: 6 bits, a signed scale of 8 bits a block of 16 and an f16 d a block of 256; a weight is (q - 32) * d * scale.
// A row of quants: the lower 4 bits, a vector a block of 32, then the upper 2, half a vector.
// A row of scales: two bytes a block of 32, then d a block of 256.
#import codes
#import half_vectors
#import quads
#import scaled_halves
#import scales

struct Codes {
    lower: vec4<u32>,
    upper: vec2<u32>,
}

fn codes(row: u32, block: u32, blocks: u32) -> Codes {
    let first = row * (blocks + blocks / 2u);
    return Codes(quants[first + block], quant_words(first + blocks, block));
}

fn quad(c: Codes, v: u32) -> vec4<f32> {
    return centred_bytes(four_bits(c.lower, v) | (two_bits(c.upper, v) << 4u), 0x20202020u);
}

fn block_scale(row: u32, block: u32, blocks: u32) -> vec2<f32> {
    let first = row * (blocks / 2u + (blocks + 15u) / 16u);
    let d = scale_half(first + blocks / 2u, block / 8u);
    let both = unpack4xI8(scale_short(first, block));
    return vec2<f32>(both.xy) * d;
}
