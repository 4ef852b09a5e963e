// Quantisation to a format with an f16 scale for each block of 32: rows of f32 to the planes of that format, with the bits of
// ggml's reference (`quantize_row_*_ref`). All of it is integer arithmetic, so that every device gives the same bits.
// The scale d is the value of largest magnitude over the format's last level; a level is the value times 1 / d, rounded.
// Grid: an invocation two blocks side by side in a row, whose scales share a word; linear over x and y.
#import grid
#import half
#import target

struct Params {
    rows: u32,
    // The row of the target's part that the first row becomes.
    first_row: u32,
    // Blocks of 32 columns a row.
    blocks: u32,
    // Elements from one row of x to the next, a multiple of 4.
    x_stride: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// The bits of f32: [rows, x_stride].
@group(0) @binding(1) var<storage, read> x: array<vec4<u32>>;
// Not 0 once some value, or a block's scale as f16, is not finite.
@group(0) @binding(4) var<storage, read_write> faults: array<atomic<u32>>;

// Invocations of a workgroup.
override WG: u32 = 64u;

// The first of a block's values whose magnitude is the largest.
fn maximum(first: u32) -> u32 {
    var best = x[first].x;
    for (var v = 0u; v < 8u; v++) {
        let bits = x[first + v];
        for (var i = 0u; i < 4u; i++) {
            best = select(best, bits[i], (bits[i] & 0x7fffffffu) > (best & 0x7fffffffu));
        }
    }
    return best;
}

// Four values as bytes of a word.
fn levels_of(bits: vec4<u32>, inverse: Float, negative_inverse: bool) -> u32 {
    var word = 0u;
    for (var i = 0u; i < 4u; i++) {
        let negative = (bits[i] >> 31u == 1u) != negative_inverse;
        let p = product(normalised(magnitude(bits[i])), inverse);
        word |= level(p, negative) << (8u * i);
    }
    return word;
}

// Quantises a block and returns the bits of its scale.
fn quantise_block(row: u32, block: u32) -> u32 {
    let first = (row * params.x_stride) / 4u + 8u * block;
    let largest = maximum(first);
    let negative = negative_scale(largest >> 31u == 1u);
    let d = divide(magnitude(largest), DIVISOR);
    let inverse = reciprocal(d);
    var levels = array<u32, 8>();
    for (var v = 0u; v < 8u; v++) {
        levels[v] = levels_of(x[first + v], inverse, negative);
    }
    store(params.first_row + row, block, params.blocks, levels);
    let scale = to_half(d.mantissa, d.exponent);
    if scale.bits == 0x7c00u || (largest & 0x7f800000u) == 0x7f800000u {
        atomicOr(&faults[0], 1u);
    }
    return scale.bits | (u32(negative) << 15u);
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let pairs = (params.blocks + 1u) / 2u;
    let pair = group_index(id, groups) * WG + lane;
    let row = pair / pairs;
    if row >= params.rows {
        return;
    }
    let block = 2u * (pair % pairs);
    var word = quantise_block(row, block);
    if block + 1u < params.blocks {
        word |= quantise_block(row, block + 1u) << 16u;
    }
    scales[first_scale(params.first_row + row, params.blocks) + pair % pairs] = word;
}
