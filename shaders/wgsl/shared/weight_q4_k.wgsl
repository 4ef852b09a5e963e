// Q4_K weights: 4 bits, a scale and a minimum a block of 32 in blocks of 256; a weight is q * scale - minimum.
// A row of scales: 4 words a block of 256.
#import affine
#import k_scales
#import nibbles

fn code_pair(row: u32, block: u32, blocks: u32, p: u32) -> Pair {
    return nibble_pair(row, block, blocks, p);
}

fn code_block(row: u32, block: u32, blocks: u32) -> Block {
    return nibble_block(row, block, blocks);
}

fn block_scale(row: u32, block: u32, blocks: u32) -> vec2<f32> {
    return k_scale((row * blocks + block) / 8u * 4u, block % 8u);
}
