// Embedding: y[r, :] = table[entry(rows[r]), :] * scale, or y[r, :] += that, from a table in any weight format. The entry is the row's
// token, its position or the table's first.
// A large table comes in parts by rows; a dispatch writes the rows whose entry lies in its part.
// Grid: an invocation a block of 32 columns of y, linear over x and y.
#import grid
#import row
#import weight

struct Params {
    // Rows of the step.
    rows: u32,
    // First entry of the table's part.
    first_token: u32,
    // Entries of the part.
    tokens: u32,
    cols: u32,
    // Blocks of 32 columns a row of the table.
    blocks: u32,
    // Elements from one row of y to the next, a multiple of 4.
    y_stride: u32,
    // What every value is multiplied by.
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
// The rows of the step: [rows].
@group(0) @binding(1) var<storage, read> rows: array<Row>;
// [rows, y_stride]
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;

// Invocations of a workgroup.
override WG: u32 = 64u;
// What names the entry: TOKEN, POSITION or FIRST.
override INDEX: u32 = 0u;
// Entries are added to what is there.
override ADD: bool = false;

const TOKEN: u32 = 0u;
const POSITION: u32 = 1u;
const FIRST: u32 = 2u;

// The entry of the whole table that a row asks for.
fn entry_of(row: u32) -> u32 {
    if INDEX == FIRST {
        return 0u;
    }
    return select(rows[row].token, rows[row].position[0], INDEX == POSITION);
}

// Stores vector `v` of a row unless it lies past the last column.
fn store(row: u32, v: u32, value: vec4<f32>) {
    if 4u * v < params.cols {
        let at = row * (params.y_stride / 4u) + v;
        var entry = value * params.scale;
        if ADD {
            entry += y[at];
        }
        y[at] = entry;
    }
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let element = group_index(id, groups) * WG + lane;
    let row = element / params.blocks;
    if row >= params.rows {
        return;
    }
    // An entry before the part wraps around to a large number.
    let token = entry_of(row) - params.first_token;
    if token >= params.tokens {
        return;
    }
    let block = element % params.blocks;
    let w = weight_block(token, block, params.blocks);
    let v = 8u * block;
    store(row, v, w.v0);
    store(row, v + 1u, w.v1);
    store(row, v + 2u, w.v2);
    store(row, v + 3u, w.v3);
    store(row, v + 4u, w.v4);
    store(row, v + 5u, w.v5);
    store(row, v + 6u, w.v6);
    store(row, v + 7u, w.v7);
}
