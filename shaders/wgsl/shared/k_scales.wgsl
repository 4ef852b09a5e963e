// Scales and minima of 6 bits in blocks of 256, as Q4_K and Q5_K have them: 4 words, which are d and dmin as halves, the lower 4 bits
// of each block's scale and minimum (a byte a block of 32, the scale's first), their upper 2 bits (4 bits a block).
#import scales

// d times the scale and -dmin times the minimum of block `b` of 8, whose words begin at `first`.
fn k_scale(first: u32, b: u32) -> vec2<f32> {
    let d = unpack2x16float(scales[first]);
    let lower = scale_byte(first + 1u, b);
    let upper = scales[first + 3u] >> (4u * b);
    let scale = (lower & 15u) | ((upper & 3u) << 4u);
    let minimum = (lower >> 4u) | ((upper & 12u) << 2u);
    return vec2<f32>(d.x * f32(scale), -d.y * f32(minimum));
}
