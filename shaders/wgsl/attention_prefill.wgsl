// Attention of many rows: TILE rows of one query head at a time against the pages of their sequence, with an online softmax.
// Rows of a tile may belong to different sequences (rows of one sequence follow each other) and each has its own bounds;
// pages outside the bounds of all rows are not visited.
//   s[r, j] = scale * dot(q[r], k[j]);  y[r] = sum 2^(s - m) * v[j] / sum 2^(s - m);  m = max s   (log2(e) is in `scale`)
// Grid: x = query head, y = tile of rows, z = 1.
// Needs: WG = 128, two invocations a key; TILE = 16, or 8 where PAIRS > 64; VALUE_FOURS = 2 where PAIRS > 32. Where PAIRS > 128:
// WG = 256, TILE = 4, VALUE_FOURS = 1.
// A row that attends to nothing gives zeros.
#import kv
#import sinks
#import span
#import attention

struct Params {
    // Rows of the step.
    rows: u32,
    // Floats from one row of `qkv` to the next; its query heads come first.
    stride: u32,
    // Floats from one row of `y` to the next.
    y_stride: u32,
    // Key and value heads.
    kv_heads: u32,
    // Query heads of one KV head.
    group: u32,
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
@group(0) @binding(6) var<storage, read_write> y: array<vec2<f32>>;

override WG: u32 = 128u;
// Half of head_dim.
override PAIRS: u32 = 32u;
// Rows of a tile.
override TILE: u32 = 16u;
override TILE_FOURS: u32 = TILE / 4u;
// Fours of rows of one invocation in the scores: half of the tile, of a tile of 4 the whole.
override KEY_FOURS: u32 = (TILE + 7u) / 8u;
// Fours of rows of one invocation in the sums, 1 or 2: WG / PAIRS groups of invocations must cover the tile.
override VALUE_FOURS: u32 = 1u;
// Lengths of the workgroup arrays, which take named overrides.
override QUERY_FOURS: u32 = 2u * PAIRS * TILE_FOURS;
override SCORE_FOURS: u32 = PAGE * TILE_FOURS;
override CUT_FOURS: u32 = CUTS * TILE_FOURS;

// Parts that a maximum over a page's keys is first cut into.
const CUTS: u32 = 8u;

var<workgroup> queries: array<vec4<f32>, QUERY_FOURS>;
// Scores of a page, then weights times the values' scales; at the end the sums of exponentials.
var<workgroup> weights: array<vec4<f32>, SCORE_FOURS>;
var<workgroup> cuts: array<vec4<f32>, CUT_FOURS>;
// What the page before multiplies the sums so far by.
var<workgroup> factors: array<vec4<f32>, TILE_FOURS>;

// The bounds of 8 rows.
struct Bounds {
    begin_a: vec4<u32>,
    begin_b: vec4<u32>,
    end_a: vec4<u32>,
    end_b: vec4<u32>,
}

// What an invocation keeps of the softmax of its rows: the largest score, and the sum of exponentials of its own keys.
struct Softmax {
    largest: Eight,
    sum: Eight,
}

// Puts the tile's queries into workgroup memory, scaled; zeros past the last row.
fn load_queries(first_row: u32, head: u32, index: u32) {
    for (var i = index; i < 2u * PAIRS * TILE_FOURS; i += WG) {
        let element = i % (2u * PAIRS);
        let four = i / (2u * PAIRS);
        var query = vec4<f32>();
        for (var c = 0u; c < 4u; c++) {
            let row = first_row + 4u * four + c;
            if row < params.rows {
                query[c] = qkv[row * params.stride + head * 2u * PAIRS + element] * params.scale;
            }
        }
        queries[element * TILE_FOURS + four] = query;
    }
}

// Bounds of the rows of the fours from `four` on, empty outside rows `first..last`.
fn load_bounds(tile_row: u32, four: u32, first: u32, last: u32) -> Bounds {
    var bounds = Bounds();
    for (var c = 0u; c < 4u; c++) {
        let a = tile_row + 4u * four + c;
        let b = a + 4u;
        if a >= first && a < last {
            let span = row_span(rows[a]);
            bounds.begin_a[c] = span.begin;
            bounds.end_a[c] = span.end;
        }
        if KEY_FOURS > 1u && b >= first && b < last {
            let span = row_span(rows[b]);
            bounds.begin_b[c] = span.begin;
            bounds.end_b[c] = span.end;
        }
    }
    return bounds;
}

// One past the last row that follows `first` in its tile and is of the same sequence.
fn segment_end(first: u32, last_row: u32) -> u32 {
    var end = first + 1u;
    while end < last_row && rows[end].sequence == rows[first].sequence {
        end++;
    }
    return end;
}

// The entries that any of the rows `first..last` attends to.
fn segment_span(first: u32, last: u32) -> Span {
    var all = Span(0xffffffffu, 0u);
    for (var row = first; row < last; row++) {
        let span = row_span(rows[row]);
        if span.begin < span.end {
            all.begin = min(all.begin, span.begin);
            all.end = max(all.end, span.end);
        }
    }
    return all;
}

// The largest score in CUTS parts of the page's keys, for each four of rows.
fn cut_maxima(index: u32) {
    if index < CUTS * TILE_FOURS {
        var largest = vec4(LOWEST);
        for (var key = index / TILE_FOURS; key < PAGE; key += CUTS) {
            largest = max(largest, weights[key * TILE_FOURS + index % TILE_FOURS]);
        }
        cuts[index] = largest;
    }
}

// `largest` or the page's largest scores of the fours from `four` on.
fn maxima(largest: Eight, four: u32) -> Eight {
    var all = largest;
    for (var cut = 0u; cut < CUTS; cut++) {
        all.a = max(all.a, cuts[cut * TILE_FOURS + four]);
        if KEY_FOURS > 1u {
            all.b = max(all.b, cuts[cut * TILE_FOURS + four + 1u]);
        }
    }
    return all;
}

// Scores and weights of one page: on return `weights` and `factors` are ready to be read.
fn weigh_page(softmax: ptr<function, Softmax>, bounds: Bounds, tile: u32, first_entry: u32, span: Span, index: u32) {
    let key = index % PAGE;
    let four = (index / PAGE) * KEY_FOURS;
    let scores_here = four < TILE_FOURS;
    let entry = first_entry + key;
    let valid_a = (vec4(entry) >= bounds.begin_a) & (vec4(entry) < bounds.end_a);
    let valid_b = (vec4(entry) >= bounds.begin_b) & (vec4(entry) < bounds.end_b);
    var scores = Eight(vec4(LOWEST), vec4(LOWEST));
    var value_scale = 1.0;
    if scores_here && entry >= span.begin && entry < span.end {
        let products = key_scores(tile, key, four);
        scores.a = select(vec4(LOWEST), products.a, valid_a);
        scores.b = select(vec4(LOWEST), products.b, valid_b);
        value_scale = v_scale(tile, key);
    }
    let at = key * TILE_FOURS + four;
    if scores_here {
        weights[at] = scores.a;
        if KEY_FOURS > 1u {
            weights[at + 1u] = scores.b;
        }
    }
    workgroupBarrier();
    cut_maxima(index);
    workgroupBarrier();

    if scores_here {
        weigh_scores(softmax, scores, valid_a, valid_b, value_scale, key, four);
    }
    workgroupBarrier();
}

// The weights of one key for the fours from `four` on, from its scores and the page's maxima.
fn weigh_scores(
    softmax: ptr<function, Softmax>,
    scores: Eight,
    valid_a: vec4<bool>,
    valid_b: vec4<bool>,
    value_scale: f32,
    key: u32,
    four: u32,
) {
    let at = key * TILE_FOURS + four;
    let old = (*softmax).largest;
    let largest = maxima(old, four);
    let factor_a = exp2(old.a - largest.a);
    let a = select(vec4<f32>(), exp2(scores.a - largest.a), valid_a);
    (*softmax).sum.a = (*softmax).sum.a * factor_a + a;
    weights[at] = a * value_scale;
    if key == 0u {
        factors[four] = factor_a;
    }
    if KEY_FOURS > 1u {
        let factor_b = exp2(old.b - largest.b);
        let b = select(vec4<f32>(), exp2(scores.b - largest.b), valid_b);
        (*softmax).sum.b = (*softmax).sum.b * factor_b + b;
        weights[at + 1u] = b * value_scale;
        if key == 0u {
            factors[four + 1u] = factor_b;
        }
    }
    (*softmax).largest = largest;
}

// Scales the sums of the fours from `four` on by the page's factors.
fn rescale(sum: ptr<function, ValueSum>, four: u32) {
    (*sum).x.a *= factors[four];
    (*sum).y.a *= factors[four];
    if VALUE_FOURS > 1u {
        (*sum).x.b *= factors[four + 1u];
        (*sum).y.b *= factors[four + 1u];
    }
}

// Writes one pair of the rows of one four, divided by the sums of exponentials that lie in `weights`.
fn write_four(x: vec4<f32>, y_sum: vec4<f32>, first_row: u32, four: u32, head: u32, pair: u32) {
    var total = vec4<f32>();
    for (var key = 0u; key < PAGE; key++) {
        total += weights[key * TILE_FOURS + four];
    }
    for (var c = 0u; c < 4u; c++) {
        let row = first_row + 4u * four + c;
        if row < params.rows {
            let value = select(vec2<f32>(), vec2(x[c], y_sum[c]) / total[c], total[c] > 0.0);
            y[row * (params.y_stride / 2u) + head * PAIRS + pair] = value;
        }
    }
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
    let head = group.x;
    let kv_head = head / params.group;
    let first_row = group.y * TILE;
    let last_row = min(first_row + TILE, params.rows);
    load_queries(first_row, head, index);
    workgroupBarrier();

    let key_four = (index / PAGE) * KEY_FOURS;
    let sum_four = (index / PAIRS) * VALUE_FOURS;
    let pair = index % PAIRS;
    let sums = sum_four < TILE_FOURS;
    // The sink is the first score. Sums are those of an invocation's own keys, so one of them counts it.
    let counted = vec4(select(0.0, 1.0, SINKS && index % PAGE == 0u));
    var softmax = Softmax(Eight(vec4(sink(head)), vec4(sink(head))), Eight(counted, counted));
    var sum = ValueSum();
    for (var first = first_row; first < last_row; ) {
        let last = segment_end(first, last_row);
        let sequence = rows[first].sequence;
        let span = segment_span(first, last);
        let bounds = load_bounds(first_row, key_four, first, last);
        for (var page = span.begin / PAGE; page * PAGE < span.end; page++) {
            let tile = kv_tile(physical_page(sequence, page), params.kv_heads, kv_head);
            weigh_page(&softmax, bounds, tile, page * PAGE, span, index);
            if sums {
                rescale(&sum, sum_four);
                let begin = max(span.begin, page * PAGE) - page * PAGE;
                let end = min(span.end - page * PAGE, PAGE);
                add_values(&sum, tile, pair, begin, end, 1u, 0u, sum_four);
            }
            workgroupBarrier();
        }
        first = last;
    }

    if key_four < TILE_FOURS {
        let at = (index % PAGE) * TILE_FOURS + key_four;
        weights[at] = softmax.sum.a;
        if KEY_FOURS > 1u {
            weights[at + 1u] = softmax.sum.b;
        }
    }
    workgroupBarrier();
    if sums {
        write_four(sum.x.a, sum.y.a, first_row, sum_four, head, pair);
        if VALUE_FOURS > 1u {
            write_four(sum.x.b, sum.y.b, first_row, sum_four + 1u, head, pair);
        }
    }
}
