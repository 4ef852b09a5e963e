// KV cache in f32, with the functions of kv_f16 and no scales. A tile holds one head of one page: 2 * PAGE * PAIRS words.
//   keys:   component c of pair p of entry j at (c * PAIRS + p) * PAGE + j
//   values: component c of pair p of entry j at (j * PAIRS + p) * 2 + c
// Needs from the kernel: the bindings `k_cache` and `v_cache` (array<u32>) and the override PAIRS (half of head_dim).
#import pages

const KV_SCALED: bool = false;
const KV_PLANES: u32 = 2u;
// Pairs of a word and its neighbour in the other plane.
const KV_WORD_PAIRS: u32 = 1u;
// Pairs that would share a scale.
override KV_SCALE_PAIRS: u32 = PAIRS;

// First word of the tile of `head` in physical page `page`.
fn kv_tile(page: u32, heads: u32, head: u32) -> u32 {
    return (page * heads + head) * (2u * PAGE * PAIRS);
}

// Word of one component (`plane`) of a key pair, within its tile.
fn k_word(pair: u32, entry: u32, plane: u32) -> u32 {
    return (plane * PAIRS + pair) * PAGE + entry;
}

// Word of one component (`plane`) of a value pair, within its tile.
fn v_word(pair: u32, entry: u32, plane: u32) -> u32 {
    return (entry * PAIRS + pair) * 2u + plane;
}

// Entries have no scale here: never written, as KV_SCALED is false.
fn kv_scale_word(pair: u32, entry: u32) -> u32 {
    return 0u;
}

// The word that stores one component of a pair, the first two of `values`.
fn kv_pack(values: vec4<f32>, plane: u32) -> u32 {
    return bitcast<u32>(select(values.x, values.y, plane == 1u));
}

// Pair of a key.
fn k_pair(tile: u32, pair: u32, entry: u32) -> vec2<f32> {
    let at = tile + k_word(pair, entry, 0u);
    return vec2(bitcast<f32>(k_cache[at]), bitcast<f32>(k_cache[at + PAIRS * PAGE]));
}

// Pair of a value.
fn v_pair(tile: u32, pair: u32, entry: u32) -> vec2<f32> {
    let at = tile + v_word(pair, entry, 0u);
    return vec2(bitcast<f32>(v_cache[at]), bitcast<f32>(v_cache[at + 1u]));
}

// Scale of a key: none.
fn k_scale(tile: u32, entry: u32) -> f32 {
    return 1.0;
}

// Scale of a value: none.
fn v_scale(tile: u32, entry: u32) -> f32 {
    return 1.0;
}
