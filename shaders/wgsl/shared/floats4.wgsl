// Weights of 4-bit floats (E2M1): a sign, two bits of exponent, one of mantissa.
#import codes
#import quads
#import quants

struct Codes {
    words: vec4<u32>,
}

fn codes(row: u32, block: u32, blocks: u32) -> Codes {
    return Codes(quants[row * blocks + block]);
}

// Twice the floats' values, which are integers. Digit n of the constant is the magnitude of code n.
fn quad(c: Codes, v: u32) -> vec4<f32> {
    let code = unpack4xU8(four_bits(c.words, v));
    let magnitude = vec4<f32>((vec4<u32>(0xc8643210u) >> ((code & vec4<u32>(7u)) * 4u)) & vec4<u32>(15u));
    return bitcast<vec4<f32>>(bitcast<vec4<u32>>(magnitude) | ((code & vec4<u32>(8u)) << vec4<u32>(28u)));
}
