// An f16 scale a block, two scales a word.

// Scales: block i = n * blocks + b is half (i & 1) of word i >> 1.
@group(0) @binding(3) var<storage, read> scales: array<u32>;

fn block_scale(i: u32) -> f32 {
    let pair = unpack2x16float(scales[i >> 1u]);
    return select(pair.x, pair.y, (i & 1u) == 1u);
}
