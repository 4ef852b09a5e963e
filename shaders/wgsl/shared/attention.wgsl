// What both attention kernels do with one KV tile: scores of a key against up to 8 query vectors, and sums of values
// under up to 8 weights. Query vectors go in fours, one vec4 component each, so that a word of the cache is loaded once
// for all of them; the accumulators have names, because an indexed array would end up in memory.
// Scores may be kept under a cap: cap * tanh(score / cap). Queries are then divided by the cap, and `params.cap` is the cap times log2(e).
// Needs from the kernel: what `kv` needs; `params.cap`; the workgroup arrays `queries` ([element][TILE_FOURS] vec4<f32>) and `weights`
// ([key][TILE_FOURS] vec4<f32>); the overrides TILE_FOURS (fours of query vectors of the workgroup), KEY_FOURS and
// VALUE_FOURS (those of one invocation in scores and in sums, 1 or 2).
#import kv
#import tanh

// Scores are kept under a cap.
override SOFTCAP: bool = false;

// One number for each of up to 8 query vectors.
struct Eight {
    a: vec4<f32>,
    b: vec4<f32>,
}

// A pair of elements of the weighted value sum, for each of up to 8 query vectors.
struct ValueSum {
    x: Eight,
    y: Eight,
}

// Below every score: the maximum of no scores. Finite, since shaders need not have infinities.
const LOWEST: f32 = -3.4e38;

fn add_key_pair(sum: ptr<function, Eight>, key: vec2<f32>, pair: u32, first: u32) {
    let x = 2u * pair * TILE_FOURS + first;
    let y = x + TILE_FOURS;
    (*sum).a += key.x * queries[x] + key.y * queries[y];
    if KEY_FOURS > 1u {
        (*sum).b += key.x * queries[x + 1u] + key.y * queries[y + 1u];
    }
}

// Scores of products of queries and a key, with log2(e) in them.
fn capped(products: vec4<f32>) -> vec4<f32> {
    if SOFTCAP {
        return params.cap * tanh4(products);
    }
    return products;
}

// Scores of one key with the query vectors of the fours from `first` on. Loads go four ahead of their use.
fn key_scores(tile: u32, entry: u32, first: u32) -> Eight {
    var sum = Eight();
    var pair = 0u;
    for (; pair + 4u <= PAIRS; pair += 4u) {
        let k0 = k_pair(tile, pair, entry);
        let k1 = k_pair(tile, pair + 1u, entry);
        let k2 = k_pair(tile, pair + 2u, entry);
        let k3 = k_pair(tile, pair + 3u, entry);
        add_key_pair(&sum, k0, pair, first);
        add_key_pair(&sum, k1, pair + 1u, first);
        add_key_pair(&sum, k2, pair + 2u, first);
        add_key_pair(&sum, k3, pair + 3u, first);
    }
    for (; pair < PAIRS; pair++) {
        add_key_pair(&sum, k_pair(tile, pair, entry), pair, first);
    }
    let scale = k_scale(tile, entry);
    if KEY_FOURS > 1u {
        return Eight(capped(sum.a * scale), capped(sum.b * scale));
    }
    return Eight(capped(sum.a * scale), vec4<f32>());
}

fn add_value_pair(sum: ptr<function, ValueSum>, value: vec2<f32>, weight: u32) {
    let a = weights[weight];
    (*sum).x.a += a * value.x;
    (*sum).y.a += a * value.y;
    if VALUE_FOURS > 1u {
        let b = weights[weight + 1u];
        (*sum).x.b += b * value.x;
        (*sum).y.b += b * value.y;
    }
}

// Adds pair `pair` of every `step`-th value of a tile, from `begin` to before `end`, weighted by the fours from `first` on of
// `weights`, whose entry 0 stands for the tile's entry 0 moved by `offset` keys.
fn add_values(sum: ptr<function, ValueSum>, tile: u32, pair: u32, begin: u32, end: u32, step: u32, offset: u32, first: u32) {
    var entry = begin;
    for (; entry + 3u * step < end; entry += 4u * step) {
        let v0 = v_pair(tile, pair, entry);
        let v1 = v_pair(tile, pair, entry + step);
        let v2 = v_pair(tile, pair, entry + 2u * step);
        let v3 = v_pair(tile, pair, entry + 3u * step);
        let at = (offset + entry) * TILE_FOURS + first;
        add_value_pair(sum, v0, at);
        add_value_pair(sum, v1, at + step * TILE_FOURS);
        add_value_pair(sum, v2, at + 2u * step * TILE_FOURS);
        add_value_pair(sum, v3, at + 3u * step * TILE_FOURS);
    }
    for (; entry < end; entry += step) {
        add_value_pair(sum, v_pair(tile, pair, entry), (offset + entry) * TILE_FOURS + first);
    }
}
