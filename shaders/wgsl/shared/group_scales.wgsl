// An f32 scale and an f32 offset for GROUP blocks of 32, a constant of the format's module. A row of scales: two words a group.
#import scales

fn block_scale(row: u32, block: u32, blocks: u32) -> vec2<f32> {
    let at = (row * blocks + block) / GROUP * 2u;
    return bitcast<vec2<f32>>(vec2<u32>(scales[at], scales[at + 1u]));
}
