// Matrix x vector: y[z, y_offset + n] = dot(W[n, :], x[z, :]), plus a bias where there is one, for one or a few rows of x; or, with
// experts, y[z, n] = dot(row n of the expert that is chosen for z, x[z / x_each, :]), where this part of W has that row.
// LANES invocations share ROWS rows of W, each taking every LANES-th block of 32 columns, and add up at the end.
// Grid: x and y linear over groups of WG / LANES * ROWS columns of results, z = row of results.
#import activations
#import bias
#import chosen
#import grid
#import reduce
#import weight

struct Params {
    // Rows of W.
    rows: u32,
    // Columns of W and x.
    cols: u32,
    // Blocks of 32 columns a row of W.
    blocks: u32,
    // Elements from one row of x to the next, a multiple of 4.
    x_stride: u32,
    // Elements from one row of y to the next.
    y_stride: u32,
    // Where rows are not chosen, the column of y that the first row of W gives. Always its number in the whole matrix.
    y_offset: u32,
    // Columns of results: as many as W has rows, where those are not chosen.
    outputs: u32,
    // Experts chosen for a token: so many rows of results are a token's.
    used: u32,
    // Rows of results that are made of the same row of x.
    x_each: u32,
    // Elements from the experts of one token to those of the next.
    chosen_stride: u32,
    // Rows of an expert in each of the tensors that make the whole matrix.
    expert_rows: u32,
    // Rows of all experts in each of them.
    tensor_rows: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// [rows of results, y_stride]
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

// Invocations of a workgroup.
override WG: u32 = 128u;
// Invocations that share rows of W; divides WG.
override LANES: u32 = 32u;
// Rows of W that a group of lanes takes at once: 1, 2 or 4. More rows use each load of x more often.
override ROWS: u32 = 1u;
// Whether the last block of a row may have fewer than 32 columns.
override RAGGED: bool = true;

// Block `block` of row `z` of x, zero past the last column.
fn x_block(z: u32, block: u32) -> Block {
    let col = 32u * block;
    if !RAGGED || col + 32u <= params.cols {
        let i = z * (params.x_stride / 4u) + 8u * block;
        return Block(x[i], x[i + 1u], x[i + 2u], x[i + 3u], x[i + 4u], x[i + 5u], x[i + 6u], x[i + 7u]);
    }
    return Block(
        x_vector(z, col),
        x_vector(z, col + 4u),
        x_vector(z, col + 8u),
        x_vector(z, col + 12u),
        x_vector(z, col + 16u),
        x_vector(z, col + 20u),
        x_vector(z, col + 24u),
        x_vector(z, col + 28u),
    );
}

// Row `row` of W, or its last, times a block of x.
fn product(row: u32, block: u32, v: Block) -> f32 {
    return weight_dot(min(row, params.rows - 1u), block, params.blocks, v);
}

// Stores the sum for column `output` of the results, which each of its lanes has, if row `row` of W is there.
fn store(sum: f32, output: u32, row: u32, z: u32, index: u32) {
    if index % LANES == 0u && output < params.outputs && row < params.rows {
        y[z * params.y_stride + y_column(output)] = biased(sum, params.y_offset + row);
    }
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let group = group_index(id, groups) * (WG / LANES);
    if group * ROWS >= params.outputs {
        return;
    }
    let output = (group + index / LANES) * ROWS;
    let row0 = weight_row(output, id.z);
    let row1 = weight_row(output + 1u, id.z);
    let row2 = weight_row(output + 2u, id.z);
    let row3 = weight_row(output + 3u, id.z);
    var blocks = params.blocks;
    if EXPERTS && min(min(row0, row1), min(row2, row3)) >= params.rows {
        blocks = 0u; // all are in other parts
    }
    let source = x_row(id.z);
    var share0 = 0.0;
    var share1 = 0.0;
    var share2 = 0.0;
    var share3 = 0.0;
    for (var block = index % LANES; block < blocks; block += LANES) {
        let v = x_block(source, block);
        share0 += product(row0, block, v);
        if ROWS > 1u {
            share1 += product(row1, block, v);
        }
        if ROWS > 2u {
            share2 += product(row2, block, v);
            share3 += product(row3, block, v);
        }
    }
    if ROWS > 2u {
        let sums = group_add4(vec4<f32>(share0, share1, share2, share3), index);
        store(sums.x, output, row0, id.z, index);
        store(sums.y, output + 1u, row1, id.z, index);
        store(sums.z, output + 2u, row2, id.z, index);
        store(sums.w, output + 3u, row3, id.z, index);
        return;
    }
    store(group_add(share0, index), output, row0, id.z, index);
    if ROWS > 1u {
        store(group_add(share1, index), output + 1u, row1, id.z, index);
    }
}
