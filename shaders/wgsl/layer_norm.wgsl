// LayerNorm with residual add: x := x + delta_scale * delta, then y = (x - m) * w / sqrt(mean((x - m)^2) + eps) + b with m = mean(x),
// row by row. The mean is subtracted before squares are added up, so that none of them cancel.
// Grid: a workgroup a row, linear over x and y.
// Needs: nothing of `cols`; `stride` is a multiple of 4.
#import delta
#import grid
#import mask
#import reduce

struct Params {
    rows: u32,
    // Elements of a row that count.
    cols: u32,
    // Elements from one row to the next, in `x`, `delta` and `y`.
    stride: u32,
    // Added to the mean of squares.
    eps: f32,
    // What `delta` is multiplied by.
    delta_scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
// The residual stream: [rows, stride].
@group(0) @binding(1) var<storage, read_write> x: array<vec4<f32>>;
// The weight: [cols].
@group(0) @binding(3) var<storage, read> w: array<vec4<f32>>;
// The bias: [cols].
@group(0) @binding(4) var<storage, read> b: array<vec4<f32>>;
// The normalised rows: [rows, stride].
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;

// Invocations of a workgroup: a power of two.
override WG: u32 = 128u;
override LANES: u32 = WG;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group_index(id, groups);
    if row >= params.rows {
        return;
    }
    let first = row * (params.stride / 4u);
    let vectors = (params.cols + 3u) / 4u;
    var sum = 0.0;
    for (var i = lane; i < vectors; i += WG) {
        sum += dot(keep_columns(residual(first + i), 4u * i, params.cols), vec4(1.0));
    }
    let mean = group_add(sum, lane) / f32(params.cols);
    var squares = 0.0;
    for (var i = lane; i < vectors; i += WG) {
        let v = keep_columns(x[first + i] - mean, 4u * i, params.cols);
        squares += dot(v, v);
    }
    let scale = inverseSqrt(group_add(squares, lane) / f32(params.cols) + params.eps);
    for (var i = lane; i < vectors; i += WG) {
        y[first + i] = (x[first + i] - mean) * scale * w[i] + b[i];
    }
}
