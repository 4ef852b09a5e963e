// Makes logits ready to be sampled: writes them with the sampler's penalties applied, and sums up each chunk of the
// vocabulary: the largest raw logit and the exponentials relative to it (for log-probabilities), and the largest
// processed logit with its token (for greedy choice, and to pass over chunks that no filter keeps).
// Grid: (x, y) = chunk of 4 * CHUNK_FOURS tokens, z = output.
// Needs: WG = CHUNK_FOURS.
#import grid
#import reduce_tree
#import row
#import sampler

struct Params {
    // Tokens.
    vocab: u32,
    // vec4s from one row of logits to the next.
    stride_fours: u32,
    // Chunks of the vocabulary.
    chunks: u32,
    // Outputs.
    outputs: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// [output][stride_fours], as the model gave them.
@group(0) @binding(1) var<storage, read> logits: array<vec4<f32>>;
// One an output: the sequence it belongs to.
@group(0) @binding(2) var<storage, read> rows: array<Row>;
@group(0) @binding(3) var<storage, read> samplers: array<Sampler>;
// [sequence][vocab]: bit 31: the token is in the prompt; below: how often it was generated.
@group(0) @binding(4) var<storage, read> counts: array<u32>;
// Summaries [output][chunks], then processed logits [output][CHUNK_FOURS * chunks].
@group(0) @binding(5) var<storage, read_write> processed: array<vec4<f32>>;

override WG: u32 = 64u;
override LANES: u32 = WG;

// A token's logit after the penalties.
fn penalised(logit: f32, count: u32, settings: Sampler) -> f32 {
    let generated = count & 0x7fffffffu;
    var value = logit;
    if count != 0u {
        value = select(value * settings.repetition, value / settings.repetition, value > 0.0);
    }
    if generated > 0u {
        value -= f32(generated) * settings.frequency + settings.presence;
    }
    return value;
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let chunk = group_index(group, groups);
    if chunk >= params.chunks {
        return;
    }
    let output = group.z;
    let settings = samplers[output];
    let count_base = rows[output].sequence * params.vocab;
    let four = chunk * CHUNK_FOURS + index;
    var raw = vec4(EXCLUDED);
    var value = vec4(EXCLUDED);
    if 4u * four < params.vocab {
        let loaded = logits[output * params.stride_fours + four];
        for (var c = 0u; c < 4u; c++) {
            let token = 4u * four + c;
            if token < params.vocab {
                raw[c] = sane_logit(loaded[c]);
                let changed = sane_logit(penalised(raw[c], counts[count_base + token], settings));
                // Minus zero becomes zero, so that equal logits have equal bits.
                value[c] = select(select(changed, 0.0, changed == 0.0), EXCLUDED, raw[c] == EXCLUDED);
            }
        }
    }
    processed[params.outputs * params.chunks + (output * params.chunks + chunk) * CHUNK_FOURS + index] = value;

    let raw_max = group_max(max(max(raw.x, raw.y), max(raw.z, raw.w)), index);
    let terms = select(exp(raw - raw_max), vec4<f32>(), raw == vec4(EXCLUDED));
    let raw_sum = group_add(terms.x + terms.y + terms.z + terms.w, index);
    let best = group_max(max(max(value.x, value.y), max(value.z, value.w)), index);
    var first = 4u * CHUNK_FOURS;
    for (var c = 4u; c > 0u; c--) {
        if value[c - 1u] == best {
            first = 4u * index + c - 1u;
        }
    }
    // Small integers are exact in f32: the lowest position is the largest negated one.
    let position = u32(-group_max(-f32(first), index));
    if index == 0u {
        let token = chunk * 4u * CHUNK_FOURS + position;
        processed[output * params.chunks + chunk] = vec4(raw_max, raw_sum, best, f32(token));
    }
}
