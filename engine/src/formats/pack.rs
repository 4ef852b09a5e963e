//! How small integers share bytes in the engine's planes (`shaders/wgsl/shared/codes.wgsl`), there and back.

use std::array;

use super::{BLOCK, Block};

/// The small integers of a block.
pub(crate) type Codes = [u8; BLOCK];

/// A byte of 16 holds value j in its low nibble and value j + 16 in its high one.
#[inline(always)]
pub(super) fn from_nibbles(bytes: &[u8; 16], value: impl Fn(u8) -> f32) -> Block {
    let mut out = [0.0; BLOCK];
    for (j, &byte) in bytes.iter().enumerate() {
        out[j] = value(byte & 15);
        out[j + 16] = value(byte >> 4);
    }
    out
}

/// The codes of [`from_nibbles`], for formats that keep further bits elsewhere.
#[inline(always)]
pub(crate) fn nibbles(bytes: &[u8; 16]) -> Codes {
    let mut out = [0; BLOCK];
    for (j, &byte) in bytes.iter().enumerate() {
        out[j] = byte & 15;
        out[j + 16] = byte >> 4;
    }
    out
}

/// Adds two bits to each code at `shift`: bits 2k and 2k + 1 of byte b of word w belong to code 16 w + 4 k + b.
#[inline(always)]
pub(super) fn add_pairs(codes: &mut Codes, bytes: &[u8; 8], shift: u32) {
    for (i, code) in codes.iter_mut().enumerate() {
        *code |= (bytes[i / 16 * 4 + i % 4] >> (i % 16 / 4 * 2) & 3) << shift;
    }
}

/// Adds a bit to each code at `shift`: bit v of byte b belongs to code 4 v + b.
#[inline(always)]
pub(crate) fn add_bits(codes: &mut Codes, bytes: &[u8; 4], shift: u32) {
    for (i, code) in codes.iter_mut().enumerate() {
        *code |= (bytes[i % 4] >> (i / 4) & 1) << shift;
    }
}

/// The low four bits of the codes that `code` gives, as [`nibbles`] reads them.
#[inline(always)]
pub(crate) fn to_nibbles(code: impl Fn(usize) -> u8) -> [u8; 16] {
    array::from_fn(|j| code(j) & 15 | code(j + 16) << 4)
}

/// The low two bits of the codes that `code` gives, as [`add_pairs`] reads them.
#[inline(always)]
pub(super) fn to_pairs(code: impl Fn(usize) -> u8) -> [u8; 8] {
    array::from_fn(|i| (0..4).map(|k| (code(i / 4 * 16 + 4 * k + i % 4) & 3) << (2 * k)).sum())
}

/// The low bit of the codes that `code` gives, as [`add_bits`] reads them.
#[inline(always)]
pub(crate) fn to_bits(code: impl Fn(usize) -> u8) -> [u8; 4] {
    array::from_fn(|b| (0..8).map(|v| (code(4 * v + b) & 1) << v).sum())
}

/// `N` bytes of a published block from byte `at` on.
#[inline(always)]
pub(super) fn field<const N: usize>(block: &[u8], at: usize) -> &[u8; N] {
    block.get(at..).and_then(|rest| rest.first_chunk()).unwrap_or(&[0; N])
}
