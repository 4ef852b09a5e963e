// Mean of a sequence's rows: y[i, :] = the mean of the rows of x that are of the same sequence as row index[i], the sequence's last,
// when the step holds all of the sequence.
// Grid: an invocation 4 elements of y, linear over x and y.
// Needs: `stride` is a multiple of 4; rows of a sequence stand together in the order of their slots, which begin at 0. An index past
// the last row means the last row.
#import grid
#import row

struct Params {
    // Rows of y.
    count: u32,
    // Rows of x, at least one.
    rows: u32,
    // Elements from one row to the next, in `x` and `y`.
    stride: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// The rows of the step: [rows].
@group(0) @binding(1) var<storage, read> rows: array<Row>;
// The last row of the sequence of each row of y: [count].
@group(0) @binding(2) var<storage, read> index: array<u32>;
// [rows, stride]
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>;
// [count, stride]
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;

// Invocations of a workgroup.
override WG: u32 = 64u;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let vectors = params.stride / 4u;
    let element = group_index(id, groups) * WG + lane;
    let output = element / vectors;
    if output >= params.count {
        return;
    }
    let last = min(index[output], params.rows - 1u);
    let count = min(rows[last].slot, last) + 1u;
    var sum = vec4<f32>();
    for (var row = last + 1u - count; row <= last; row++) {
        sum += x[row * vectors + element % vectors];
    }
    y[element] = sum / f32(count);
}
