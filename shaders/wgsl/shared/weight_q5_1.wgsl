// Q5_1 weights: 5 bits, an f16 scale d and an f16 minimum m a block of 32; a weight is q * d + m.
// A row of scales: a word of upper bits a block, then a word a block, d in its low half and m in its high half.
#import affine
#import fives
#import scales

fn codes(row: u32, block: u32, blocks: u32) -> Codes {
    return Codes(quants[row * blocks + block], scales[row * 2u * blocks + block]);
}

fn quad(c: Codes, v: u32) -> vec4<f32> {
    return unsigned_bytes(five_bits(c, v));
}

fn block_scale(row: u32, block: u32, blocks: u32) -> vec2<f32> {
    return unpack2x16float(scales[(row * 2u + 1u) * blocks + block]);
}
