// IQ4_NL weights: 4 bits that name one of 16 values and an f16 scale d a block of 32; a weight is value * d.
// A row of scales, after the codebook: d a block.
#import codebook16
#import scaled

fn block_scale(row: u32, block: u32, blocks: u32) -> f32 {
    return scale_half(CODEBOOK + row * ((blocks + 1u) / 2u), block);
}
