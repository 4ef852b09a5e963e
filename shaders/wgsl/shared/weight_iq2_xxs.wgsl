// IQ2_XXS weights: 8 bits that name a point of 8 magnitudes, 7 bits for its signs, a scale of 4 bits a block of 32, an f16 d a block of
// 256; a weight is magnitude * sign * d * (1/2 + scale) / 4.
// A row of quants: half a vector a block of 32: 4 bytes of indices; signs and scale. A row of scales, after the codebook: d.
#import grid2
#import half_vectors
#import scaled
#import signs

struct Codes {
    points: u32,
    signs: u32,
}

fn codes(row: u32, block: u32, blocks: u32) -> Codes {
    let words = quant_words(row * (blocks / 2u), block);
    return Codes(words.x, words.y);
}

fn quad(c: Codes, v: u32) -> vec4<f32> {
    let i = v / 2u;
    let index = (c.points >> (8u * i)) & 0xffu;
    let signs = eight_signs((c.signs >> (7u * i)) & 0x7fu);
    return with_signs(grid_half(index, v & 1u), signs >> (4u * (v & 1u)));
}

fn block_scale(row: u32, block: u32, blocks: u32) -> f32 {
    let d = scale_half(256u + row * ((blocks + 15u) / 16u), block / 8u);
    let scale = quant_words(row * (blocks / 2u), block).y >> 28u;
    return d * (f32(scale) + 0.5) * 0.25;
}
