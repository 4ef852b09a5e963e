// Joins the splits of attention_decode: y[row, head] = sum 2^(m_s - m) o_s / sum 2^(m_s - m) l_s over splits s, m = max m_s.
// A head's sink is one more m_s, with l_s = 1 and o_s = 0.
// Grid: x = query head, y = 1, z = row.
// Needs: WG a multiple of 16 and at least PAIRS; SPLIT the WG of attention_decode. A row that attends to nothing gives zeros.
#import sinks
#import span

struct Params {
    // Floats from one row of `y` to the next.
    stride: u32,
    // Query heads.
    q_heads: u32,
    // Splits that `parts` has room for, of each row and head.
    splits: u32,
    // Page table entries a sequence.
    pages_per_sequence: u32,
    // Entries that a row sees, its own the last of them; 0: all before it.
    window: u32,
    // Entries past its own that a row with a window sees.
    ahead: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rows: array<Row>;
// [row][query head][split][PAIRS + 1]: the output's pairs, then (m, l).
@group(0) @binding(2) var<storage, read> parts: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<vec2<f32>>;

override WG: u32 = 128u;
// Half of head_dim.
override PAIRS: u32 = 32u;
// KV entries of a split.
override SPLIT: u32 = 128u;
// Invocations that share a pair of the output, each with its own splits.
override SHARES: u32 = WG / PAIRS;

// Parts that the maximum over splits is first cut into.
const CUTS: u32 = 16u;
// Below every score: the maximum of no scores.
const LOWEST: f32 = -3.4e38;

// Largest scores, then the factors of WG splits at a time, then shares of the sum of exponentials.
var<workgroup> factors: array<f32, WG>;
var<workgroup> cuts: array<f32, CUTS>;
var<workgroup> shares: array<vec2<f32>, WG>;

// The largest score of all splits and the sink.
fn largest_score(head: u32, base: u32, count: u32, index: u32) -> f32 {
    var largest = sink(head);
    for (var split = index; split < count; split += WG) {
        largest = max(largest, parts[base + split * (PAIRS + 1u) + PAIRS].x);
    }
    factors[index] = largest;
    workgroupBarrier();
    if index < CUTS {
        for (var i = index; i < WG; i += CUTS) {
            largest = max(largest, factors[i]);
        }
        cuts[index] = largest;
    }
    workgroupBarrier();
    for (var i = 0u; i < CUTS; i++) {
        largest = max(largest, cuts[i]);
    }
    return largest;
}

// The sum of the factors times the parts of one pair, of every SHARES-th of `count` splits from `first` on. Loads go four
// ahead of their use.
fn weighted_parts(base: u32, first: u32, count: u32, share: u32, pair: u32) -> vec2<f32> {
    var sum = vec2<f32>();
    var split = share;
    let step = SHARES * (PAIRS + 1u);
    for (; split + 3u * SHARES < count; split += 4u * SHARES) {
        let at = base + (first + split) * (PAIRS + 1u) + pair;
        let o0 = parts[at];
        let o1 = parts[at + step];
        let o2 = parts[at + 2u * step];
        let o3 = parts[at + 3u * step];
        sum += factors[split] * o0 + factors[split + SHARES] * o1;
        sum += factors[split + 2u * SHARES] * o2 + factors[split + 3u * SHARES] * o3;
    }
    for (; split < count; split += SHARES) {
        sum += factors[split] * parts[base + (first + split) * (PAIRS + 1u) + pair];
    }
    return sum;
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
    let row = group.z;
    let span = row_span(rows[row]);
    let first_split = span.begin / SPLIT;
    let count = min(select(0u, (span.end + SPLIT - 1u) / SPLIT - first_split, span.begin < span.end), params.splits);
    let base = (row * params.q_heads + group.x) * params.splits * (PAIRS + 1u);
    let largest = largest_score(group.x, base, count, index);

    let share = index / PAIRS;
    let pair = index % PAIRS;
    var sum = vec2<f32>();
    var total = 0.0;
    for (var first = 0u; first < count; first += WG) {
        let here = min(WG, count - first);
        workgroupBarrier();
        if index < here {
            let part = parts[base + (first + index) * (PAIRS + 1u) + PAIRS];
            factors[index] = exp2(part.x - largest);
            total += factors[index] * part.y;
        }
        workgroupBarrier();
        if share < SHARES {
            sum += weighted_parts(base, first, here, share, pair);
        }
    }
    workgroupBarrier();
    factors[index] = total;
    shares[index] = sum;
    workgroupBarrier();
    if index < CUTS {
        var cut = 0.0;
        for (var i = index; i < WG; i += CUTS) {
            cut += factors[i];
        }
        cuts[index] = cut;
    }
    workgroupBarrier();
    if index < PAIRS {
        var all = 0.0;
        if SINKS {
            all = exp2(sink(group.x) - largest);
        }
        for (var i = 0u; i < CUTS; i++) {
            all += cuts[i];
        }
        var output = vec2<f32>();
        for (var i = 0u; i < SHARES; i++) {
            output += shares[i * PAIRS + index];
        }
        y[row * (params.stride / 2u) + group.x * PAIRS + index] = select(vec2<f32>(), output / all, count > 0u);
    }
}
