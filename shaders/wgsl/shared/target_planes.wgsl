// The planes that quantised rows are written to, laid out as those of `weight_*.wgsl`.

// Quantised values: [rows, V, blocks].
@group(0) @binding(2) var<storage, read_write> quants: array<vec4<u32>>;
// Scales: whole words a row.
@group(0) @binding(3) var<storage, read_write> scales: array<u32>;
