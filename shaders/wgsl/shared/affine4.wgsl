// Weights of 4 bits with a scale d and an offset m for a group of columns; a weight is q * d + m.
#import affine
#import group_scales
#import nibbles

fn code_pair(row: u32, block: u32, blocks: u32, p: u32) -> Pair {
    return nibble_pair(row, block, blocks, p);
}

fn code_block(row: u32, block: u32, blocks: u32) -> Block {
    return nibble_block(row, block, blocks);
}
