// IQ3_XXS weights: 8 bits that name a point of 4 magnitudes, 7 bits for the signs of 8, a scale of 4 bits a block of 32, an f16 d a
// block of 256; a weight is magnitude * sign * d * (1/2 + scale) / 2.
// A row of quants: half a vector a block of 32, a byte a point. A row of scales, after the codebook: a word a block of 32, signs and
// scale; then d a block of 256.
#import codes
#import half_vectors
#import quads
#import scaled
#import scales
#import signs

struct Codes {
    points: vec2<u32>,
    signs: u32,
}

fn row_first(row: u32, blocks: u32) -> u32 {
    return 256u + row * (blocks + (blocks + 15u) / 16u);
}

fn codes(row: u32, block: u32, blocks: u32) -> Codes {
    return Codes(quant_words(row * (blocks / 2u), block), scales[row_first(row, blocks) + block]);
}

fn quad(c: Codes, v: u32) -> vec4<f32> {
    let index = (c.points[v / 4u] >> (8u * (v & 3u))) & 0xffu;
    let signs = eight_signs((c.signs >> (7u * (v / 2u))) & 0x7fu);
    return with_signs(unsigned_bytes(scales[index]), signs >> (4u * (v & 1u)));
}

fn block_scale(row: u32, block: u32, blocks: u32) -> f32 {
    let first = row_first(row, blocks);
    return scale_half(first + blocks, block / 8u) * (f32(scales[first + block] >> 28u) + 0.5) * 0.5;
}
