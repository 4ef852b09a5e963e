// IQ1_M weights: 11 bits that name a point of 8 values, a move a point, a scale of 3 bits a block of 16, an f16 d a block of 256; a
// weight is (value +- 1/8) * d * (1 + 2 scale).
// A row of scales, after the codebook: 16 bits a block of 32, upper bits and move of each point; 2 words a block of 256, whose halves
// hold the scales of two blocks of 32 and 4 bits of d each.
#import grid1
#import scaled_halves

fn row_first(row: u32, blocks: u32) -> u32 {
    return CODEBOOK + row * (blocks / 2u + blocks / 4u);
}

fn codes(row: u32, block: u32, blocks: u32) -> Codes {
    let rest = vec4<u32>(scale_short(row_first(row, blocks), block)) >> vec4<u32>(0u, 4u, 8u, 12u);
    return Codes(point_bytes(row, block, blocks), rest & vec4<u32>(7u), moves((rest & vec4<u32>(8u)) != vec4<u32>(0u)));
}

fn block_scale(row: u32, block: u32, blocks: u32) -> vec2<f32> {
    let first = row_first(row, blocks) + blocks / 2u;
    let words = first + block / 8u * 2u;
    let a = scales[words];
    let b = scales[words + 1u];
    let d = ((a >> 12u) & 15u) | ((a >> 24u) & 0xf0u) | ((b >> 4u) & 0xf00u) | ((b >> 16u) & 0xf000u);
    let both = scale_short(words, (block % 8u) / 2u) >> (6u * (block & 1u));
    let scale = vec2<u32>(both & 7u, (both >> 3u) & 7u);
    return vec2<f32>(1u + 2u * scale) * unpack2x16float(d).x;
}
