//! Building instructions that several formats share.

use libfuzzer_sys::arbitrary::{Result, Unstructured};

/// Numbers at which sums, products and conversions go wrong.
const EDGES: [u64; 20] = [
    0,
    1,
    2,
    31,
    32,
    33,
    255,
    256,
    (1 << 16) - 1,
    1 << 16,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
    1 << 32,
    1 << 61,
    1 << 62,
    (1 << 63) - 1,
    1 << 63,
    u64::MAX - 31,
    u64::MAX,
];

/// A number: mostly a small one, at times one at an edge, or any.
pub(crate) fn number(input: &mut Unstructured) -> Result<u64> {
    Ok(match input.int_in_range(0..=15_u8)? {
        0 => input.arbitrary()?,
        1..=3 => *input.choose(&EDGES)?,
        _ => u64::from(input.int_in_range(0..=64_u8)?),
    })
}

/// A few bytes.
pub(crate) fn bytes<'a>(input: &mut Unstructured<'a>) -> Result<&'a [u8]> {
    let len = input.int_in_range(0..=12_usize)?.min(input.len());
    input.bytes(len)
}

/// A short text.
pub(crate) fn text(input: &mut Unstructured) -> Result<String> {
    Ok(String::from_utf8_lossy(bytes(input)?).into_owned())
}

/// The text that bytes stand for: ASCII for itself, the others for a snippet.
pub(crate) fn expand(bytes: &[u8], snippets: &[&str]) -> String {
    let mut text = String::new();
    for &byte in bytes {
        match usize::from(byte).checked_sub(0x80) {
            Some(number) => text.push_str(snippets[number % snippets.len()]),
            None => text.push(char::from(byte)),
        }
    }
    text
}

/// Damage to finished bytes.
pub(crate) enum Damage {
    /// Another byte at a place, which counts modulo the length.
    Byte(u16, u8),
    /// A 64-bit number over what is there.
    Number(u16, u64),
    /// An end after so many bytes.
    Cut(u16),
}

impl Damage {
    pub(crate) fn read(input: &mut Unstructured) -> Result<Self> {
        let place = input.arbitrary()?;
        Ok(match input.int_in_range(0..=3_u8)? {
            0 => Self::Cut(place),
            1 => Self::Number(place, number(input)?),
            _ => Self::Byte(place, input.arbitrary()?),
        })
    }

    pub(crate) fn apply(&self, bytes: &mut Vec<u8>) {
        let len = bytes.len().max(1);
        match *self {
            Self::Byte(place, byte) => bytes.iter_mut().skip(usize::from(place) % len).take(1).for_each(|old| *old = byte),
            Self::Number(place, number) => {
                bytes.iter_mut().skip(usize::from(place) % len).zip(number.to_le_bytes()).for_each(|(old, new)| *old = new);
            }
            Self::Cut(place) => bytes.truncate(usize::from(place) % len),
        }
    }
}
