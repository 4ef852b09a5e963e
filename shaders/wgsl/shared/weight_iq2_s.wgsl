// IQ2_S weights: 10 bits that name a point of 8 magnitudes, 8 signs, a scale of 4 bits a block of 16, an f16 d a block of 256; a weight
// is magnitude * sign * d * (1/2 + scale) / 4.
// A row of quants: half a vector a block of 32: lower 8 bits of the indices; signs. A row of scales, after the codebook: 16 bits a block
// of 32, the upper 2 bits of its indices and two scales; then d a block of 256.
#import grid2
#import half_vectors
#import scaled_halves
#import signs

struct Codes {
    points: u32,
    upper: u32,
    signs: u32,
}

fn row_first(row: u32, blocks: u32) -> u32 {
    return 1024u + row * (blocks / 2u + (blocks + 15u) / 16u);
}

fn codes(row: u32, block: u32, blocks: u32) -> Codes {
    let words = quant_words(row * (blocks / 2u), block);
    return Codes(words.x, scale_short(row_first(row, blocks), block), words.y);
}

fn quad(c: Codes, v: u32) -> vec4<f32> {
    let i = v / 2u;
    let index = ((c.points >> (8u * i)) & 0xffu) | (((c.upper >> (2u * i)) & 3u) << 8u);
    return with_signs(grid_half(index, v & 1u), c.signs >> (4u * v));
}

fn block_scale(row: u32, block: u32, blocks: u32) -> vec2<f32> {
    let first = row_first(row, blocks);
    return grid_scales(scale_half(first + blocks / 2u, block / 8u), scale_short(first, block) >> 8u);
}
