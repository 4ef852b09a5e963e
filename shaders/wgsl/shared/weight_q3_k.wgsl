// Q3_K weights: 3 bits, a scale of 6 bits a block of 16 and an f16 d a block of 256; a weight is (q - 4) * d * (scale - 32).
// A row of quants: the lower 2 bits, half a vector a block of 32. A row of scales: a word of upper bits a block of 32; 3 words a block
// of 256, which are the lower 4 bits of its blocks' scales (a byte a block of 32) and their upper 2 (4 bits); d a block of 256.
#import codes
#import half_vectors
#import quads
#import scaled_halves
#import scales

fn row_words(blocks: u32) -> u32 {
    return blocks + blocks / 8u * 3u + (blocks + 15u) / 16u;
}

struct Codes {
    lower: vec2<u32>,
    upper: u32,
}

fn codes(row: u32, block: u32, blocks: u32) -> Codes {
    return Codes(quant_words(row * (blocks / 2u), block), scales[row * row_words(blocks) + block]);
}

fn quad(c: Codes, v: u32) -> vec4<f32> {
    return centred_bytes(two_bits(c.lower, v) | (one_bit(c.upper, v) << 2u), 0x04040404u);
}

fn block_scale(row: u32, block: u32, blocks: u32) -> vec2<f32> {
    let first = row * row_words(blocks) + blocks;
    let d = scale_half(first + blocks / 8u * 3u, block / 8u);
    let words = first + block / 8u * 3u;
    let lower = scale_byte(words, block % 8u);
    let upper = scales[words + 2u] >> (4u * (block % 8u));
    let both = vec2<u32>((lower & 15u) | ((upper & 3u) << 4u), (lower >> 4u) | ((upper & 12u) << 2u));
    return (vec2<f32>(both) - 32.0) * d;
}
