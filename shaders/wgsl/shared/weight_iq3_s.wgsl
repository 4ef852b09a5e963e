// IQ3_S weights: 9 bits that name a point of 4 magnitudes, their signs, a scale of 4 bits a block of 32, an f16 d a block of 256; a
// weight is magnitude * sign * d * (1 + 2 scale).
// A row of quants: half a vector a block of 32, the lower 8 bits of its indices. A row of scales, after the codebook: signs, a word a
// block of 32; the upper bits of the indices, a byte; the scales, a word a block of 256; d, a block of 256.
#import codes
#import half_vectors
#import quads
#import scaled
#import scales
#import signs

struct Codes {
    points: vec2<u32>,
    upper: u32,
    signs: u32,
}

fn row_first(row: u32, blocks: u32) -> u32 {
    return 512u + row * (blocks + blocks / 4u + blocks / 8u + (blocks + 15u) / 16u);
}

fn codes(row: u32, block: u32, blocks: u32) -> Codes {
    let first = row_first(row, blocks);
    return Codes(quant_words(row * (blocks / 2u), block), scale_byte(first + blocks, block), scales[first + block]);
}

fn quad(c: Codes, v: u32) -> vec4<f32> {
    let index = ((c.points[v / 4u] >> (8u * (v & 3u))) & 0xffu) | (((c.upper >> v) & 1u) << 8u);
    return with_signs(unsigned_bytes(scales[index]), c.signs >> (4u * v));
}

fn block_scale(row: u32, block: u32, blocks: u32) -> f32 {
    let first = row_first(row, blocks) + blocks + blocks / 4u;
    let scale = (scales[first + block / 8u] >> (4u * (block % 8u))) & 15u;
    return scale_half(first + blocks / 8u, block / 8u) * f32(1u + 2u * scale);
}
