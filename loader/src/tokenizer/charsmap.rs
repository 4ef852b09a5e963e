//! SentencePiece's normalisation table: a trie of what to replace, and the replacements.
//!
//! The format (`normalizer_spec.precompiled_charsmap`): a u32 count of bytes, so many bytes of a double-array trie in
//! u32 units (Darts), then the replacements, each ended by a zero byte. A trie's value is where a replacement begins.

use unicode_segmentation::UnicodeSegmentation;

use super::normalize::check_length;

/// The longest grapheme that is looked up whole, in bytes: the published tokenizers' rule.
const LONGEST_GRAPHEME: usize = 5;

/// A table that is read as it is stored.
pub(super) struct Charsmap {
    trie: Vec<u32>,
    replacements: String,
}

impl Charsmap {
    /// # Errors
    /// Says what is wrong with the bytes.
    pub(super) fn new(bytes: &[u8]) -> Result<Self, String> {
        let (head, rest) = bytes.split_first_chunk::<4>().ok_or("it has under 4 bytes")?;
        let size = u32::from_le_bytes(*head) as usize;
        let units = rest.get(..size).filter(|units| units.len() % 4 == 0 && !units.is_empty());
        let units = units.ok_or_else(|| format!("its trie of {size} bytes is not within its {} bytes", bytes.len()))?;
        let replacements = String::from_utf8(rest[size..].to_vec()).map_err(|error| format!("its replacements: {error}"))?;
        let trie = units.chunks_exact(4).map(|unit| u32::from_le_bytes([unit[0], unit[1], unit[2], unit[3]])).collect();
        Ok(Self { trie, replacements })
    }

    /// `text` with all that the table has replaced.
    ///
    /// # Errors
    /// Says that this is more than `most` bytes.
    pub(super) fn normalize(&self, text: &str, most: usize) -> Result<String, String> {
        let mut normalized = String::with_capacity(text.len());
        for grapheme in text.graphemes(true) {
            check_length(text, normalized.len(), most)?;
            let whole = if grapheme.len() <= LONGEST_GRAPHEME { self.replacement(grapheme) } else { None };
            if let Some(replacement) = whole {
                normalized.push_str(replacement);
                continue;
            }
            for character in grapheme.chars() {
                match self.replacement(character.encode_utf8(&mut [0; 4])) {
                    Some(replacement) => normalized.push_str(replacement),
                    None => normalized.push(character),
                }
                check_length(text, normalized.len(), most)?;
            }
        }
        Ok(normalized)
    }

    /// What the shortest entry that `text` begins with becomes.
    fn replacement(&self, text: &str) -> Option<&str> {
        let unit = |at: usize| self.trie.get(at).copied();
        let offset = |unit: u32| ((unit >> 10) << ((unit & (1 << 9)) >> 6)) as usize;
        let label = |unit: u32| unit & ((1 << 31) | 0xFF);
        let mut at = offset(unit(0)?);
        for byte in text.bytes().take_while(|&byte| byte != 0) {
            at ^= usize::from(byte);
            let here = unit(at)?;
            if label(here) != u32::from(byte) {
                return None;
            }
            at ^= offset(here);
            if here & (1 << 8) != 0 {
                let start = (unit(at)? & ((1 << 31) - 1)) as usize;
                let rest = self.replacements.get(start..)?;
                return Some(rest.split('\0').next().unwrap_or_default());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::Charsmap;

    #[test]
    fn tables_that_lie_are_refused_or_harmless() {
        for bytes in [&[][..], &[1, 0, 0], &[8, 0, 0, 0, 1, 2, 3, 4], &[0; 4], &[3, 0, 0, 0, 1, 2, 3], &[4, 0, 0, 0, 0, 0, 0, 0, 0xFF]] {
            assert!(Charsmap::new(bytes).is_err(), "{bytes:?}");
        }
        // Every unit points anywhere.
        let mut state = 1_u32;
        for _ in 0..200 {
            let mut bytes = 64_u32.to_le_bytes().to_vec();
            for _ in 0..16 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                bytes.extend(state.to_le_bytes());
            }
            bytes.extend("é\0".bytes());
            let table = Charsmap::new(&bytes).unwrap();
            for text in ["a", "éa", "ﬁ", "\0", "\u{10FFFF}"] {
                table.normalize(text, 1 << 16).unwrap();
            }
        }
    }
}
