// Q8_K weights: signed 8 bits and an f32 scale d a block of 256, 2 vectors a block of 32; a weight is q * d.
#import bytes
#import scaled
#import scales

fn block_scale(row: u32, block: u32, blocks: u32) -> f32 {
    return bitcast<f32>(scales[(row * blocks + block) / 8u]);
}
