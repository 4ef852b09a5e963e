// IQ4_XS weights: 4 bits that name one of 16 values, a scale of 6 bits a block of 32 and an f16 d a block of 256; a weight is
// value * d * (scale - 32).
// A row of scales, after the codebook: 2 words a block of 256: the lower 4 bits of its blocks' scales; d, then their upper 2 bits.
#import codebook16
#import scaled

fn block_scale(row: u32, block: u32, blocks: u32) -> f32 {
    let first = CODEBOOK + (row * blocks + block) / 8u * 2u;
    let b = block % 8u;
    let rest = scales[first + 1u];
    let scale = ((scales[first] >> (4u * b)) & 15u) | (((rest >> (16u + 2u * b)) & 3u) << 4u);
    return unpack2x16float(rest).x * (f32(scale) - 32.0);
}
