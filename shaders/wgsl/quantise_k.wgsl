// Quantisation to Q4_K: rows of f32 to 4 bits, with a scale and a minimum of 6 bits for each 32 columns and two f16 for each 256.
// A search for a small error: of each 32 columns on their own the line that fits best, by least squares from several starts; then,
// with the two f16 of the 256, the best of the pairs of 6 bits around that line. Values are taken as integers, 2^-15 of a power of
// two over the largest of the 256, and everything that follows is integer arithmetic: every device gives the same bits.
// Grid: an invocation 32 columns, a workgroup 64 of them, linear over x and y. Rows are whole blocks of 256.
#import grid
#import half
#import target_planes

struct Params {
    rows: u32,
    // The row of the target's part that the first row becomes.
    first_row: u32,
    // Blocks of 32 columns a row, a multiple of 8.
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
const LANES: u32 = 64u;
// Starts of the search for a line: the largest of 0 .. 15 stands for (440 + 20 start) / 480 of the range.
override STARTS: u32 = 5u;
// Larger differences count as this one, so that 32 squares fit a word.
const MOST: u32 = 11500u;
const NOTHING_YET: u32 = 0xffffffffu;

// Value i of each lane at i * LANES + lane, in units of 2^(e - 15), where 2^e is over the largest of the 256 columns.
var<workgroup> values: array<i32, 2048>;
// What lanes tell the others of their 256 columns.
var<workgroup> told: array<vec2<u32>, LANES>;

// A line scale * level - minimum in sixteenths of a unit.
struct Line {
    scale: u32,
    minimum: u32,
}

// What comes of giving every value the level of a line that is nearest to it.
struct Assigned {
    // Sum of the squared differences, in units.
    error: u32,
    // Sums of the levels, their squares, and their products with the values.
    levels: i32,
    squares: i32,
    products: i32,
}

// The largest of what each lane of the same 256 columns has to tell.
fn largest_told(lane: u32, own: vec2<u32>) -> vec2<u32> {
    told[lane] = own;
    workgroupBarrier();
    var largest = own;
    for (var i = 0u; i < 8u; i++) {
        largest = max(largest, told[(lane & 56u) + i]);
    }
    workgroupBarrier();
    return largest;
}

// The value of an f32 in units, to the nearest, halves away from zero; `largest` is the exponent field of the largest of the 256.
fn to_units(bits: u32, largest: u32) -> i32 {
    let field = (bits >> 23u) & 0xffu;
    let fraction = bits & 0x7fffffu;
    let mantissa = select(fraction | 0x800000u, fraction, field == 0u);
    let shift = min(9u + largest - max(field, 1u), 31u);
    let rounded = i32((mantissa + (1u << (shift - 1u))) >> shift);
    return select(rounded, -rounded, bits >> 31u == 1u);
}

// The level of a value, from the line's scale and its inverse in units of 2^-28.
fn level_of(above: i32, scale: u32, inverse: u32) -> u32 {
    let within = min(u32(max(above, 0)), scale * 15u);
    return (within * inverse + (1u << 27u)) >> 28u;
}

fn inverse_of(scale: u32) -> u32 {
    return select((1u << 28u) / max(scale, 1u), 0u, scale == 0u);
}

fn assign(lane: u32, line: Line) -> Assigned {
    let inverse = inverse_of(line.scale);
    var sums = Assigned(0u, 0, 0, 0);
    for (var i = 0u; i < 32u; i++) {
        let value = values[i * LANES + lane];
        let above = value * 16 + i32(line.minimum);
        let level = level_of(above, line.scale, inverse);
        let difference = min(u32(abs((above - i32(line.scale * level) + 8) >> 4u)), MOST);
        sums.error += difference * difference;
        sums.levels += i32(level);
        sums.squares += i32(level * level);
        sums.products += i32(level) * value;
    }
    return sums;
}

// a / b in sixteenths.
fn sixteenths(a: i32, b: i32) -> u32 {
    return (u32(a / b) << 4u) + (u32(a % b) << 4u) / u32(b);
}

// The line of least squared error for the levels that were assigned; of scale 0 if they are all alike.
fn fitted(sums: Assigned, sum: i32) -> Line {
    let slope = 32 * sums.products - sums.levels * sum;
    let spread = 32 * sums.squares - sums.levels * sums.levels;
    if slope <= 0 || spread <= 0 {
        return Line(0u, 0u);
    }
    let scale = sixteenths(slope, spread);
    let minimum = (i32(scale) * sums.levels - 16 * sum) / 32;
    if minimum >= 0 {
        return Line(scale, u32(minimum));
    }
    // Minima are not negative: the best line through zero.
    if sums.products <= 0 {
        return Line(0u, 0u);
    }
    return Line(sixteenths(sums.products, sums.squares), 0u);
}

// The best line for the lane's 32 values by themselves.
fn best_line(lane: u32) -> Line {
    var low = 0;
    var high = values[lane];
    var sum = 0;
    for (var i = 0u; i < 32u; i++) {
        let value = values[i * LANES + lane];
        low = min(low, value);
        high = max(high, value);
        sum += value;
    }
    var best = Line(0u, u32(-low) * 16u);
    if high <= low {
        return best;
    }
    var least = NOTHING_YET;
    for (var start = 0u; start < STARTS; start++) {
        var line = Line((u32(high - low) << 9u) / (440u + 20u * start), u32(-low) * 16u);
        for (var round = 0u; round < 3u; round++) {
            let sums = assign(lane, line);
            if sums.error < least {
                least = sums.error;
                best = line;
            }
            line = fitted(sums, sum);
            if line.scale == 0u {
                break;
            }
        }
    }
    return best;
}

// A scale of 256 columns as f16, from the largest of theirs in sixteenths of a unit of 2^(e - 15): the f16 stands for 1 of 63.
fn shared_half(largest: u32, e: i32) -> Half {
    return to_half((largest << 12u) / 63u, e - 31);
}

// An f16 in units of 2^(e - 15) / 2^12.
fn fine_units(half: Half, e: i32) -> u32 {
    let shift = half.exponent - e + 27;
    if shift >= 0 {
        return select(half.mantissa << u32(shift), 0u, shift > 20);
    }
    return half.mantissa >> u32(min(-shift, 31));
}

// How often a unit of `fine_units` goes into sixteenths, to the nearest, 63 times at the most.
fn multiples(sixteenths: u32, unit: u32) -> i32 {
    return select(i32(min(((sixteenths << 8u) + unit / 2u) / max(unit, 1u), 63u)), 0, unit == 0u);
}

// The line of 6 bits each, in units of `fine_units`.
fn line_of(pair: vec2<u32>, units: vec2<u32>) -> Line {
    let fine = (pair * units + vec2<u32>(128u)) >> vec2<u32>(8u);
    return Line(fine.x, fine.y);
}

// The best scale and minimum of 6 bits around a line.
fn best_pair(lane: u32, line: Line, units: vec2<u32>) -> vec2<u32> {
    let scale = multiples(line.scale, units.x);
    let minimum = multiples(line.minimum, units.y);
    var best = vec2<u32>(0u);
    var least = NOTHING_YET;
    for (var s = max(scale - 1, 0); s <= min(scale + 1, 63); s++) {
        for (var m = max(minimum - 1, 0); m <= min(minimum + 1, 63); m++) {
            let pair = vec2<u32>(u32(s), u32(m));
            let error = assign(lane, line_of(pair, units)).error;
            if error < least {
                least = error;
                best = pair;
            }
        }
    }
    return best;
}

// The lane's levels: byte j of the vector has value j in its low nibble and value j + 16 in its high one.
fn packed_levels(lane: u32, line: Line) -> vec4<u32> {
    let inverse = inverse_of(line.scale);
    var packed = vec4<u32>(0u);
    for (var i = 0u; i < 32u; i++) {
        let above = values[i * LANES + lane] * 16 + i32(line.minimum);
        let level = level_of(above, line.scale, inverse);
        packed[(i / 4u) % 4u] |= level << (8u * (i % 4u) + 4u * (i / 16u));
    }
    return packed;
}

// Scales and minima of 256 columns in the order of `k_scales.wgsl`, from those that the lanes tell.
fn packed_scales(lane: u32, d: u32, dmin: u32) -> vec4<u32> {
    var packed = vec4<u32>(d | (dmin << 16u), 0u, 0u, 0u);
    for (var b = 0u; b < 8u; b++) {
        let pair = told[(lane & 56u) + b];
        packed[1u + b / 4u] |= ((pair.x & 15u) | ((pair.y & 15u) << 4u)) << (8u * (b % 4u));
        packed.w |= ((pair.x >> 4u) | ((pair.y >> 4u) << 2u)) << (4u * b);
    }
    return packed;
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let element = group_index(id, groups) * LANES + lane;
    let row = element / params.blocks;
    let block = element % params.blocks;
    let first = select(0u, row * params.x_stride / 4u + 8u * block, row < params.rows);

    var own = 0u;
    for (var v = 0u; v < 8u; v++) {
        let magnitudes = x[first + v] & vec4<u32>(0x7fffffffu);
        own = max(own, max(max(magnitudes.x, magnitudes.y), max(magnitudes.z, magnitudes.w)));
    }
    let field = largest_told(lane, vec2<u32>(own, 0u)).x >> 23u;
    let largest = max(field, 1u);
    for (var i = 0u; i < 32u; i++) {
        values[i * LANES + lane] = to_units(x[first + i / 4u][i % 4u], largest);
    }
    let e = i32(largest) - 126;
    let line = best_line(lane);
    let lines = largest_told(lane, vec2<u32>(line.scale, line.minimum));
    let d = shared_half(lines.x, e);
    let dmin = shared_half(lines.y, e);
    let units = vec2<u32>(fine_units(d, e), fine_units(dmin, e));
    let pair = best_pair(lane, line, units);
    told[lane] = pair;
    workgroupBarrier();
    if row >= params.rows {
        return;
    }
    let target_row = params.first_row + row;
    quants[target_row * params.blocks + block] = packed_levels(lane, line_of(pair, units));
    if block % 8u == 0u {
        let packed = packed_scales(lane, d.bits, dmin.bits);
        let word = (target_row * params.blocks + block) / 2u;
        for (var i = 0u; i < 4u; i++) {
            scales[word + i] = packed[i];
        }
        if field == 0xffu || d.bits == 0x7c00u || dmin.bits == 0x7c00u {
            atomicOr(&faults[0], 1u);
        }
    }
}
