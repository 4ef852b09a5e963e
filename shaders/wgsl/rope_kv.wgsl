// RoPE and KV write: normalises heads where the model does, rotates the queries and keys of each row, in place for the queries, and
// stores keys and values in the row's KV entry. A row of `qkv` holds q_heads query heads, kv_heads key heads and kv_heads value heads.
// Angles come from a table: cos and sin of the position are the product (as complex numbers) of an entry for
// position % 256 and one for position / 256, so there is no trigonometry here and the bits are the same on every device.
// Grid: x = head (queries, keys, values), y = 1, z = row. One invocation a pair of elements: WG >= PAIRS.
// Needs: an even head_dim; at most PAIRS rotated pairs; rows whose slot lies in the page table (others are not stored).
#import heads
#import kv
#import reduce
#import row

struct Params {
    // Floats from one row of `qkv` to the next.
    stride: u32,
    // Query heads.
    q_heads: u32,
    // Key heads, and as many value heads.
    kv_heads: u32,
    // Pairs that are rotated; the elements after them pass through.
    rope_pairs: u32,
    // Rows of the table for position / 256.
    high_rows: u32,
    // Page table entries a sequence.
    pages_per_sequence: u32,
    // Added to the mean of squares of a head that is normalised.
    eps: f32,
    // Positions whose queries are multiplied by the same factor; 0 where queries have none.
    period: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rows: array<Row>;
@group(0) @binding(2) var<storage, read> pages: array<u32>;
// (cos, sin): rope_pairs entries whose x is the pair's axis of the position, then 256 rows for position % 256, then
// high_rows rows for position / 256, each of rope_pairs entries; then, where queries have factors, an entry each whose x it is.
@group(0) @binding(3) var<storage, read> angles: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read_write> qkv: array<f32>;
@group(0) @binding(5) var<storage, read_write> k_cache: array<u32>;
@group(0) @binding(6) var<storage, read_write> v_cache: array<u32>;

override WG: u32 = 128u;
override LANES: u32 = WG;
// Half of head_dim.
override PAIRS: u32 = 32u;
// Pairs are elements (2i, 2i + 1) rather than (i, i + rope_pairs).
override INTERLEAVED: bool = false;

// Positions that one row of the table's second part stands for.
const LOW_ROWS: u32 = 256u;

// What a workgroup's head is.
const QUERIES: u32 = 0u;
const KEYS: u32 = 1u;
const VALUES: u32 = 2u;

// Elements of a head that WG pairs can have.
override HEAD: u32 = 2u * WG;

var<workgroup> head_row: array<f32, HEAD>;

// The elements of rotated pair `i`; past the rotated ones the pair's own elements.
fn pair_elements(i: u32) -> vec2<u32> {
    if INTERLEAVED || i >= params.rope_pairs {
        return vec2(2u * i, 2u * i + 1u);
    }
    return vec2(i, i + params.rope_pairs);
}

// cos and sin of pair `i` of a row.
fn rotation(row: u32, i: u32) -> vec2<f32> {
    let axis = min(u32(angles[i].x), 2u);
    let position = rows[row].position[axis];
    let high = min(position / LOW_ROWS, params.high_rows - 1u);
    let a = angles[(1u + position % LOW_ROWS) * params.rope_pairs + i];
    let b = angles[(1u + LOW_ROWS + high) * params.rope_pairs + i];
    return vec2(a.x * b.x - a.y * b.y, a.y * b.x + a.x * b.y);
}

// Pair `i` of a row's query or key, rotated.
fn rotated(row: u32, value: vec2<f32>, i: u32) -> vec2<f32> {
    if i >= params.rope_pairs {
        return value;
    }
    let turn = rotation(row, i);
    return vec2(value.x * turn.x - value.y * turn.y, value.y * turn.x + value.x * turn.y);
}

// What the queries of a row are multiplied by.
fn temperature(row: u32) -> f32 {
    if params.period == 0u {
        return 1.0;
    }
    let number = min(rows[row].position[0], params.high_rows * LOW_ROWS - 1u) / params.period;
    return angles[(1u + LOW_ROWS + params.high_rows) * params.rope_pairs + number].x;
}

// The largest magnitude among the pairs that share a scale with `pair`, all of which `head_row` holds.
fn largest_of_block(pair: u32) -> f32 {
    let first = pair / KV_SCALE_PAIRS * KV_SCALE_PAIRS;
    let end = min(first + KV_SCALE_PAIRS, PAIRS);
    var largest = 0.0;
    for (var i = 2u * first; i < 2u * end; i++) {
        largest = max(largest, abs(head_row[i]));
    }
    return largest;
}

// The scale of an entry from the largest magnitude in it. Magnitudes near the bottom of f32 count as zero, so that
// dividing by the scale stays exact enough.
fn entry_scale(largest: f32) -> f32 {
    return select(1.0, largest, largest > 1e-30);
}

// Stores pair `pair` of a key or value head, which is in `head_row`. All invocations of the workgroup must call it.
fn store(row: u32, head: u32, is_key: bool, value: vec2<f32>, pair: u32) {
    let token = rows[row];
    var scale = 1.0;
    if KV_SCALED && KV_SCALE_PAIRS == PAIRS {
        scale = entry_scale(group_max(max(abs(value.x), abs(value.y)), pair));
    }
    if pair >= PAIRS || pair % KV_WORD_PAIRS != 0u || token.slot >= sequence_capacity() {
        return;
    }
    if KV_SCALED && KV_SCALE_PAIRS != PAIRS {
        scale = entry_scale(largest_of_block(pair));
    }
    var values = vec4(value, 0.0, 0.0);
    if KV_WORD_PAIRS == 2u && pair + 1u < PAIRS {
        values = vec4(value, head_row[2u * pair + 2u], head_row[2u * pair + 3u]);
    }
    let entry = token.slot % PAGE;
    let tile = kv_tile(physical_page(token.sequence, token.slot / PAGE), params.kv_heads, head);
    for (var plane = 0u; plane < KV_PLANES; plane++) {
        let word = kv_pack(values / scale, plane);
        if is_key {
            k_cache[tile + k_word(pair, entry, plane)] = word;
        } else {
            v_cache[tile + v_word(pair, entry, plane)] = word;
        }
    }
    if KV_SCALED && pair % KV_SCALE_PAIRS == 0u {
        if is_key {
            k_cache[tile + kv_scale_word(pair, entry)] = bitcast<u32>(scale);
        } else {
            v_cache[tile + kv_scale_word(pair, entry)] = bitcast<u32>(scale);
        }
    }
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
    let row = group.z;
    let base = row * params.stride + group.x * 2u * PAIRS;
    let first_value = params.q_heads + params.kv_heads;
    let part = select(select(VALUES, KEYS, group.x < first_value), QUERIES, group.x < params.q_heads);
    let at = select(pair_elements(index), vec2(2u * index, 2u * index + 1u), part == VALUES);
    var value = vec2<f32>();
    if index < PAIRS {
        value = vec2(qkv[base + at.x], qkv[base + at.y]);
    }
    value = normalised(value, at, part, index);
    if part != VALUES && index < PAIRS {
        value = rotated(row, value, index);
    }
    if part == QUERIES {
        if index < PAIRS {
            value *= temperature(row);
            qkv[base + at.x] = value.x;
            qkv[base + at.y] = value.y;
        }
        return;
    }
    if index < PAIRS {
        head_row[at.x] = value.x;
        head_row[at.y] = value.y;
    }
    workgroupBarrier();
    value = select(vec2<f32>(), vec2(head_row[2u * index], head_row[2u * index + 1u]), index < PAIRS);
    store(row, group.x - select(params.q_heads, first_value, part == VALUES), part == KEYS, value, index);
}
