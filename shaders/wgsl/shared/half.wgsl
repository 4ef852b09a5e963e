// Rounding to f16 in integers: `pack2x16float` may round either way.

// An f16 of no sign: its bits, and its value as mantissa * 2^exponent, without an end where f16 has infinity.
struct Half {
    bits: u32,
    mantissa: u32,
    exponent: i32,
}

// n * 2^exponent, n up to 2^24, to the nearest f16, ties to even mantissas; infinity past the largest.
fn to_half(n: u32, exponent: i32) -> Half {
    if n == 0u {
        return Half(0u, 0u, 0);
    }
    let top = i32(firstLeadingBit(n)) + exponent;
    let lowest = max(top - 10, -24);
    let shift = lowest - exponent;
    var mantissa = 0u;
    if shift <= 0 {
        mantissa = n << u32(-shift);
    } else if shift < 32 {
        let half = 1u << u32(shift - 1);
        let rest = n & (2u * half - 1u);
        mantissa = n >> u32(shift);
        mantissa += u32(rest > half || (rest == half && (mantissa & 1u) == 1u));
    }
    // A carry out of the mantissa raises the exponent, as it should.
    let bits = min(mantissa + (u32(lowest + 24) << 10u), 0x7c00u);
    return Half(bits, mantissa, lowest);
}
