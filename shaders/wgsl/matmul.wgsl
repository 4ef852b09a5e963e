// Matrix product: y[m, y_offset + n] = dot(W[n, :], x[m, :]), plus a bias where there is one, for many rows of x.
// A workgroup makes a tile of TILE_X rows of x by TILE_W rows of W, 32 columns at a time through workgroup memory; an
// invocation makes 4 x 4 of it. The products of 32 columns are added up apart before they join the sum.
// Grid: x and y linear over tiles, those of the same rows of W next to each other.
#import activations
#import bias
#import grid
#import tile
#import weight

struct Params {
    // Rows of x.
    x_rows: u32,
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
// [x_rows, y_stride]
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

// Rows of x a tile, a multiple of 4.
override TILE_X: u32 = 32u;
// Rows of W a tile, a multiple of 4.
override TILE_W: u32 = 32u;
// Invocations of a workgroup: each makes 4 x 4 of the tile.
override WG: u32 = TILE_X * TILE_W / 16u;
override THREADS_X: u32 = TILE_X / 4u;
override THREADS_W: u32 = TILE_W / 4u;

// Stores the sum of row `m` of x with row `n` of W.
fn store_one(m: u32, n: u32, sum: f32) {
    if n < params.rows {
        let column = params.y_offset + n;
        y[m * params.y_stride + column] = biased(sum, column);
    }
}

// Stores the sums of row `m` of x with rows n, n + THREADS_W, ... of W.
fn store(m: u32, n: u32, sums: vec4<f32>) {
    if m >= params.x_rows {
        return;
    }
    store_one(m, n, sums.x);
    store_one(m, n + THREADS_W, sums.y);
    store_one(m, n + 2u * THREADS_W, sums.z);
    store_one(m, n + 3u * THREADS_W, sums.w);
}

// The scales of row m with the four rows of W from n on.
fn scales_of(m: u32, n: u32) -> vec4<f32> {
    return vec4<f32>(
        staged_scale(m, n),
        staged_scale(m, n + THREADS_W),
        staged_scale(m, n + 2u * THREADS_W),
        staged_scale(m, n + 3u * THREADS_W),
    );
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let tiles_x = (params.x_rows + TILE_X - 1u) / TILE_X;
    let tile = group_index(id, groups);
    let first_x = tile % tiles_x * TILE_X;
    let first_w = tile / tiles_x * TILE_W;
    if first_w >= params.rows {
        return;
    }
    let m = index / THREADS_W;
    let n = index % THREADS_W;
    var sum0 = vec4<f32>();
    var sum1 = vec4<f32>();
    var sum2 = vec4<f32>();
    var sum3 = vec4<f32>();
    for (var block = 0u; block < params.blocks; block++) {
        workgroupBarrier();
        stage(first_x, first_w, block, index);
        workgroupBarrier();
        var part0 = vec4<f32>();
        var part1 = vec4<f32>();
        var part2 = vec4<f32>();
        var part3 = vec4<f32>();
        for (var k = 0u; k < 8u; k++) {
            let w0 = staged_w(k, n);
            let w1 = staged_w(k, n + THREADS_W);
            let w2 = staged_w(k, n + 2u * THREADS_W);
            let w3 = staged_w(k, n + 3u * THREADS_W);
            let x0 = staged_x(k, m);
            part0 += vec4<f32>(dot(x0, w0), dot(x0, w1), dot(x0, w2), dot(x0, w3));
            let x1 = staged_x(k, m + THREADS_X);
            part1 += vec4<f32>(dot(x1, w0), dot(x1, w1), dot(x1, w2), dot(x1, w3));
            let x2 = staged_x(k, m + 2u * THREADS_X);
            part2 += vec4<f32>(dot(x2, w0), dot(x2, w1), dot(x2, w2), dot(x2, w3));
            let x3 = staged_x(k, m + 3u * THREADS_X);
            part3 += vec4<f32>(dot(x3, w0), dot(x3, w1), dot(x3, w2), dot(x3, w3));
        }
        sum0 += part0 * scales_of(m, n);
        sum1 += part1 * scales_of(m + THREADS_X, n);
        sum2 += part2 * scales_of(m + 2u * THREADS_X, n);
        sum3 += part3 * scales_of(m + 3u * THREADS_X, n);
    }
    store(first_x + m, first_w + n, sum0);
    store(first_x + m + THREADS_X, first_w + n, sum1);
    store(first_x + m + 2u * THREADS_X, first_w + n, sum2);
    store(first_x + m + 3u * THREADS_X, first_w + n, sum3);
}
