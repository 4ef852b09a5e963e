// Tiles of a matrix product in workgroup memory as f16. Each row of a block of 32 columns is scaled by a power of two so that
// its largest value lies in [1, 2): nothing overflows, and what is lost is 11 bits below the largest value.
// The kernel declares the overrides WG, TILE_X (rows of x) and TILE_W (rows of W) and imports `activations` and `weight`.
// Vector k of row m of a tile lies at k * (rows of the tile) + m.
#import activations
#import weight
#needs f16

override VECTORS_X: u32 = 8u * TILE_X;
override VECTORS_W: u32 = 8u * TILE_W;
override QUARTERS_X: u32 = 4u * TILE_X;
override QUARTERS_W: u32 = 4u * TILE_W;

var<workgroup> tile_x: array<vec4<f16>, VECTORS_X>;
var<workgroup> tile_w: array<vec4<f16>, VECTORS_W>;
// Largest magnitude of each quarter of a row.
var<workgroup> peak_x: array<f32, QUARTERS_X>;
var<workgroup> peak_w: array<f32, QUARTERS_W>;

fn peak_of(pair: Pair) -> f32 {
    let v = max(abs(pair.low), abs(pair.high));
    return max(max(v.x, v.y), max(v.z, v.w));
}

// The exponent bits of a row's largest magnitude, kept where both 2^e and 2^-e are normal numbers.
fn exponent(a: f32, b: f32, c: f32, d: f32) -> u32 {
    let peak = max(max(a, b), max(c, d));
    return clamp(bitcast<u32>(peak) & 0x7f800000u, 0x00800000u, 0x7e800000u);
}

fn exponent_x(m: u32) -> u32 {
    return exponent(peak_x[4u * m], peak_x[4u * m + 1u], peak_x[4u * m + 2u], peak_x[4u * m + 3u]);
}

fn exponent_w(n: u32) -> u32 {
    return exponent(peak_w[4u * n], peak_w[4u * n + 1u], peak_w[4u * n + 2u], peak_w[4u * n + 3u]);
}

fn power(exponent: u32) -> f32 {
    return bitcast<f32>(exponent);
}

fn inverse_power(exponent: u32) -> f32 {
    return bitcast<f32>(0x7f000000u - exponent);
}

fn pair_x(first: u32, block: u32, i: u32) -> Pair {
    return x_pair(min(first + i / 4u, params.x_rows - 1u), block, i % 4u);
}

fn pair_w(first: u32, block: u32, i: u32) -> Pair {
    return weight_pair(min(first + i / 4u, params.rows - 1u), block, params.blocks, i % 4u);
}

// Brings block `block` of the tile's rows into workgroup memory; rows past the last repeat it. The caller puts barriers around.
fn stage(first_x: u32, first_w: u32, block: u32, index: u32) {
    for (var i = index; i < 4u * TILE_X; i += WG) {
        peak_x[i] = peak_of(pair_x(first_x, block, i));
    }
    for (var i = index; i < 4u * TILE_W; i += WG) {
        peak_w[i] = peak_of(pair_w(first_w, block, i));
    }
    workgroupBarrier();
    for (var i = index; i < 4u * TILE_X; i += WG) {
        let pair = pair_x(first_x, block, i);
        let scale = inverse_power(exponent_x(i / 4u));
        let to = i % 4u * TILE_X + i / 4u;
        tile_x[to] = vec4<f16>(pair.low * scale);
        tile_x[to + 4u * TILE_X] = vec4<f16>(pair.high * scale);
    }
    for (var i = index; i < 4u * TILE_W; i += WG) {
        let pair = pair_w(first_w, block, i);
        let scale = inverse_power(exponent_w(i / 4u));
        let to = i % 4u * TILE_W + i / 4u;
        tile_w[to] = vec4<f16>(pair.low * scale);
        tile_w[to + 4u * TILE_W] = vec4<f16>(pair.high * scale);
    }
}

fn staged_x(k: u32, m: u32) -> vec4<f32> {
    return vec4<f32>(tile_x[k * TILE_X + m]);
}

fn staged_w(k: u32, n: u32) -> vec4<f32> {
    return vec4<f32>(tile_w[k * TILE_W + n]);
}

// What the products of row m of x and row n of W are to be multiplied by.
fn staged_scale(m: u32, n: u32) -> f32 {
    return power(exponent_x(m)) * power(exponent_w(n));
}
