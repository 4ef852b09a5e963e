// Addition to the residual stream: x = x + scale * delta, in place.
// Grid: an invocation four elements, linear over x and y.
// Needs: rows padded to a multiple of 4 elements; what the padding holds does not matter.
#import grid

struct Params {
    // Groups of four elements.
    fours: u32,
    // What `delta` is multiplied by.
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
// The residual stream.
@group(0) @binding(1) var<storage, read_write> x: array<vec4<f32>>;
// As long as x.
@group(0) @binding(2) var<storage, read> delta: array<vec4<f32>>;

// Invocations of a workgroup.
override WG: u32 = 128u;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(id, groups) * WG + lane;
    if i < params.fours {
        x[i] = x[i] + params.scale * delta[i];
    }
}
