// Weights of signed 8 bits: 2 vectors a block.
#import block
#import quants

fn signed_bytes(word: u32) -> vec4<f32> {
    return vec4<f32>(unpack4xI8(word));
}

fn code_pair(row: u32, block: u32, blocks: u32, p: u32) -> Pair {
    let low = quants[(row * 2u) * blocks + block][p];
    let high = quants[(row * 2u + 1u) * blocks + block][p];
    return Pair(signed_bytes(low), signed_bytes(high));
}

fn code_block(row: u32, block: u32, blocks: u32) -> Block {
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
