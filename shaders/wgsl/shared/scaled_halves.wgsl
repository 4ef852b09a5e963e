// Weights that are a stored value times a scale of their half of a block.
// The format's module has `code_pair` and `code_block`, the stored values as floats, and `block_scale`: one for each half.
#import block

fn weight_pair(row: u32, block: u32, blocks: u32, p: u32) -> Pair {
    let q = code_pair(row, block, blocks, p);
    let d = block_scale(row, block, blocks);
    return Pair(q.low * d.x, q.high * d.y);
}

fn weight_block(row: u32, block: u32, blocks: u32) -> Block {
    let d = block_scale(row, block, blocks);
    return block_affine_halves(code_block(row, block, blocks), d, vec2<f32>());
}

fn weight_dot(row: u32, block: u32, blocks: u32, x: Block) -> f32 {
    return dot(half_dots(code_block(row, block, blocks), x), block_scale(row, block, blocks));
}
