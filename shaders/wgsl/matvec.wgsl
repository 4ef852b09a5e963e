// Matrix x vector: y[z, y_offset + n] = dot(W[n, :], x[z, :]), plus a bias where there is one, for one or a few rows of x.
// LANES invocations share ROWS rows of W, each taking every LANES-th block of 32 columns, and add up at the end.
// Grid: x and y linear over groups of WG / LANES * ROWS rows of W, z = row of x.
#import activations
#import bias
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
    // Column of y that the first row of W gives.
    y_offset: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// [rows of x, y_stride]
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

// Stores the sum of a row, which each of its lanes has.
fn store(sum: f32, row: u32, z: u32, index: u32) {
    if index % LANES == 0u && row < params.rows {
        let column = params.y_offset + row;
        y[z * params.y_stride + column] = biased(sum, column);
    }
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let group = group_index(id, groups) * (WG / LANES);
    if group * ROWS >= params.rows {
        return;
    }
    let row = (group + index / LANES) * ROWS;
    var share0 = 0.0;
    var share1 = 0.0;
    var share2 = 0.0;
    var share3 = 0.0;
    for (var block = index % LANES; block < params.blocks; block += LANES) {
        let v = x_block(id.z, block);
        share0 += product(row, block, v);
        if ROWS > 1u {
            share1 += product(row + 1u, block, v);
        }
        if ROWS > 2u {
            share2 += product(row + 2u, block, v);
            share3 += product(row + 3u, block, v);
        }
    }
    if ROWS > 2u {
        let sums = group_add4(vec4<f32>(share0, share1, share2, share3), index);
        store(sums.x, row, id.z, index);
        store(sums.y, row + 1u, id.z, index);
        store(sums.z, row + 2u, id.z, index);
        store(sums.w, row + 3u, id.z, index);
        return;
    }
    store(group_add(share0, index), row, id.z, index);
    if ROWS > 1u {
        store(group_add(share1, index), row + 1u, id.z, index);
    }
}
