// Scales logits in place, and bends them so that none is over a cap: cap * tanh(scale * x / cap).
// Grid: an invocation four logits, linear over x and y.
// Needs: rows padded to a multiple of 4 elements; what the padding holds does not matter.
#import grid

struct Params {
    // Groups of four logits.
    fours: u32,
    // What logits are multiplied by.
    scale: f32,
    // The cap, over 0; read where CAPPED.
    cap: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<vec4<f32>>;

// Invocations of a workgroup.
override WG: u32 = 128u;
// Whether there is a cap.
override CAPPED: bool = false;

// tanh by an exponential that cannot overflow: good to a few units of 1, which is what a cap times it needs.
fn bent(v: vec4<f32>) -> vec4<f32> {
    let e = exp(-2.0 * abs(v));
    return sign(v) * (1.0 - e) / (1.0 + e);
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(id, groups) * WG + lane;
    if i >= params.fours {
        return;
    }
    let scaled = params.scale * x[i];
    if CAPPED {
        x[i] = params.cap * bent(scaled / params.cap);
    } else {
        x[i] = scaled;
    }
}
