// Q8_0 weights: signed 8 bits and an f16 scale d a block of 32, 2 vectors a block; a weight is q * d.
#import block
#import quants
#import scales_f16

fn signed_bytes(word: u32) -> vec4<f32> {
    return vec4<f32>(unpack4xI8(word));
}

fn weight_pair(row: u32, block: u32, blocks: u32, p: u32) -> Pair {
    let d = block_scale(row * blocks + block);
    let low = quants[(row * 2u) * blocks + block][p];
    let high = quants[(row * 2u + 1u) * blocks + block][p];
    return Pair(signed_bytes(low) * d, signed_bytes(high) * d);
}

fn integers(row: u32, block: u32, blocks: u32) -> Block {
    let a = quants[(row * 2u) * blocks + block];
    let b = quants[(row * 2u + 1u) * blocks + block];
    return Block(
        signed_bytes(a.x),
        signed_bytes(a.y),
        signed_bytes(a.z),
        signed_bytes(a.w),
        signed_bytes(b.x),
        signed_bytes(b.y),
        signed_bytes(b.z),
        signed_bytes(b.w),
    );
}

fn weight_block(row: u32, block: u32, blocks: u32) -> Block {
    return block_affine(integers(row, block, blocks), block_scale(row * blocks + block), 0.0);
}

fn weight_dot(row: u32, block: u32, blocks: u32, x: Block) -> f32 {
    return block_dot(integers(row, block, blocks), x) * block_scale(row * blocks + block);
}
