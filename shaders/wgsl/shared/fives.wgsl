// Weights of 5 bits: a vector of lower bits a block, and a word of upper bits from word `upper_bits` on.
#import codes
#import quads
#import quants

struct Codes {
    lower: vec4<u32>,
    upper: u32,
}

fn five_bits(c: Codes, v: u32) -> u32 {
    return four_bits(c.lower, v) | (one_bit(c.upper, v) << 4u);
}
