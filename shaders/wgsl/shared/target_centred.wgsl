// Targets whose levels 0 .. 2 * HALF stand for -HALF .. HALF, the value of largest magnitude being -HALF. The format's module
// has HALF.
#import exact

const DIVISOR: u32 = HALF;

// Whether the scale is negative.
fn negative_scale(negative_maximum: bool) -> bool {
    return !negative_maximum;
}

// The integer part of p + HALF + 0.5, the sum rounded to f32, as far as there are levels.
fn level(p: Float, negative: bool) -> u32 {
    // p in units of 2^-25, which is at most half of the last bit of every sum from 1/2 on. What is below is cut off towards
    // minus infinity, which moves nothing past the middle of two f32; a sum in the middle goes up to an even whole number.
    let mantissa = select(i32(p.mantissa), -i32(p.mantissa), negative);
    let shift = p.exponent + 25;
    var units = 0;
    if shift >= 0 {
        units = mantissa << u32(shift);
    } else {
        units = mantissa >> u32(min(-shift, 31));
    }
    let sum = u32(units + i32((2u * HALF + 1u) << 24u));
    let half = 1u << (max(firstLeadingBit(sum), 24u) - 24u);
    return min((sum + half) >> 25u, 2u * HALF - 1u);
}
