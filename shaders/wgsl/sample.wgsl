// Chooses the next token of each output and advances its sequence: greedy at temperature 0 (the lowest of equals), else
// top-k, then top-p of what is left, then min-p, then temperature and one draw by Gumbel-max.
// Tokens are ordered by (logit, lowest first among equals) and every filter is a cut in that order, found by radix
// selection over integers: exact counts for top-k, probabilities in units of 2^-31 for top-p.
// Grid: x = 1, y = 1, z = output.
// Needs: WG = 256; `processed` as logits_process wrote it; vocab under 2^24.
#import radix
#import random
#import reduce_tree
#import row
#import sampler

struct Params {
    // Tokens.
    vocab: u32,
    // Floats from one row of `logits` to the next.
    stride: u32,
    // Chunks of the vocabulary.
    chunks: u32,
    // Outputs.
    outputs: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// [output][stride], as the model gave them.
@group(0) @binding(1) var<storage, read> logits: array<f32>;
// Summaries [output][chunks], then processed logits [output][CHUNK_FOURS * chunks].
@group(0) @binding(2) var<storage, read> processed: array<vec4<f32>>;
// One an output; `step` is advanced.
@group(0) @binding(3) var<storage, read_write> samplers: array<Sampler>;
// [sequence][vocab]: bit 31: the token is in the prompt; below: how often it was generated.
@group(0) @binding(4) var<storage, read_write> counts: array<u32>;
// One an output: its sequence's last row, made the next one.
@group(0) @binding(5) var<storage, read_write> rows: array<Row>;
// One an output.
@group(0) @binding(6) var<storage, read_write> sampled: array<Sampled>;

override WG: u32 = 256u;
override LANES: u32 = WG;

// Chunks that the list of those worth reading has room for; with more of them all are read.
const LIST: u32 = 1024u;
const NO_LIMIT: u32 = 0xffffffffu;

var<workgroup> settings: Sampler;
var<workgroup> uniform_value: f32;
var<workgroup> chunk_list: array<u32, LIST>;

// A cut in the order of tokens: those with larger keys are kept, and of those with this key the ones up to `last`.
struct Cut {
    key: u32,
    last: u32,
}

// Chunks that hold every token that may be kept.
struct Shortlist {
    count: u32,
    listed: bool,
}

// What the whole vocabulary is summed up to.
struct Summary {
    // Logarithm of the sum of raw exponentials.
    log_total: f32,
    // The largest processed logit.
    best: f32,
    // The lowest token that has it.
    best_token: u32,
}

// Numbers that a search orders and adds up.
const CHUNKS: u32 = 0u; // chunks by their best token, each counting 1
const TOKENS: u32 = 1u; // tokens, each counting 1
const MASS: u32 = 2u;   // tokens, each counting its probability in units of 2^-31
const TIES: u32 = 3u;   // tokens with the cut's key, the lowest first, each counting 1

// What is searched: the kind of numbers, the cut that they must pass, and for MASS the scale of probabilities.
struct Search {
    kind: u32,
    output: u32,
    cut: Cut,
    best: f32,
    unit: f32,
}

// The numbers whose digits are counted: those that agree with `prefix` in the bits of `mask`, by the digit at `shift`.
struct Place {
    prefix: u32,
    mask: u32,
    shift: u32,
}

// A number whose order is that of the logits.
fn sort_key(value: f32) -> u32 {
    let bits = bitcast<u32>(value);
    return select(bits | 0x80000000u, ~bits, bits >> 31u == 1u);
}

// The logit of a key.
fn key_value(key: u32) -> f32 {
    return bitcast<f32>(select(~key, key & 0x7fffffffu, key >> 31u == 1u));
}

fn kept(key: u32, token: u32, cut: Cut) -> bool {
    return key > cut.key || (key == cut.key && token <= cut.last);
}

// The value that invocation 0 has, the same in each for the compiler too.
fn agreed(value: f32, index: u32) -> f32 {
    if index == 0u {
        uniform_value = value;
    }
    return workgroupUniformLoad(&uniform_value);
}

// Probability of a logit relative to that of `best`.
fn relative(value: f32, best: f32) -> f32 {
    return exp(max(value - best, -200.0));
}

// Probability of a logit in units of 2^-31. `unit` is 2^31 over the sum of relative probabilities.
fn mass(value: f32, best: f32, unit: f32) -> u32 {
    return u32(relative(value, best) * unit);
}

// Where an output's processed logits begin.
fn processed_base(output: u32) -> u32 {
    return params.outputs * params.chunks + output * params.chunks * CHUNK_FOURS;
}

fn shortlisted(shortlist: Shortlist, i: u32) -> u32 {
    return select(i, chunk_list[min(i, LIST - 1u)], shortlist.listed);
}

// Sums up the vocabulary from its chunks.
fn summarise(output: u32, index: u32) -> Summary {
    let base = output * params.chunks;
    var raw_max = EXCLUDED;
    var best = EXCLUDED;
    for (var chunk = index; chunk < params.chunks; chunk += WG) {
        let summary = processed[base + chunk];
        raw_max = max(raw_max, summary.x);
        best = max(best, summary.z);
    }
    raw_max = group_max(raw_max, index);
    best = group_max(best, index);
    var sum = 0.0;
    var token = f32(params.vocab);
    for (var chunk = index; chunk < params.chunks; chunk += WG) {
        let summary = processed[base + chunk];
        sum += summary.y * relative(summary.x, raw_max);
        if summary.z == best {
            token = min(token, summary.w);
        }
    }
    sum = group_add(sum, index);
    token = -group_max(-token, index);
    return Summary(raw_max + log(sum), best, u32(token));
}

// Lists, in order, the chunks that have a token with a key of at least `floor_key`.
fn list_chunks(output: u32, floor_key: u32, index: u32) -> Shortlist {
    let base = output * params.chunks;
    let share = (params.chunks + WG - 1u) / WG;
    let begin = min(index * share, params.chunks);
    let end = min(begin + share, params.chunks);
    var own = 0u;
    for (var chunk = begin; chunk < end; chunk++) {
        own += select(0u, 1u, sort_key(processed[base + chunk].z) >= floor_key);
    }
    var at = exclusive_prefix(own, index);
    let count = uniform_sum(own, index);
    if count > LIST {
        return Shortlist(params.chunks, false);
    }
    for (var chunk = begin; chunk < end; chunk++) {
        if sort_key(processed[base + chunk].z) >= floor_key {
            chunk_list[at] = chunk;
            at++;
        }
    }
    workgroupBarrier();
    return Shortlist(count, true);
}

fn tally(number: u32, weight: u32, place: Place) {
    if (number & place.mask) == place.prefix && weight > 0u {
        atomicAdd(&histogram[(number >> place.shift) & (BINS - 1u)], weight);
    }
}

fn tally_token(search: Search, value: f32, token: u32, place: Place) {
    let key = sort_key(value);
    if !kept(key, token, search.cut) {
        return;
    }
    if search.kind == TOKENS {
        tally(key, 1u, place);
    } else if search.kind == MASS {
        tally(key, mass(value, search.best, search.unit), place);
    } else if key == search.cut.key {
        tally(~token, 1u, place);
    }
}

// Adds up the numbers of a search by one digit.
fn tally_all(search: Search, shortlist: Shortlist, place: Place, index: u32) {
    clear_histogram(index);
    if search.kind == CHUNKS {
        for (var chunk = index; chunk < params.chunks; chunk += WG) {
            tally(sort_key(processed[search.output * params.chunks + chunk].z), 1u, place);
        }
    } else {
        for (var i = index; i < shortlist.count * CHUNK_FOURS; i += WG) {
            let four = shortlisted(shortlist, i / CHUNK_FOURS) * CHUNK_FOURS + i % CHUNK_FOURS;
            let values = processed[processed_base(search.output) + four];
            for (var c = 0u; c < 4u; c++) {
                tally_token(search, values[c], 4u * four + c, place);
            }
        }
    }
    workgroupBarrier();
}

// The number at which the sum, from the largest number down, reaches `goal`; for MASS that share of everything.
// `value` of the result is the number.
fn find(search: Search, shortlist: Shortlist, goal: u32, goal_share: f32, index: u32) -> Digit {
    var place = Place(0u, 0u, 32u - DIGIT_BITS);
    var wanted = goal;
    var found = Digit();
    for (var digit = 0u; digit < 3u; digit++) {
        tally_all(search, shortlist, place, index);
        if digit == 0u && search.kind == MASS {
            let total = uniform_sum(own_bins(BINS - index * (BINS / WG)), index);
            wanted = clamp(u32(ceil(goal_share * f32(total))), 1u, max(total, 1u));
        }
        found = find_digit(wanted, index);
        wanted = found.remaining;
        // The digits are 11, 11 and 10 bits wide.
        place.prefix |= found.value << place.shift;
        place.mask |= (BINS - 1u) << place.shift;
        place.shift -= min(place.shift, DIGIT_BITS);
    }
    return Digit(place.prefix, found.remaining, found.total);
}

// The cut that keeps larger keys than `key` and `count` of the `ties` tokens with that key, the lowest.
fn cut_ties(search: Search, shortlist: Shortlist, key: u32, count: u32, ties: u32, index: u32) -> Cut {
    var tied = search;
    tied.kind = TIES;
    tied.cut = Cut(key, select(NO_LIMIT, search.cut.last, key == search.cut.key));
    if count >= ties {
        return tied.cut;
    }
    return Cut(key, ~find(tied, shortlist, count, 0.0, index).value);
}

// The sum of relative probabilities of the tokens within a cut.
fn kept_total(search: Search, shortlist: Shortlist, index: u32) -> f32 {
    var sum = 0.0;
    for (var i = index; i < shortlist.count * CHUNK_FOURS; i += WG) {
        let four = shortlisted(shortlist, i / CHUNK_FOURS) * CHUNK_FOURS + i % CHUNK_FOURS;
        let values = processed[processed_base(search.output) + four];
        for (var c = 0u; c < 4u; c++) {
            sum += select(0.0, relative(values[c], search.best), kept(sort_key(values[c]), 4u * four + c, search.cut));
        }
    }
    return group_add(sum, index);
}

// Draws from the tokens within a cut: the largest of logit / temperature + Gumbel noise. `fallback` if none may be chosen.
fn draw(search: Search, shortlist: Shortlist, options: Sampler, fallback: u32, index: u32) -> u32 {
    var top = EXCLUDED;
    var token = f32(fallback);
    for (var i = index; i < shortlist.count * CHUNK_FOURS; i += WG) {
        let four = shortlisted(shortlist, i / CHUNK_FOURS) * CHUNK_FOURS + i % CHUNK_FOURS;
        let values = processed[processed_base(search.output) + four];
        for (var c = 0u; c < 4u; c++) {
            let candidate = 4u * four + c;
            if values[c] != EXCLUDED && kept(sort_key(values[c]), candidate, search.cut) {
                let noise = gumbel(hash4(vec4(candidate, options.step, options.seed_lo, options.seed_hi)).w);
                let score = max(values[c] - search.best, -1e30) / max(options.temperature, 1e-6) + noise;
                if score > top {
                    top = score;
                    token = f32(candidate);
                }
            }
        }
    }
    let winner = group_max(top, index);
    return u32(-group_max(select(f32(-16777216), -token, top == winner), index));
}

// Applies the filters and draws.
fn choose(output: u32, options: Sampler, best: f32, best_token: u32, index: u32) -> u32 {
    let every = Shortlist(params.chunks, false);
    let by_count = options.top_k > 0u && options.top_k < params.vocab;
    let by_mass = options.top_p < 1.0;
    let min_p_key = select(0u, sort_key(best + log(max(options.min_p, 1e-30))), options.min_p > 0.0);
    var search = Search(CHUNKS, output, Cut(0u, NO_LIMIT), best, 0.0);
    if by_count && options.top_k <= params.chunks {
        // That many chunks have a token at least this good, so the k best tokens are all at least this good.
        search.cut.key = find(search, every, options.top_k, 0.0, index).value;
    } else if !by_count && !by_mass {
        search.cut.key = min_p_key;
    }
    let shortlist = list_chunks(output, search.cut.key, index);
    if by_count {
        search.kind = TOKENS;
        let found = find(search, shortlist, options.top_k, 0.0, index);
        search.cut = cut_ties(search, shortlist, found.value, found.remaining, found.total, index);
    }
    if by_mass {
        search.kind = MASS;
        search.unit = agreed(0x1p31 / kept_total(search, shortlist, index), index);
        let found = find(search, shortlist, 0u, options.top_p, index);
        let each = max(mass(key_value(found.value), best, search.unit), 1u);
        let count = found.remaining / each + select(0u, 1u, found.remaining % each > 0u);
        search.cut = cut_ties(search, shortlist, found.value, count, found.total / each, index);
    }
    if min_p_key > search.cut.key {
        search.cut = Cut(min_p_key, NO_LIMIT);
    }
    return draw(search, shortlist, options, best_token, index);
}

// Writes what was chosen and makes the sequence ready for the next step.
fn advance(output: u32, token: u32, log_total: f32) {
    let raw = sane_logit(logits[output * params.stride + token]);
    sampled[output] = Sampled(token, clamp(raw - log_total, EXCLUDED, 0.0));
    samplers[output].step += 1u;
    counts[rows[output].sequence * params.vocab + token] += 1u;
    rows[output].token = token;
    rows[output].slot += 1u;
    rows[output].end += 1u;
    for (var axis = 0u; axis < 3u; axis++) {
        rows[output].position[axis] += 1u;
    }
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
    let output = group.z;
    if index == 0u {
        settings = samplers[output];
    }
    let options = workgroupUniformLoad(&settings);
    let summary = summarise(output, index);
    var token = summary.best_token;
    if options.temperature > 0.0 {
        token = choose(output, options, agreed(summary.best, index), summary.best_token, index);
    }
    if index == 0u {
        advance(output, token, summary.log_total);
    }
}
