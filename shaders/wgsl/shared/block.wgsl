// 32 consecutive values of a row in registers: the unit that weights are stored and multiplied in.

struct Block {
    v0: vec4<f32>,
    v1: vec4<f32>,
    v2: vec4<f32>,
    v3: vec4<f32>,
    v4: vec4<f32>,
    v5: vec4<f32>,
    v6: vec4<f32>,
    v7: vec4<f32>,
}

// A quarter of a block: vectors p and p + 4 of it.
struct Pair {
    low: vec4<f32>,
    high: vec4<f32>,
}

// The dot products of the halves of two blocks.
fn half_dots(a: Block, b: Block) -> vec2<f32> {
    let low = dot(a.v0, b.v0) + dot(a.v1, b.v1) + dot(a.v2, b.v2) + dot(a.v3, b.v3);
    let high = dot(a.v4, b.v4) + dot(a.v5, b.v5) + dot(a.v6, b.v6) + dot(a.v7, b.v7);
    return vec2<f32>(low, high);
}

// The dot product of two blocks. The two halves are summed apart, so that neither chain of additions is long.
fn block_dot(a: Block, b: Block) -> f32 {
    let halves = half_dots(a, b);
    return halves.x + halves.y;
}

// The sums of the halves of a block.
fn half_sums(a: Block) -> vec2<f32> {
    let ones = vec4<f32>(1.0);
    return vec2<f32>(dot((a.v0 + a.v1) + (a.v2 + a.v3), ones), dot((a.v4 + a.v5) + (a.v6 + a.v7), ones));
}

// The sum of a block's values.
fn block_sum(a: Block) -> f32 {
    let sums = (a.v0 + a.v1) + (a.v2 + a.v3) + ((a.v4 + a.v5) + (a.v6 + a.v7));
    return dot(sums, vec4<f32>(1.0));
}

// a * factor + offset, value by value.
fn block_affine(a: Block, factor: f32, offset: f32) -> Block {
    return Block(
        a.v0 * factor + offset,
        a.v1 * factor + offset,
        a.v2 * factor + offset,
        a.v3 * factor + offset,
        a.v4 * factor + offset,
        a.v5 * factor + offset,
        a.v6 * factor + offset,
        a.v7 * factor + offset,
    );
}

// a * factor + offset, value by value, each half with its own.
fn block_affine_halves(a: Block, factor: vec2<f32>, offset: vec2<f32>) -> Block {
    return Block(
        a.v0 * factor.x + offset.x,
        a.v1 * factor.x + offset.x,
        a.v2 * factor.x + offset.x,
        a.v3 * factor.x + offset.x,
        a.v4 * factor.y + offset.y,
        a.v5 * factor.y + offset.y,
        a.v6 * factor.y + offset.y,
        a.v7 * factor.y + offset.y,
    );
}
