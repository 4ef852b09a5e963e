// Q4_0 weights: 4 bits and an f16 scale d a block of 32; a weight is (q - 8) * d.
#import nibbles
#import scaled
#import scales_f16

fn code_pair(row: u32, block: u32, blocks: u32, p: u32) -> Pair {
    let q = nibble_pair(row, block, blocks, p);
    return Pair(q.low - 8.0, q.high - 8.0);
}

fn code_block(row: u32, block: u32, blocks: u32) -> Block {
    return block_affine(nibble_block(row, block, blocks), 1.0, -8.0);
}
