// IQ1_S weights: 11 bits that name a point of 8 values, a scale of 3 bits and a move a block of 32, an f16 d a block of 256; a weight is
// (value +- 1/8) * d * (1 + 2 scale).
// A row of scales, after the codebook: 16 bits a block of 32, upper bits of its indices, scale, move; then d a block of 256.
#import grid1
#import scaled

fn row_first(row: u32, blocks: u32) -> u32 {
    return CODEBOOK + row * (blocks / 2u + (blocks + 15u) / 16u);
}

fn codes(row: u32, block: u32, blocks: u32) -> Codes {
    let rest = scale_short(row_first(row, blocks), block);
    let upper = (vec4<u32>(rest) >> vec4<u32>(0u, 3u, 6u, 9u)) & vec4<u32>(7u);
    return Codes(point_bytes(row, block, blocks), upper, moves(vec4<bool>((rest & 0x8000u) != 0u)));
}

fn block_scale(row: u32, block: u32, blocks: u32) -> f32 {
    let first = row_first(row, blocks);
    let scale = (scale_short(first, block) >> 12u) & 7u;
    return scale_half(first + blocks / 2u, block / 8u) * f32(1u + 2u * scale);
}
