// Weights of 8 bits, taken out four at a time: 2 vectors a block.
#import quads
#import quants

struct Codes {
    low: vec4<u32>,
    high: vec4<u32>,
}

fn codes(row: u32, block: u32, blocks: u32) -> Codes {
    return Codes(quants[(row * 2u) * blocks + block], quants[(row * 2u + 1u) * blocks + block]);
}

// The bytes of vector v of a block's 8.
fn code_bytes(c: Codes, v: u32) -> vec4<u32> {
    return unpack4xU8(select(c.low[v & 3u], c.high[v & 3u], v >= 4u));
}
