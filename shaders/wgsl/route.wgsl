// Chooses experts for each token: the USED of EXPERTS with the largest scores, of equal ones those of lower numbers, in the order of
// their scores; and gives each a weight. A score is the logit's softmax or sigmoid; a bias, where there is one, has a part in the
// choice and none in the weight. An expert's place is the number of experts before it, so that there is no order of invocations to
// depend on.
// Grid: a workgroup a token, linear over x and y.
// Needs: USED <= EXPERTS.
#import grid

struct Params {
    // Tokens.
    rows: u32,
    // Elements from one row of `logits` to the next.
    x_stride: u32,
    // Elements from one row of `chosen` to the next.
    chosen_stride: u32,
    // Multiplies the weights.
    scale: f32,
    // Added to the sum by which weights are divided where they are to add up to 1.
    floor: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
// [rows, x_stride]
@group(0) @binding(1) var<storage, read> logits: array<f32>;
// Added to each expert's score for the choice; anything where BIASED is false.
@group(0) @binding(2) var<storage, read> bias: array<f32>;
// [rows, chosen_stride]: the numbers of the USED experts, then the bits of their weights.
@group(0) @binding(3) var<storage, read_write> chosen: array<u32>;

// Invocations of a workgroup.
override WG: u32 = 64u;
// Experts that there are.
override EXPERTS: u32 = 128u;
// Experts chosen for a token.
override USED: u32 = 8u;
// Whether scores are sigmoids of the logits, rather than their softmax.
override SIGMOID: bool = false;
// Whether there is a bias.
override BIASED: bool = false;
// Whether weights are divided by their sum.
override RENORMALISE: bool = true;

var<workgroup> logit: array<f32, EXPERTS>;
// Softmax without its denominator, or sigmoids.
var<workgroup> share: array<f32, EXPERTS>;
// What experts are ordered by.
var<workgroup> key: array<f32, EXPERTS>;
var<workgroup> picked: array<u32, USED>;

fn sigmoid(v: f32) -> f32 {
    let e = exp(-abs(v));
    return select(e, 1.0, v >= 0.0) / (1.0 + e);
}

// The largest logit, which every invocation looks for itself.
fn largest() -> f32 {
    var most = logit[0];
    for (var i = 1u; i < EXPERTS; i++) {
        most = max(most, logit[i]);
    }
    return most;
}

// By what a share is divided to be a score.
fn denominator() -> f32 {
    if SIGMOID {
        return 1.0;
    }
    var total = 0.0;
    for (var i = 0u; i < EXPERTS; i++) {
        total += share[i];
    }
    return total;
}

// How many experts come before expert `i`. Where one of two keys is not a number, the lower number comes first.
fn place(i: u32) -> u32 {
    let own = key[i];
    var before = 0u;
    for (var j = 0u; j < EXPERTS; j++) {
        let other = key[j];
        if other > own || (!(own > other) && j < i) {
            before++;
        }
    }
    return before;
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let row = group_index(id, groups);
    if row >= params.rows {
        return;
    }
    for (var i = index; i < EXPERTS; i += WG) {
        logit[i] = logits[row * params.x_stride + i];
    }
    // Experts that are there, whatever keys that are not numbers make of the places.
    for (var s = index; s < USED; s += WG) {
        picked[s] = s;
    }
    workgroupBarrier();
    let most = largest();
    for (var i = index; i < EXPERTS; i += WG) {
        let v = logit[i];
        share[i] = select(exp(v - most), sigmoid(v), SIGMOID);
    }
    workgroupBarrier();
    let whole = denominator();
    for (var i = index; i < EXPERTS; i += WG) {
        if BIASED {
            key[i] = share[i] / whole + bias[i];
        } else {
            key[i] = logit[i];
        }
    }
    workgroupBarrier();
    for (var i = index; i < EXPERTS; i += WG) {
        let before = place(i);
        if before < USED {
            picked[before] = i;
        }
    }
    workgroupBarrier();
    var divisor = whole;
    if RENORMALISE {
        divisor = params.floor;
        for (var s = 0u; s < USED; s++) {
            divisor += share[picked[s]];
        }
    }
    let to = row * params.chosen_stride;
    for (var s = index; s < USED; s += WG) {
        chosen[to + s] = picked[s];
        chosen[to + USED + s] = bitcast<u32>(share[picked[s]] / divisor * params.scale);
    }
}
