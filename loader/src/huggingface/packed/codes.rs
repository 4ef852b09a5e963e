//! Codes of a few bits in words of 32: one after another from the lowest bits on, across words where bits do not divide 32.

use std::ops::Range;

/// The code at bit `at` of words.
pub(super) fn code(words: &[u32], at: u64, bits: u32) -> u8 {
    let (word, shift) = ((at / 32) as usize, (at % 32) as u32);
    let low = words[word] >> shift;
    let high = if shift + bits > 32 { words[word + 1] << (32 - shift) } else { 0 };
    ((low | high) & ((1 << bits) - 1)) as u8
}

/// All codes of words, which hold a whole number of them.
pub(super) fn unpack(words: &[u32], bits: u32) -> Vec<u8> {
    if 32_u32.is_multiple_of(bits) {
        let mask = (1 << bits) - 1;
        return words.iter().flat_map(|&word| (0..32 / bits).map(move |at| (word >> (at * bits) & mask) as u8)).collect();
    }
    // As many words as a code has bits hold 32 codes.
    let run = |run: &[u32]| (0..32).map(|at| code(run, at * u64::from(bits), bits)).collect::<Vec<_>>();
    words.chunks_exact(bits as usize).flat_map(run).collect()
}

/// The words that hold the codes of some rows, where neighbouring rows lie next to each other.
pub(super) fn word_range(rows: &Range<u64>, bits: u32) -> Range<u64> {
    rows.start * u64::from(bits) / 32..(rows.end * u64::from(bits)).div_ceil(32)
}

/// The codes of some rows: `words` has, for each line, the words of [`word_range`]. `place` is where a row's code comes, among those
/// of its word.
pub(super) fn bits_of_rows(words: &[u32], rows: &Range<u64>, place: impl Fn(u64) -> u64, bits: u32) -> Vec<u8> {
    let range = word_range(rows, bits);
    let width = (range.end - range.start) as usize;
    let at = |row: u64| place(row) * u64::from(bits) - range.start * 32;
    words.chunks_exact(width.max(1)).flat_map(|line| rows.clone().map(|row| code(line, at(row), bits)).collect::<Vec<_>>()).collect()
}
