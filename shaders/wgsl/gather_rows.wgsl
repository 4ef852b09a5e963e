// Gather of rows: y[i, :] = x[index[i], :].
// Grid: an invocation 4 elements of y, linear over x and y.
// Needs: `stride` is a multiple of 4. An index past the last row reads the last row.
#import grid

struct Params {
    // Rows of y.
    count: u32,
    // Rows of x, at least one.
    rows: u32,
    // Elements from one row to the next, in `x` and `y`.
    stride: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// [rows, stride]
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
// Row of x for each row of y: [count].
@group(0) @binding(2) var<storage, read> index: array<u32>;
// [count, stride]
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;

// Invocations of a workgroup.
override WG: u32 = 128u;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let vectors = params.stride / 4u;
    let element = group_index(id, groups) * WG + lane;
    let row = element / vectors;
    if row >= params.count {
        return;
    }
    let source = min(index[row], params.rows - 1u);
    y[element] = x[source * vectors + element % vectors];
}
