//! The `Range` header of a request (RFC 9110, section 14).

use std::ops::Range;

/// What a request wants of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it: no range, or one that is to be ignored.
    Whole,
    /// These bytes; not empty, inside the file.
    Part(Range<u64>),
    /// Bytes that the file does not have.
    Nothing,
}

/// Reads `bytes=FIRST-LAST`, `bytes=FIRST-` or `bytes=-COUNT` for a file of `size` bytes. As the standard allows,
/// what makes no sense and several ranges at once are ignored, so that the whole file is sent.
pub(super) fn wanted(header: Option<&str>, size: u64) -> Wanted {
    let spec = header.and_then(|text| text.strip_prefix("bytes=")).and_then(|spec| spec.trim().split_once('-'));
    let Some((first, last)) = spec else { return Wanted::Whole };
    let range = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(size),
        (Some(first), None) if last.is_empty() => first..size,
        (None, Some(count)) if first.is_empty() => size.saturating_sub(count)..size,
        _ => return Wanted::Whole,
    };
    if range.is_empty() { Wanted::Nothing } else { Wanted::Part(range) }
}

/// A number in decimal digits; the largest there is where it is larger than that.
fn number(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::{Wanted, wanted};

    #[test]
    fn ranges_are_cut_to_the_file() {
        for (header, expected) in [
            ("bytes=0-0", 0..1),
            ("bytes=5-9", 5..10),
            ("bytes=5-", 5..100),
            ("bytes=5-1000", 5..100),
            ("bytes=0-18446744073709551615", 0..100),
            ("bytes=1-99999999999999999999999999", 1..100),
            ("bytes=-10", 90..100),
            ("bytes=-1000", 0..100),
        ] {
            assert_eq!(wanted(Some(header), 100), Wanted::Part(expected), "{header}");
        }
    }

    #[test]
    fn bytes_that_are_not_there_cannot_be_had() {
        for header in ["bytes=100-", "bytes=100-200", "bytes=99999999999999999999999999-", "bytes=-0"] {
            assert_eq!(wanted(Some(header), 100), Wanted::Nothing, "{header}");
        }
        assert_eq!(wanted(Some("bytes=0-"), 0), Wanted::Nothing);
    }

    #[test]
    fn what_makes_no_sense_is_ignored() {
        for header in ["", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=9-5", "bytes=+1-2", "bytes=1-2,4-5", "lines=1-2", "bytes=1"] {
            assert_eq!(wanted(Some(header), 100), Wanted::Whole, "{header}");
        }
        assert_eq!(wanted(None, 100), Wanted::Whole);
    }
}
