// BF16 weights: 4 vectors a block, two weights a word. A BF16 is the upper half of an F32.
#import block
#import halves

fn unpack_halves(words: vec2<u32>) -> vec4<f32> {
    return bitcast<vec4<f32>>(vec4<u32>(words.x << 16u, words.x & 0xffff0000u, words.y << 16u, words.y & 0xffff0000u));
}
