// TQ2_0 and TQ1_0 weights: 2 bits and an f16 scale d a block of 256; a weight is (q - 1) * d.
// A row of quants: half a vector a block of 32. A row of scales: d a block of 256.
#import codes
#import half_vectors
#import quads
#import scaled
#import scales

struct Codes {
    words: vec2<u32>,
}

fn codes(row: u32, block: u32, blocks: u32) -> Codes {
    return Codes(quant_words(row * (blocks / 2u), block));
}

fn quad(c: Codes, v: u32) -> vec4<f32> {
    return centred_bytes(two_bits(c.words, v), 0x01010101u);
}

fn block_scale(row: u32, block: u32, blocks: u32) -> f32 {
    return scale_half(row * ((blocks + 15u) / 16u), block / 8u);
}
