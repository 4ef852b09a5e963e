// The plane of scales of a weight matrix: a codebook for formats that have one, then rows of the same number of whole words, each
// made of sections. The formats' modules say which.

@group(0) @binding(3) var<storage, read> scales: array<u32>;

// Half i of the section that begins at word `first`.
fn scale_half(first: u32, i: u32) -> f32 {
    let pair = unpack2x16float(scales[first + i / 2u]);
    return select(pair.x, pair.y, (i & 1u) == 1u);
}

// 16 bits, entry i of the section that begins at word `first`.
fn scale_short(first: u32, i: u32) -> u32 {
    return (scales[first + i / 2u] >> (16u * (i & 1u))) & 0xffffu;
}

// Byte i of the section that begins at word `first`.
fn scale_byte(first: u32, i: u32) -> u32 {
    return (scales[first + i / 4u] >> (8u * (i & 3u))) & 0xffu;
}
