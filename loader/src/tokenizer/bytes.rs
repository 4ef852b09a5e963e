//! GPT-2's spelling of bytes as characters, in which byte-level vocabularies are written.
//!
//! Printable bytes of Latin-1 stand for themselves; the other 68 become U+0100 onwards, in order. So every byte string
//! is a string of visible characters, and a space is `Ġ`.

/// The character that spells `byte`.
pub(super) fn to_char(byte: u8) -> char {
    TO_CHAR[byte as usize]
}

/// The byte that `character` spells, `None` for characters outside the spelling.
pub(super) fn from_char(character: char) -> Option<u8> {
    FROM_CHAR.get(character as usize).copied().flatten()
}

const fn is_printable(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF)
}

const TO_CHAR: [char; 256] = {
    let mut table = ['\0'; 256];
    let mut shifted = 0;
    let mut byte = 0;
    while byte < 256 {
        if is_printable(byte as u8) {
            table[byte] = byte as u8 as char;
        } else {
            // U+0100 and the 67 after it are all characters.
            if let Some(character) = char::from_u32(0x100 + shifted) {
                table[byte] = character;
            }
            shifted += 1;
        }
        byte += 1;
    }
    table
};

const FROM_CHAR: [Option<u8>; 0x144] = {
    let mut table = [None; 0x144];
    let mut byte = 0;
    while byte < 256 {
        table[TO_CHAR[byte] as usize] = Some(byte as u8);
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_round_trips_and_the_known_spellings_hold() {
        assert!((0..=255).all(|byte| from_char(to_char(byte)) == Some(byte)));
        assert_eq!([b' ', b'\n', b'\t', 0, 0x7F, 0xAD].map(to_char), ['Ġ', 'Ċ', 'ĉ', 'Ā', 'ġ', 'Ń']);
        assert_eq!([' ', '\u{144}', '<'].map(from_char), [None, None, Some(b'<')]);
    }
}
