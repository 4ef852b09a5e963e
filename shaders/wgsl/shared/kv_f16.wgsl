// KV cache in f16: a pair of elements is one word, and each entry of a head has an f32 scale so that no magnitude
// overflows. A tile holds one head of one page: PAGE * PAIRS words, then PAGE scales.
//   keys:   word of pair p of entry j at p * PAGE + j  (the entries of a pair are consecutive: scores read them together)
//   values: word of pair p of entry j at j * PAIRS + p (the pairs of an entry are consecutive: sums read them together)
// Needs from the kernel: the bindings `k_cache` and `v_cache` (array<u32>) and the override PAIRS (half of head_dim).
#import pages

const KV_SCALED: bool = true;
const KV_PLANES: u32 = 1u;
// Pairs of a word.
const KV_WORD_PAIRS: u32 = 1u;
// Pairs that share a scale.
override KV_SCALE_PAIRS: u32 = PAIRS;

// First word of the tile of `head` in physical page `page`.
fn kv_tile(page: u32, heads: u32, head: u32) -> u32 {
    return (page * heads + head) * (PAGE * PAIRS + PAGE);
}

// Word of a key pair, within its tile.
fn k_word(pair: u32, entry: u32, plane: u32) -> u32 {
    return pair * PAGE + entry;
}

// Word of a value pair, within its tile.
fn v_word(pair: u32, entry: u32, plane: u32) -> u32 {
    return entry * PAIRS + pair;
}

// Word of the scale of a pair of an entry, within its tile: that of the entry.
fn kv_scale_word(pair: u32, entry: u32) -> u32 {
    return PAGE * PAIRS + entry;
}

// The word that stores a pair, the first two of `values`, already divided by its entry's scale.
fn kv_pack(values: vec4<f32>, plane: u32) -> u32 {
    return pack2x16float(values.xy);
}

// Pair of a key, to be multiplied by `k_scale`.
fn k_pair(tile: u32, pair: u32, entry: u32) -> vec2<f32> {
    return unpack2x16float(k_cache[tile + k_word(pair, entry, 0u)]);
}

// Pair of a value, to be multiplied by `v_scale`.
fn v_pair(tile: u32, pair: u32, entry: u32) -> vec2<f32> {
    return unpack2x16float(v_cache[tile + v_word(pair, entry, 0u)]);
}

// Scale of a key.
fn k_scale(tile: u32, entry: u32) -> f32 {
    return bitcast<f32>(k_cache[tile + kv_scale_word(0u, entry)]);
}

// Scale of a value.
fn v_scale(tile: u32, entry: u32) -> f32 {
    return bitcast<f32>(v_cache[tile + kv_scale_word(0u, entry)]);
}
