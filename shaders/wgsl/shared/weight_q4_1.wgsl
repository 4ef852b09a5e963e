// Q4_1 weights: 4 bits, an f16 scale d and an f16 minimum m a block of 32; a weight is q * d + m.
#import nibbles

// A word a block, row by row: d in the low half, m in the high half.
@group(0) @binding(3) var<storage, read> scales: array<u32>;

fn weight_pair(row: u32, block: u32, blocks: u32, p: u32) -> Pair {
    let q = nibble_pair(row, block, blocks, p);
    let dm = unpack2x16float(scales[row * blocks + block]);
    return Pair(q.low * dm.x + dm.y, q.high * dm.x + dm.y);
}

fn weight_block(row: u32, block: u32, blocks: u32) -> Block {
    let dm = unpack2x16float(scales[row * blocks + block]);
    return block_affine(nibble_block(row, block, blocks), dm.x, dm.y);
}

fn weight_dot(row: u32, block: u32, blocks: u32, x: Block) -> f32 {
    let dm = unpack2x16float(scales[row * blocks + block]);
    return block_dot(nibble_block(row, block, blocks), x) * dm.x + block_sum(x) * dm.y;
}
