// Sum and maximum over each group of LANES consecutive invocations of a workgroup, by subgroup operations.
// The kernel declares the overrides WG (invocations of the workgroup) and LANES, which divides WG and is a multiple of
// every subgroup size of the device or WG itself. Subgroups hold consecutive invocations. A group of more than one
// subgroup is finished through workgroup memory.
// The functions hold barriers: call them from uniform control flow.
#needs subgroups

// The smallest subgroup that the device may run.
override SUBGROUP_MIN: u32 = 1u;

// One value for every SUBGROUP_MIN invocations.
var<workgroup> scratch: array<f32, WG>;
// For four sums at once: it is used once in a kernel.
var<workgroup> scratch4: array<vec4<f32>, WG>;

// The sum of `v` over the group of invocation `index`, in each of its lanes.
fn group_add(v: f32, index: u32) -> f32 {
    let sum = subgroupAdd(v);
    if SUBGROUP_MIN >= LANES {
        return sum;
    }
    let first = subgroupBroadcastFirst(index) == index;
    if index % SUBGROUP_MIN == 0u {
        scratch[index / SUBGROUP_MIN] = select(0.0, sum, first);
    }
    workgroupBarrier();
    var total = 0.0;
    let begin = (index - index % LANES) / SUBGROUP_MIN;
    for (var i = 0u; i < LANES / SUBGROUP_MIN; i++) {
        total += scratch[begin + i];
    }
    workgroupBarrier();
    return total;
}

// The four sums of `v` over the group of invocation `index`, in each of its lanes.
fn group_add4(v: vec4<f32>, index: u32) -> vec4<f32> {
    let sum = subgroupAdd(v);
    if SUBGROUP_MIN >= LANES {
        return sum;
    }
    let first = subgroupBroadcastFirst(index) == index;
    if index % SUBGROUP_MIN == 0u {
        scratch4[index / SUBGROUP_MIN] = select(vec4<f32>(), sum, first);
    }
    workgroupBarrier();
    var total = vec4<f32>();
    let begin = (index - index % LANES) / SUBGROUP_MIN;
    for (var i = 0u; i < LANES / SUBGROUP_MIN; i++) {
        total += scratch4[begin + i];
    }
    return total;
}

// The maximum of `v` over the group of invocation `index`, in each of its lanes.
fn group_max(v: f32, index: u32) -> f32 {
    let largest = subgroupMax(v);
    if SUBGROUP_MIN >= LANES {
        return largest;
    }
    if index % SUBGROUP_MIN == 0u {
        scratch[index / SUBGROUP_MIN] = largest;
    }
    workgroupBarrier();
    var total = largest;
    let begin = (index - index % LANES) / SUBGROUP_MIN;
    for (var i = 0u; i < LANES / SUBGROUP_MIN; i++) {
        total = max(total, scratch[begin + i]);
    }
    workgroupBarrier();
    return total;
}
