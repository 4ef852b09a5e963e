// Q8_0 as target: the largest magnitude is 127 times the scale.
#import exact
#import target_planes

const DIVISOR: u32 = 127u;

// Whether the scale is negative.
fn negative_scale(negative_maximum: bool) -> bool {
    return false;
}

// p to the nearest whole number, a half away from zero, as a signed byte.
fn level(p: Float, negative: bool) -> u32 {
    let shift = u32(clamp(-p.exponent, 1, 31));
    let rounded = (p.mantissa + (1u << (shift - 1u))) >> shift;
    return select(rounded, 256u - rounded, negative && rounded > 0u);
}

// The word of the plane that the row's first two scales go to.
fn first_scale(row: u32, blocks: u32) -> u32 {
    return row * ((blocks + 1u) / 2u);
}

// Stores a block's levels, four bytes a word in the order of the columns.
fn store(row: u32, block: u32, blocks: u32, levels: array<u32, 8>) {
    quants[row * 2u * blocks + block] = vec4<u32>(levels[0], levels[1], levels[2], levels[3]);
    quants[(row * 2u + 1u) * blocks + block] = vec4<u32>(levels[4], levels[5], levels[6], levels[7]);
}
