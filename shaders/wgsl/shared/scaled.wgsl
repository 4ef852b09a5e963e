// Weights that are a stored value times a scale of their block.
// The format's module has `code_pair` and `code_block`, the stored values as floats, and `block_scale`.
#import block

fn weight_pair(row: u32, block: u32, blocks: u32, p: u32) -> Pair {
    let q = code_pair(row, block, blocks, p);
    let d = block_scale(row, block, blocks);
    return Pair(q.low * d, q.high * d);
}

fn weight_block(row: u32, block: u32, blocks: u32) -> Block {
    return block_affine(code_block(row, block, blocks), block_scale(row, block, blocks), 0.0);
}

fn weight_dot(row: u32, block: u32, blocks: u32, x: Block) -> f32 {
    return block_dot(code_block(row, block, blocks), x) * block_scale(row, block, blocks);
}
