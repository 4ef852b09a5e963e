// NF4 weights: 4 bits that name one of 16 values and an f32 scale d for 64 columns; a weight is value * d.
// A row of scales, after the codebook: a word a group.
#import codebook16
#import scaled

fn block_scale(row: u32, block: u32, blocks: u32) -> f32 {
    return bitcast<f32>(scales[CODEBOOK + (row * blocks + block) / 2u]);
}
