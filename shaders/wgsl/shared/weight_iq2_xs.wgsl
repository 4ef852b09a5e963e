// IQ2_XS weights: 9 bits that name a point of 8 magnitudes, 7 bits for its signs, a scale of 4 bits a block of 16, an f16 d a block of
// 256; a weight is magnitude * sign * d * (1/2 + scale) / 4.
// A row of quants: half a vector a block of 32, 16 bits a point. A row of scales, after the codebook: a byte with two scales a block
// of 32, then d a block of 256.
#import grid2
#import half_vectors
#import scaled_halves
#import signs

struct Codes {
    points: vec2<u32>,
}

fn codes(row: u32, block: u32, blocks: u32) -> Codes {
    return Codes(quant_words(row * (blocks / 2u), block));
}

fn quad(c: Codes, v: u32) -> vec4<f32> {
    let point = c.points[v / 4u] >> (16u * ((v / 2u) & 1u));
    let signs = eight_signs((point >> 9u) & 0x7fu);
    return with_signs(grid_half(point & 511u, v & 1u), signs >> (4u * (v & 1u)));
}

fn block_scale(row: u32, block: u32, blocks: u32) -> vec2<f32> {
    let first = 512u + row * (blocks / 4u + (blocks + 15u) / 16u);
    return grid_scales(scale_half(first + blocks / 4u, block / 8u), scale_byte(first, block));
}
