// Random numbers without state: a hash of counters, equal on every device.

// Four 32-bit hashes of four counters, the last the best mixed (pcg4d; Jarzynski and Olano, Hash Functions for GPU Rendering, 2020).
fn hash4(counters: vec4<u32>) -> vec4<u32> {
    var v = counters * 1664525u + 1013904223u;
    v.x += v.y * v.w;
    v.y += v.z * v.x;
    v.z += v.x * v.y;
    v.w += v.y * v.z;
    v ^= v >> vec4(16u);
    v.x += v.y * v.w;
    v.y += v.z * v.x;
    v.z += v.x * v.y;
    v.w += v.y * v.z;
    return v;
}

// A sample of the standard Gumbel distribution from 32 random bits: -log(e) of an exponentially distributed e = -log(1 - u).
// Large samples come from small u, where f32 keeps its relative precision.
fn gumbel(bits: u32) -> f32 {
    let u = min((f32(bits) + 0.5) * 0x1p-32, 0x1.fffffep-1);
    let series = u * (1.0 + u * (0.5 + u * (1.0 / 3.0)));
    return -log(select(-log(1.0 - u), series, u < 0.004));
}
