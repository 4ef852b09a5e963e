// Weights of 16 bits: 4 vectors of 8 weights a block. The format's module has `unpack_halves`: two words, four weights.
#import block
#import quants

fn weight_pair(row: u32, block: u32, blocks: u32, p: u32) -> Pair {
    let v = p / 2u;
    let low = quants[(row * 4u + v) * blocks + block];
    let high = quants[(row * 4u + v + 2u) * blocks + block];
    if p % 2u == 0u {
        return Pair(unpack_halves(low.xy), unpack_halves(high.xy));
    }
    return Pair(unpack_halves(low.zw), unpack_halves(high.zw));
}

fn weight_block(row: u32, block: u32, blocks: u32) -> Block {
    let q0 = quants[(row * 4u) * blocks + block];
    let q1 = quants[(row * 4u + 1u) * blocks + block];
    let q2 = quants[(row * 4u + 2u) * blocks + block];
    let q3 = quants[(row * 4u + 3u) * blocks + block];
    return Block(
        unpack_halves(q0.xy),
        unpack_halves(q0.zw),
        unpack_halves(q1.xy),
        unpack_halves(q1.zw),
        unpack_halves(q2.xy),
        unpack_halves(q2.zw),
        unpack_halves(q3.xy),
        unpack_halves(q3.zw),
    );
}

fn weight_dot(row: u32, block: u32, blocks: u32, x: Block) -> f32 {
    return block_dot(weight_block(row, block, blocks), x);
}
