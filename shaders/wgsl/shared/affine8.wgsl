// Weights of 8 bits with a scale d and an offset m for a group of columns; a weight is q * d + m.
#import affine
#import eights
#import group_scales

fn quad(c: Codes, v: u32) -> vec4<f32> {
    return vec4<f32>(code_bytes(c, v));
}
