// Points of 8 values, each one of -1, 0 and 1, named by an index of 11 bits into a codebook in front of the scales. A word of it is a
// point: byte b holds value b plus 1 in its low nibble and value b + 4 plus 1 in its high one. All values of a point are moved up or
// down by 1/8.
// A row of quants: the lower 8 bits of the indices, 4 bytes a block of 32. The format's module has `upper_bits`.
#import quads
#import quants
#import scales

// Words of the codebook.
const CODEBOOK = 2048u;

struct Codes {
    points: u32,
    // The upper 3 bits of each point's index.
    upper: vec4<u32>,
    // What each point is moved by, less 1.
    moves: vec4<f32>,
}

fn point_bytes(row: u32, block: u32, blocks: u32) -> u32 {
    return quants[(row * blocks + block) / 4u][block & 3u];
}

fn moves(down: vec4<bool>) -> vec4<f32> {
    return select(vec4<f32>(-0.875), vec4<f32>(-1.125), down);
}

fn quad(c: Codes, v: u32) -> vec4<f32> {
    let i = v / 2u;
    let index = ((c.points >> (8u * i)) & 0xffu) | (c.upper[i] << 8u);
    let levels = (scales[index] >> (4u * (v & 1u))) & 0x0f0f0f0fu;
    return vec4<f32>(unpack4xU8(levels)) + c.moves[i];
}
