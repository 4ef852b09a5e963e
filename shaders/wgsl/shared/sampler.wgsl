// What logits_process and sample share: how a token is to be chosen and what was. Logits in between are a buffer of vec4:
// a summary [output][chunk] of each chunk of the vocabulary, which is (largest raw logit, sum of raw exponentials
// relative to it, largest processed logit, its token as a float: the lowest such), then the processed logits
// [output][CHUNK_FOURS * chunks]. Both kernels use plain workgroup memory for their sums, never subgroups: they run in the same order on every device.

// How the next token of an output is chosen.
struct Sampler {
    // Divides the logits after all filters; 0 takes the most likely token.
    temperature: f32,
    // Keeps the k most likely tokens; 0 keeps all.
    top_k: u32,
    // Keeps the fewest most likely tokens that have this share of the probability, of those that top_k left; 1 keeps all.
    top_p: f32,
    // Keeps tokens at least this often as likely as the most likely one; 0 keeps all.
    min_p: f32,
    // Divides positive and multiplies negative logits of tokens that the sequence has; 1 changes nothing.
    repetition: f32,
    // Is subtracted for each time a token was generated.
    frequency: f32,
    // Is subtracted once from tokens that were generated.
    presence: f32,
    // Low half of the random numbers' seed.
    seed_lo: u32,
    // High half of the seed.
    seed_hi: u32,
    // Tokens chosen so far: the random numbers' counter.
    step: u32,
    _pad0: u32,
    _pad1: u32,
}

// What was chosen.
struct Sampled {
    // The token.
    token: u32,
    // Its log-probability under the model: of the raw logits, before penalties, filters and temperature.
    logprob: f32,
}

// Tokens of a chunk, in fours.
const CHUNK_FOURS: u32 = 64u;
// Logit of a token that must not be chosen (minus infinity or NaN in the model's output).
const EXCLUDED: f32 = -3.4e38;
// Finite logits are clamped to this magnitude, so that differences stay finite.
const LIMIT: f32 = 1.7e38;

// A logit without NaN and infinities. Bits are compared, since compilers may assume that there are none.
fn sane_logit(logit: f32) -> f32 {
    let bits = bitcast<u32>(logit);
    let nan_or_minus_infinity = (bits & 0x7fffffffu) > 0x7f800000u || bits == 0xff800000u;
    let clamped = select(clamp(logit, -LIMIT, LIMIT), LIMIT, bits == 0x7f800000u);
    return select(clamped, EXCLUDED, nan_or_minus_infinity);
}
