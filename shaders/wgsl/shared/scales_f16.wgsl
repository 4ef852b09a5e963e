// An f16 scale a block: the only section of a row of scales.
#import scales

fn block_scale(row: u32, block: u32, blocks: u32) -> f32 {
    return scale_half(row * ((blocks + 1u) / 2u), block);
}
