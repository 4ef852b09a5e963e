// Planes of quants in which two neighbouring blocks share a vector.
#import quants

// The two words of block `block` in the plane that begins at vector `first`.
fn quant_words(first: u32, block: u32) -> vec2<u32> {
    let q = quants[first + block / 2u];
    return select(q.xy, q.zw, (block & 1u) == 1u);
}
