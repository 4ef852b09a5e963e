// KV cache in 8 bits, with the functions of kv_f16: a word is two pairs of elements, and 32 elements have an f32 scale, their largest
// magnitude, so that none overflows. A tile holds one head of one page: QUADS * PAGE words, then KV_BLOCKS * PAGE scales.
//   keys:   word of quad q of entry j at q * PAGE + j
//   values: word of quad q of entry j at j * QUADS + q
// Needs from the kernel: the bindings `k_cache` and `v_cache` (array<u32>) and the override PAIRS (half of head_dim).
#import pages

const KV_SCALED: bool = true;
const KV_PLANES: u32 = 1u;
// Pairs of a word.
const KV_WORD_PAIRS: u32 = 2u;
// Pairs that share a scale.
const KV_SCALE_PAIRS: u32 = 16u;
override QUADS: u32 = (PAIRS + 1u) / 2u;
override KV_BLOCKS: u32 = (PAIRS + 15u) / 16u;

// First word of the tile of `head` in physical page `page`.
fn kv_tile(page: u32, heads: u32, head: u32) -> u32 {
    return (page * heads + head) * (PAGE * (QUADS + KV_BLOCKS));
}

// Word of a key pair, within its tile.
fn k_word(pair: u32, entry: u32, plane: u32) -> u32 {
    return pair / 2u * PAGE + entry;
}

// Word of a value pair, within its tile.
fn v_word(pair: u32, entry: u32, plane: u32) -> u32 {
    return entry * QUADS + pair / 2u;
}

// Word of the scale of a pair of an entry, within its tile.
fn kv_scale_word(pair: u32, entry: u32) -> u32 {
    return (QUADS + pair / KV_SCALE_PAIRS) * PAGE + entry;
}

// The word that stores two pairs already divided by their scale.
fn kv_pack(values: vec4<f32>, plane: u32) -> u32 {
    return pack4x8snorm(values);
}

// Pair `pair` of a word.
fn kv_unpack(word: u32, pair: u32) -> vec2<f32> {
    let values = unpack4x8snorm(word);
    return select(values.xy, values.zw, pair % 2u == 1u);
}

// Pair of a key.
fn k_pair(tile: u32, pair: u32, entry: u32) -> vec2<f32> {
    let scale = bitcast<f32>(k_cache[tile + kv_scale_word(pair, entry)]);
    return scale * kv_unpack(k_cache[tile + k_word(pair, entry, 0u)], pair);
}

// Pair of a value.
fn v_pair(tile: u32, pair: u32, entry: u32) -> vec2<f32> {
    let scale = bitcast<f32>(v_cache[tile + kv_scale_word(pair, entry)]);
    return scale * kv_unpack(v_cache[tile + v_word(pair, entry, 0u)], pair);
}

// What a whole key is multiplied by: pairs have their scales already.
fn k_scale(tile: u32, entry: u32) -> f32 {
    return 1.0;
}

// What a whole value is multiplied by: pairs have their scales already.
fn v_scale(tile: u32, entry: u32) -> f32 {
    return 1.0;
}
