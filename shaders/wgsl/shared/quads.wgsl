// The stored values of a block, four by four. The format's module has `Codes`, what it reads of a block, `codes`, which reads it, and
// `quad`: vector v of the block's 8 as floats.
#import block

fn code_pair(row: u32, block: u32, blocks: u32, p: u32) -> Pair {
    let c = codes(row, block, blocks);
    return Pair(quad(c, p), quad(c, p + 4u));
}

fn code_block(row: u32, block: u32, blocks: u32) -> Block {
    let c = codes(row, block, blocks);
    return Block(quad(c, 0u), quad(c, 1u), quad(c, 2u), quad(c, 3u), quad(c, 4u), quad(c, 5u), quad(c, 6u), quad(c, 7u));
}
