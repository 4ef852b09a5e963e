// Weights that are a stored value times a scale of their block plus an offset of their block.
// The format's module has `code_pair` and `code_block`, the stored values as floats, and `block_scale`: scale and offset.
#import block

fn weight_pair(row: u32, block: u32, blocks: u32, p: u32) -> Pair {
    let q = code_pair(row, block, blocks, p);
    let dm = block_scale(row, block, blocks);
    return Pair(q.low * dm.x + dm.y, q.high * dm.x + dm.y);
}

fn weight_block(row: u32, block: u32, blocks: u32) -> Block {
    let dm = block_scale(row, block, blocks);
    return block_affine(code_block(row, block, blocks), dm.x, dm.y);
}

fn weight_dot(row: u32, block: u32, blocks: u32, x: Block) -> f32 {
    let dm = block_scale(row, block, blocks);
    return block_dot(code_block(row, block, blocks), x) * dm.x + block_sum(x) * dm.y;
}
