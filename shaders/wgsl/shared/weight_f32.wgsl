// F32 weights: 8 vectors a block.
#import block
#import quants

fn weight_vector(row: u32, block: u32, blocks: u32, v: u32) -> vec4<f32> {
    return bitcast<vec4<f32>>(quants[(row * 8u + v) * blocks + block]);
}

fn weight_pair(row: u32, block: u32, blocks: u32, p: u32) -> Pair {
    return Pair(weight_vector(row, block, blocks, p), weight_vector(row, block, blocks, p + 4u));
}

fn weight_block(row: u32, block: u32, blocks: u32) -> Block {
    return Block(
        weight_vector(row, block, blocks, 0u),
        weight_vector(row, block, blocks, 1u),
        weight_vector(row, block, blocks, 2u),
        weight_vector(row, block, blocks, 3u),
        weight_vector(row, block, blocks, 4u),
        weight_vector(row, block, blocks, 5u),
        weight_vector(row, block, blocks, 6u),
        weight_vector(row, block, blocks, 7u),
    );
}

fn weight_dot(row: u32, block: u32, blocks: u32, x: Block) -> f32 {
    return block_dot(weight_block(row, block, blocks), x);
}
