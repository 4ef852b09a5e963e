// Heads go into the cache as they are projected.

fn normalised(value: vec2<f32>, at: vec2<u32>, part: u32, index: u32) -> vec2<f32> {
    return value;
}
