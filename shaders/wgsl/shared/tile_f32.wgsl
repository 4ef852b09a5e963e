// Tiles of a matrix product in workgroup memory as f32.
// The kernel declares the overrides WG, TILE_X (rows of x) and TILE_W (rows of W) and imports `activations` and `weight`.
// Vector k of row m of a tile lies at k * (rows of the tile) + m.
#import activations
#import weight

override VECTORS_X: u32 = 8u * TILE_X;
override VECTORS_W: u32 = 8u * TILE_W;

var<workgroup> tile_x: array<vec4<f32>, VECTORS_X>;
var<workgroup> tile_w: array<vec4<f32>, VECTORS_W>;

// Brings block `block` of the tile's rows into workgroup memory; rows past the last repeat it. The caller puts barriers around.
fn stage(first_x: u32, first_w: u32, block: u32, index: u32) {
    for (var i = index; i < 4u * TILE_X; i += WG) {
        let pair = x_pair(min(first_x + i / 4u, params.x_rows - 1u), block, i % 4u);
        let to = i % 4u * TILE_X + i / 4u;
        tile_x[to] = pair.low;
        tile_x[to + 4u * TILE_X] = pair.high;
    }
    for (var i = index; i < 4u * TILE_W; i += WG) {
        let pair = weight_pair(min(first_w + i / 4u, params.rows - 1u), block, params.blocks, i % 4u);
        let to = i % 4u * TILE_W + i / 4u;
        tile_w[to] = pair.low;
        tile_w[to + 4u * TILE_W] = pair.high;
    }
}

fn staged_x(k: u32, m: u32) -> vec4<f32> {
    return tile_x[k * TILE_X + m];
}

fn staged_w(k: u32, n: u32) -> vec4<f32> {
    return tile_w[k * TILE_W + n];
}

// What the products of row m of x and row n of W are to be multiplied by.
fn staged_scale(m: u32, n: u32) -> f32 {
    return 1.0;
}
