// The plane of a weight matrix that holds its quantised values, rows of the same number of vectors. A row is V vectors a block of 32
// columns, vector v of block b at v * blocks + b, so that neighbouring lanes, which take neighbouring blocks, read neighbouring
// vectors; or half a vector a block; or one after the other. The formats' modules say which. Columns past the last are zero weights.

@group(0) @binding(2) var<storage, read> quants: array<vec4<u32>>;
