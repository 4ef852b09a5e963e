// Rows of activations are padded to a multiple of 4 elements, and the padding holds anything, NaN included.

// The elements of `v`, which begins at column `col`, that lie before column `cols`; zero for the others.
fn keep_columns(v: vec4<f32>, col: u32, cols: u32) -> vec4<f32> {
    return select(vec4<f32>(), v, vec4<u32>(col) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(cols));
}
