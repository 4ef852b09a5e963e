// Weights of 4 bits that name one of 16 values, which a codebook in front of the scales holds as f32.
#import codes
#import quads
#import quants
#import scales

struct Codes {
    words: vec4<u32>,
}

// Words of the codebook.
const CODEBOOK = 16u;

fn codes(row: u32, block: u32, blocks: u32) -> Codes {
    return Codes(quants[row * blocks + block]);
}

fn quad(c: Codes, v: u32) -> vec4<f32> {
    let i = unpack4xU8(four_bits(c.words, v));
    return bitcast<vec4<f32>>(vec4<u32>(scales[i.x], scales[i.y], scales[i.z], scales[i.w]));
}
