// Q5_K weights: 5 bits, a scale and a minimum a block of 32 in blocks of 256; a weight is q * scale - minimum.
// A row of scales: a word of upper bits a block of 32, then 4 words a block of 256.
#import affine
#import fives
#import k_scales

fn codes(row: u32, block: u32, blocks: u32) -> Codes {
    return Codes(quants[row * blocks + block], scales[row * (blocks + blocks / 2u) + block]);
}

fn quad(c: Codes, v: u32) -> vec4<f32> {
    return unsigned_bytes(five_bits(c, v));
}

fn block_scale(row: u32, block: u32, blocks: u32) -> vec2<f32> {
    return k_scale(row * (blocks + blocks / 2u) + blocks + block / 8u * 4u, block % 8u);
}
