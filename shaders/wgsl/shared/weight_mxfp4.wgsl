// MXFP4 weights: 4-bit floats and a power of two a block of 32; a weight is float * 2^(e - 127).
// A row of scales: e, a byte a block.
#import floats4
#import scaled
#import scales

// Half the power of two, since stored values are twice the floats; under 2^-126 it is a subnormal number.
fn block_scale(row: u32, block: u32, blocks: u32) -> f32 {
    let e = scale_byte(row * ((blocks + 3u) / 4u), block);
    return bitcast<f32>(select((e - 1u) << 23u, 0x00200000u << e, e < 2u));
}
