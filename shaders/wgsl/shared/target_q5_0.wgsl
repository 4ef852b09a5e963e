// Q5_0 as target. A row of scales: a word of upper bits a block, then the f16 scales.
#import target_centred
#import target_planes

const HALF: u32 = 16u;

// The word of the plane that the row's first two scales go to.
fn first_scale(row: u32, blocks: u32) -> u32 {
    return row * (blocks + (blocks + 1u) / 2u) + blocks;
}

// Stores a block's levels, four bytes a word in the order of the columns.
fn store(row: u32, block: u32, blocks: u32, levels: array<u32, 8>) {
    let low = vec4<u32>(levels[0], levels[1], levels[2], levels[3]) & vec4<u32>(0x0f0f0f0fu);
    let high = vec4<u32>(levels[4], levels[5], levels[6], levels[7]) & vec4<u32>(0x0f0f0f0fu);
    quants[row * blocks + block] = low | (high << vec4<u32>(4u));
    // Bit v of byte b belongs to value 4 v + b.
    var upper = 0u;
    for (var v = 0u; v < 8u; v++) {
        upper |= ((levels[v] >> 4u) & 0x01010101u) << v;
    }
    scales[first_scale(row, blocks) - blocks + block] = upper;
}
