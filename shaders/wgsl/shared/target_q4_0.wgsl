// Q4_0 as target.
#import target_centred
#import target_planes

const HALF: u32 = 8u;

// The word of the plane that the row's first two scales go to.
fn first_scale(row: u32, blocks: u32) -> u32 {
    return row * ((blocks + 1u) / 2u);
}

// Stores a block's levels, four bytes a word in the order of the columns.
fn store(row: u32, block: u32, blocks: u32, levels: array<u32, 8>) {
    let low = vec4<u32>(levels[0], levels[1], levels[2], levels[3]);
    let high = vec4<u32>(levels[4], levels[5], levels[6], levels[7]);
    quants[row * blocks + block] = low | (high << vec4<u32>(4u));
}
