// Sum and maximum over each group of LANES consecutive invocations of a workgroup, by a tree in workgroup memory.
// The kernel declares the overrides WG (invocations of the workgroup) and LANES (a power of two that divides WG).
// The functions hold barriers: call them from uniform control flow.

var<workgroup> scratch: array<f32, WG>;
// For four sums at once: it is used once in a kernel.
var<workgroup> scratch4: array<vec4<f32>, WG>;

// The sum of `v` over the group of invocation `index`, in each of its lanes.
fn group_add(v: f32, index: u32) -> f32 {
    scratch[index] = v;
    for (var reach = LANES / 2u; reach > 0u; reach /= 2u) {
        workgroupBarrier();
        if index % LANES < reach {
            scratch[index] += scratch[index + reach];
        }
    }
    return take_result(index);
}

// The four sums of `v` over the group of invocation `index`, each as `group_add` adds up, in each of its lanes.
fn group_add4(v: vec4<f32>, index: u32) -> vec4<f32> {
    scratch4[index] = v;
    for (var reach = LANES / 2u; reach > 0u; reach /= 2u) {
        workgroupBarrier();
        if index % LANES < reach {
            scratch4[index] += scratch4[index + reach];
        }
    }
    workgroupBarrier();
    return scratch4[index - index % LANES];
}

// The maximum of `v` over the group of invocation `index`, in each of its lanes.
fn group_max(v: f32, index: u32) -> f32 {
    scratch[index] = v;
    for (var reach = LANES / 2u; reach > 0u; reach /= 2u) {
        workgroupBarrier();
        if index % LANES < reach {
            scratch[index] = max(scratch[index], scratch[index + reach]);
        }
    }
    return take_result(index);
}

// The value at the head of the group; leaves `scratch` free for the next reduction.
fn take_result(index: u32) -> f32 {
    workgroupBarrier();
    let result = scratch[index - index % LANES];
    workgroupBarrier();
    return result;
}
