// Q4_0 weights: 4 bits and an f16 scale d a block of 32; a weight is (q - 8) * d.
#import nibbles
#import scales_f16

fn weight_pair(row: u32, block: u32, blocks: u32, p: u32) -> Pair {
    let q = nibble_pair(row, block, blocks, p);
    let d = block_scale(row * blocks + block);
    return Pair((q.low - 8.0) * d, (q.high - 8.0) * d);
}

// The integers q - 8, of which every operation here is exact.
fn centred(row: u32, block: u32, blocks: u32) -> Block {
    return block_affine(nibble_block(row, block, blocks), 1.0, -8.0);
}

fn weight_block(row: u32, block: u32, blocks: u32) -> Block {
    return block_affine(centred(row, block, blocks), block_scale(row * blocks + block), 0.0);
}

fn weight_dot(row: u32, block: u32, blocks: u32, x: Block) -> f32 {
    return block_dot(centred(row, block, blocks), x) * block_scale(row * blocks + block);
}
