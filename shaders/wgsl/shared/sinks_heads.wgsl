// Attention sinks: each query head has one more score, which takes its share of the softmax and has no value.

const SINKS: bool = true;

// The score of each query head.
@group(0) @binding(7) var<storage, read> sinks: array<f32>;

// The score of a head's sink, times log2(e) as all scores are.
fn sink(head: u32) -> f32 {
    return sinks[head] * 1.4426950408889634;
}
