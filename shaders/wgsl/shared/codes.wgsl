// Small integers that share words, taken out four at a time: vector v of a block's 8 is one byte each of a word.
// 4 bits: byte j of 4 words holds value j in its low nibble and value j + 16 in its high one.
// 2 bits: bits 2k and 2k + 1 of byte b of word w hold value 16 w + 4 k + b. 1 bit: bit v of byte b holds value 4 v + b.

fn four_bits(words: vec4<u32>, v: u32) -> u32 {
    return (words[v & 3u] >> (4u * (v >> 2u))) & 0x0f0f0f0fu;
}

fn two_bits(words: vec2<u32>, v: u32) -> u32 {
    return (words[v >> 2u] >> (2u * (v & 3u))) & 0x03030303u;
}

fn one_bit(word: u32, v: u32) -> u32 {
    return (word >> v) & 0x01010101u;
}

// Unsigned bytes as floats.
fn unsigned_bytes(word: u32) -> vec4<f32> {
    return vec4<f32>(unpack4xU8(word));
}

// Bytes under 128 less `middle` (a byte, four times) as floats: 128 - middle brings each to where flipping its top bit makes
// two's complement of it.
fn centred_bytes(word: u32, middle: u32) -> vec4<f32> {
    return vec4<f32>(unpack4xI8((word + (0x80808080u - middle)) ^ 0x80808080u));
}
