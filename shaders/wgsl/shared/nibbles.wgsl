// Weights of 4 bits: one vector a block, byte j of it holds weight j in its low nibble and weight j + 16 in its high one.
#import block
#import quants

fn low_nibbles(word: u32) -> vec4<f32> {
    return vec4<f32>(unpack4xU8(word & 0x0f0f0f0fu));
}

fn high_nibbles(word: u32) -> vec4<f32> {
    return vec4<f32>(unpack4xU8((word >> 4u) & 0x0f0f0f0fu));
}

// The quantised values 0..16 of a quarter of a block.
fn nibble_pair(row: u32, block: u32, blocks: u32, p: u32) -> Pair {
    let word = quants[row * blocks + block][p];
    return Pair(low_nibbles(word), high_nibbles(word));
}

// The quantised values 0..16 of a block.
fn nibble_block(row: u32, block: u32, blocks: u32) -> Block {
    let q = quants[row * blocks + block];
    return Block(
        low_nibbles(q.x),
        low_nibbles(q.y),
        low_nibbles(q.z),
        low_nibbles(q.w),
        high_nibbles(q.x),
        high_nibbles(q.y),
        high_nibbles(q.z),
        high_nibbles(q.w),
    );
}
