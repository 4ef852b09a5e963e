// f32 arithmetic in integers, rounded to nearest with ties to even as IEEE 754 says, subnormals included. GPUs may divide a few
// units off, fuse products into sums, and take subnormals for zero; where a quantised value hangs on the last bit, they must not.

// A number of no sign: mantissa * 2^exponent.
struct Float {
    mantissa: u32,
    exponent: i32,
}

// The magnitude of an f32.
fn magnitude(bits: u32) -> Float {
    let exponent = (bits >> 23u) & 0xffu;
    let fraction = bits & 0x7fffffu;
    if exponent == 0u {
        return Float(fraction, -149);
    }
    return Float(fraction | 0x800000u, i32(exponent) - 150);
}

// The same number with a mantissa of 24 bits; zero stays zero.
fn normalised(a: Float) -> Float {
    if a.mantissa == 0u {
        return a;
    }
    let shift = 23 - i32(firstLeadingBit(a.mantissa));
    if shift < 0 {
        return Float(a.mantissa >> u32(-shift), a.exponent - shift);
    }
    return Float(a.mantissa << u32(shift), a.exponent - shift);
}

// a / divisor for a of `magnitude` and a divisor up to 128.
fn divide(a: Float, divisor: u32) -> Float {
    // A quotient has 24 bits, or as many as end at 2^-149.
    var shift = min(firstLeadingBit(2u * divisor - 1u), u32(a.exponent + 149));
    if shift > 0u && (a.mantissa << shift) / divisor >= 0x1000000u {
        shift -= 1u;
    }
    let dividend = a.mantissa << shift;
    let quotient = dividend / divisor;
    let rest = 2u * (dividend - quotient * divisor);
    let up = rest > divisor || (rest == divisor && (quotient & 1u) == 1u);
    return Float(quotient + u32(up), a.exponent - i32(shift));
}

// 1 / a, normalised; zero for zero and where f32 has infinity.
fn reciprocal(a: Float) -> Float {
    let d = normalised(a);
    if d.mantissa == 0u {
        return d;
    }
    // 2^47 / mantissa by digits of 8 bits. Its remainder is never a half.
    var quotient = 0u;
    var rest = 0x800000u;
    for (var digit = 0u; digit < 3u; digit++) {
        let dividend = rest << 8u;
        quotient = (quotient << 8u) + dividend / d.mantissa;
        rest = dividend % d.mantissa;
    }
    quotient += u32(2u * rest > d.mantissa);
    let result = normalised(Float(quotient, -47 - d.exponent));
    if result.exponent > 104 {
        return Float(0u, 0);
    }
    return result;
}

// a * b for normalised a and b, to 24 bits, with no regard to the ends of f32's range.
fn product(a: Float, b: Float) -> Float {
    let low = (a.mantissa & 0xfffu) * (b.mantissa & 0xfffu);
    let middle = (a.mantissa >> 12u) * (b.mantissa & 0xfffu) + (a.mantissa & 0xfffu) * (b.mantissa >> 12u) + (low >> 12u);
    let high = (a.mantissa >> 12u) * (b.mantissa >> 12u) + (middle >> 12u);
    let rest = ((middle & 0xfffu) << 12u) | (low & 0xfffu);
    if high >= 0x800000u {
        let up = rest > 0x800000u || (rest == 0x800000u && (high & 1u) == 1u);
        return Float(high + u32(up), a.exponent + b.exponent + 24);
    }
    let mantissa = (high << 1u) | (rest >> 23u);
    let below = rest & 0x7fffffu;
    let up = below > 0x400000u || (below == 0x400000u && (mantissa & 1u) == 1u);
    return Float(mantissa + u32(up), a.exponent + b.exponent + 23);
}
