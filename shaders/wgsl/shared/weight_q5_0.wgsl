// Q5_0 weights: 5 bits and an f16 scale d a block of 32; a weight is (q - 16) * d.
// A row of scales: a word of upper bits a block, then d a block.
#import fives
#import scaled
#import scales

fn row_words(blocks: u32) -> u32 {
    return blocks + (blocks + 1u) / 2u;
}

fn codes(row: u32, block: u32, blocks: u32) -> Codes {
    return Codes(quants[row * blocks + block], scales[row * row_words(blocks) + block]);
}

fn quad(c: Codes, v: u32) -> vec4<f32> {
    return centred_bytes(five_bits(c, v), 0x10101010u);
}

fn block_scale(row: u32, block: u32, blocks: u32) -> f32 {
    return scale_half(row * row_words(blocks) + blocks, block);
}
