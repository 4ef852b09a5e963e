// Attention of single rows, the KV length split among workgroups: each split writes its largest score, its sum of
// exponentials and its unnormalised output, and attention_merge joins them. All queries of a KV head (up to 8 a
// workgroup) share each load of a key and a value.
//   s[q, j] = scale * dot(q, k[j]);  m = max s;  l = sum 2^(s - m);  o = sum 2^(s - m) * v[j]   (log2(e) is in `scale`)
// Grid: x = KV head * chunks + chunk of its queries, y = split, counted from the first that the row needs, z = row.
// Splits past the row's last return at once.
// Needs: WG a multiple of 64 and at least PAIRS; at most 8 queries a chunk, 4 where PAIRS > 128.
#import kv
#import span
#import attention

struct Params {
    // Floats from one row of `qkv` to the next; its query heads come first.
    stride: u32,
    // Query heads.
    q_heads: u32,
    // Key and value heads.
    kv_heads: u32,
    // Query heads of one KV head.
    group: u32,
    // Splits that `parts` has room for, of each row and head.
    splits: u32,
    // Page table entries a sequence.
    pages_per_sequence: u32,
    // Entries that a row sees, its own the last of them; 0: all before it.
    window: u32,
    // Entries past its own that a row with a window sees.
    ahead: u32,
    // Multiplies the queries: 1/sqrt(head_dim) * log2(e) as a rule, 1/sqrt(head_dim) / cap where scores have a cap.
    scale: f32,
    // The cap of scores times log2(e), where they have one.
    cap: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rows: array<Row>;
@group(0) @binding(2) var<storage, read> pages: array<u32>;
@group(0) @binding(3) var<storage, read> qkv: array<f32>;
@group(0) @binding(4) var<storage, read> k_cache: array<u32>;
@group(0) @binding(5) var<storage, read> v_cache: array<u32>;
// [row][query head][split][PAIRS + 1]: the output's pairs, then (m, l).
@group(0) @binding(6) var<storage, read_write> parts: array<vec2<f32>>;

// Invocations, and KV entries of a split.
override WG: u32 = 128u;
// Half of head_dim.
override PAIRS: u32 = 32u;
// Queries of a chunk, 1 to 8.
override QUERIES: u32 = 4u;
override FOURS: u32 = (QUERIES + 3u) / 4u;
override TILE_FOURS: u32 = FOURS;
override KEY_FOURS: u32 = FOURS;
override VALUE_FOURS: u32 = FOURS;
// Invocations that share a pair of the output, each with its own entries.
override SHARES: u32 = WG / PAIRS;
// Lengths of the workgroup arrays, which take named overrides.
override SHARE_FOURS: u32 = 2u * WG * FOURS;
override SCORE_FOURS: u32 = WG * FOURS;
override CUT_FOURS: u32 = CUTS * FOURS;

// Parts that a maximum or sum over the split's keys is first cut into.
const CUTS: u32 = 16u;

// The queries, then the sums of exponentials, then the shares of the output.
var<workgroup> queries: array<vec4<f32>, SHARE_FOURS>;
// Scores, then weights times the values' scales.
var<workgroup> weights: array<vec4<f32>, SCORE_FOURS>;
var<workgroup> cuts: array<vec4<f32>, CUT_FOURS>;

// Puts the chunk's queries into workgroup memory, scaled; zeros where the chunk has fewer.
fn load_queries(row: u32, head: u32, count: u32, index: u32) {
    for (var i = index; i < 2u * PAIRS * FOURS; i += WG) {
        let element = i % (2u * PAIRS);
        let four = i / (2u * PAIRS);
        let base = row * params.stride + head * 2u * PAIRS + element;
        var query = vec4<f32>();
        for (var c = 0u; c < 4u; c++) {
            if 4u * four + c < count {
                query[c] = qkv[base + (4u * four + c) * 2u * PAIRS] * params.scale;
            }
        }
        queries[element * FOURS + four] = query;
    }
}

// The largest of CUTS parts of the scores, for each four of queries.
fn cut_maxima(index: u32) {
    if index < CUTS * FOURS {
        var largest = vec4(LOWEST);
        for (var key = index / FOURS; key < WG; key += CUTS) {
            largest = max(largest, weights[key * FOURS + index % FOURS]);
        }
        cuts[index] = largest;
    }
}

// The sums of CUTS parts of the exponentials, for each four of queries.
fn cut_sums(index: u32) {
    if index < CUTS * FOURS {
        var sum = vec4<f32>();
        for (var key = index / FOURS; key < WG; key += CUTS) {
            sum += queries[key * FOURS + index % FOURS];
        }
        cuts[index] = sum;
    }
}

// The largest score of each query in the split.
fn maxima() -> Eight {
    var largest = Eight(vec4(LOWEST), vec4(LOWEST));
    for (var cut = 0u; cut < CUTS; cut++) {
        largest.a = max(largest.a, cuts[cut * FOURS]);
        if FOURS > 1u {
            largest.b = max(largest.b, cuts[cut * FOURS + 1u]);
        }
    }
    return largest;
}

// First vec2 of `parts` of a query head and this workgroup's split.
fn part_base(row: u32, head: u32, split: u32) -> u32 {
    return ((row * params.q_heads + head) * params.splits + split) * (PAIRS + 1u);
}

// Joins the shares of the output and writes them, with (m, l) of each query.
fn write_part(row: u32, head: u32, count: u32, split: u32, largest: Eight, index: u32) {
    for (var i = index; i < PAIRS * FOURS; i += WG) {
        let pair = i % PAIRS;
        let four = i / PAIRS;
        var x = vec4<f32>();
        var y = vec4<f32>();
        for (var share = 0u; share < SHARES; share++) {
            let at = (share * PAIRS + pair) * 2u * FOURS + four;
            x += queries[at];
            y += queries[at + FOURS];
        }
        for (var c = 0u; c < 4u; c++) {
            if 4u * four + c < count {
                parts[part_base(row, head + 4u * four + c, split) + pair] = vec2(x[c], y[c]);
            }
        }
    }
    if index < count {
        var sum = 0.0;
        for (var cut = 0u; cut < CUTS; cut++) {
            sum += cuts[cut * FOURS + index / 4u][index % 4u];
        }
        let m = select(largest.a[index % 4u], largest.b[index % 4u], index >= 4u);
        parts[part_base(row, head + index, split) + PAIRS] = vec2(m, sum);
    }
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
    let row = group.z;
    let token = rows[row];
    let span = row_span(token);
    let base = (span.begin / WG + group.y) * WG;
    if base >= span.end || group.y >= params.splits {
        return;
    }
    let chunks = (params.group + QUERIES - 1u) / QUERIES;
    let kv_head = group.x / chunks;
    let first_query = (group.x % chunks) * QUERIES;
    let head = kv_head * params.group + first_query;
    let count = min(QUERIES, params.group - first_query);

    load_queries(row, head, count, index);
    workgroupBarrier();

    let entry = base + index;
    let valid = entry >= span.begin && entry < span.end;
    var scores = Eight(vec4(LOWEST), vec4(LOWEST));
    var value_scale = 1.0;
    if valid {
        let tile = kv_tile(physical_page(token.sequence, entry / PAGE), params.kv_heads, kv_head);
        scores = key_scores(tile, entry % PAGE, 0u);
        value_scale = v_scale(tile, entry % PAGE);
    }
    weights[index * FOURS] = scores.a;
    if FOURS > 1u {
        weights[index * FOURS + 1u] = scores.b;
    }
    workgroupBarrier();
    cut_maxima(index);
    workgroupBarrier();

    let largest = maxima();
    let a = select(vec4<f32>(), exp2(scores.a - largest.a), vec4(valid));
    weights[index * FOURS] = a * value_scale;
    queries[index * FOURS] = a;
    if FOURS > 1u {
        let b = select(vec4<f32>(), exp2(scores.b - largest.b), vec4(valid));
        weights[index * FOURS + 1u] = b * value_scale;
        queries[index * FOURS + 1u] = b;
    }
    workgroupBarrier();
    cut_sums(index);

    var sum = ValueSum();
    let share = index / PAIRS;
    let pair = index % PAIRS;
    if share < SHARES {
        for (var first = 0u; first < WG; first += PAGE) {
            let begin = clamp(span.begin, base + first, base + first + PAGE) - base - first;
            let end = clamp(span.end, base + first, base + first + PAGE) - base - first;
            if begin < end {
                let tile = kv_tile(physical_page(token.sequence, (base + first) / PAGE), params.kv_heads, kv_head);
                add_values(&sum, tile, pair, begin + share, end, SHARES, first, 0u);
            }
        }
    }
    workgroupBarrier();
    if share < SHARES {
        let at = index * 2u * FOURS;
        queries[at] = sum.x.a;
        queries[at + FOURS] = sum.y.a;
        if FOURS > 1u {
            queries[at + 1u] = sum.x.b;
            queries[at + FOURS + 1u] = sum.y.b;
        }
    }
    workgroupBarrier();
    write_part(row, head, count, group.y, largest, index);
}
