// Weights that are a stored value times a scale plus an offset, both of their half of a block.
// The format's module has `code_pair` and `code_block`, the stored values as floats, and `block_scale`: two scales, two offsets.
#import block

fn weight_pair(row: u32, block: u32, blocks: u32, p: u32) -> Pair {
    let q = code_pair(row, block, blocks, p);
    let dm = block_scale(row, block, blocks);
    return Pair(q.low * dm.x + dm.z, q.high * dm.y + dm.w);
}

fn weight_block(row: u32, block: u32, blocks: u32) -> Block {
    let dm = block_scale(row, block, blocks);
    return block_affine_halves(code_block(row, block, blocks), dm.xy, dm.zw);
}

fn weight_dot(row: u32, block: u32, blocks: u32, x: Block) -> f32 {
    let dm = block_scale(row, block, blocks);
    return dot(half_dots(code_block(row, block, blocks), x), dm.xy) + dot(half_sums(x), dm.zw);
}
