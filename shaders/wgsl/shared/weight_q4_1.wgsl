// Q4_1 weights: 4 bits, an f16 scale d and an f16 minimum m a block of 32; a weight is q * d + m.
// A row of scales: a word a block, d in the low half, m in the high half.
#import affine
#import nibbles
#import scales

fn code_pair(row: u32, block: u32, blocks: u32, p: u32) -> Pair {
    return nibble_pair(row, block, blocks, p);
}

fn code_block(row: u32, block: u32, blocks: u32) -> Block {
    return nibble_block(row, block, blocks);
}

fn block_scale(row: u32, block: u32, blocks: u32) -> vec2<f32> {
    return unpack2x16float(scales[row * blocks + block]);
}
