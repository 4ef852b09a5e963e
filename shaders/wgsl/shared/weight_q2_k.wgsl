// Q2_K weights: 2 bits, a scale and a minimum of 4 bits a block of 16, f16 d and dmin a block of 256; a weight is
// q * d * scale - dmin * minimum.
// A row of quants: half a vector a block of 32. A row of scales: two bytes a block of 32, each a scale in its low nibble and a
// minimum in its high one, then a word a block of 256, d in its low half and dmin in its high half.
#import affine_halves
#import codes
#import half_vectors
#import quads
#import scales

struct Codes {
    words: vec2<u32>,
}

fn codes(row: u32, block: u32, blocks: u32) -> Codes {
    return Codes(quant_words(row * (blocks / 2u), block));
}

fn quad(c: Codes, v: u32) -> vec4<f32> {
    return unsigned_bytes(two_bits(c.words, v));
}

fn block_scale(row: u32, block: u32, blocks: u32) -> vec4<f32> {
    let first = row * (blocks / 2u + blocks / 8u);
    let d = unpack2x16float(scales[first + blocks / 2u + block / 8u]);
    let both = scale_short(first, block);
    let scale = unpack4xU8(both & 0x0f0fu).xy;
    let minimum = unpack4xU8((both >> 4u) & 0x0f0fu).xy;
    return vec4<f32>(vec2<f32>(scale) * d.x, vec2<f32>(minimum) * -d.y);
}
