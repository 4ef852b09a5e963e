// F16 weights: 4 vectors a block, two weights a word.
#import block
#import halves

fn unpack_halves(words: vec2<u32>) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y));
}
