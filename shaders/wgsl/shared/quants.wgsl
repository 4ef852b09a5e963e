// The plane of a weight matrix that holds its quantised values: V vectors a block of 32 columns, vector v of block b of row n
// at (n * V + v) * blocks + b, so that neighbouring lanes, which take neighbouring blocks, read neighbouring vectors.
// V: F32 8, F16 and BF16 4, Q8_0 2, Q4_0 and Q4_1 1. Columns past the last are zero weights.

// Quantised values: [rows, V, blocks].
@group(0) @binding(2) var<storage, read> quants: array<vec4<u32>>;
