// A vector that is added to each row of a product's results.

// As long as a row of y holds results; anything where WITH_BIAS is false.
@group(0) @binding(5) var<storage, read> bias: array<f32>;

// Whether there is a bias.
override WITH_BIAS: bool = false;

// The result for column `column` of y.
fn biased(sum: f32, column: u32) -> f32 {
    if WITH_BIAS {
        return sum + bias[column];
    }
    return sum;
}
