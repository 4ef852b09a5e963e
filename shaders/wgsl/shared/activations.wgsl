// Rows of activations read as blocks of 32 columns, zero past the last column.
// The kernel's Params have `cols` and `x_stride` (a multiple of 4).
#import block
#import mask

// Activations: [rows, x_stride].
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;

// Columns col..col + 4 of a row; `col` is a multiple of 4. Never reads outside the row.
fn x_vector(row: u32, col: u32) -> vec4<f32> {
    let i = row * (params.x_stride / 4u) + min(col, params.cols - 1u) / 4u;
    return keep_columns(x[i], col, params.cols);
}

// Quarter `p` of block `block` of a row.
fn x_pair(row: u32, block: u32, p: u32) -> Pair {
    let col = 32u * block + 4u * p;
    return Pair(x_vector(row, col), x_vector(row, col + 16u));
}
