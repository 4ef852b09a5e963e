//! The GGUF models of a repository, told by the names of their files.

use std::collections::BTreeMap;

use super::choose::{Choice, Target};
use super::error::ChoiceError;

/// One GGUF model: a file or a set of parts.
pub(super) struct Unit<'a> {
    /// Its parts in order, with their sizes.
    pub(super) parts: Vec<(&'a str, u64)>,
    /// Whether there are as many parts as their names say.
    pub(super) complete: bool,
    /// Its quantisation as its name tells it, in capitals.
    pub(super) label: Option<String>,
    /// Whether it is no language model by itself: a projector, an importance matrix.
    pub(super) auxiliary: bool,
}

impl Unit<'_> {
    /// Its first part.
    pub(super) fn path(&self) -> &str {
        self.parts.first().map_or("", |(path, _)| path)
    }

    /// Its files, where they are all there.
    pub(super) fn to_choice(&self) -> Result<Choice, ChoiceError> {
        if !self.complete {
            return Err(ChoiceError::MissingParts { file: self.path().to_owned() });
        }
        Ok(Choice {
            target: Target::File(self.path().to_owned()),
            files: self.parts.iter().map(|(path, _)| (*path).to_owned()).collect(),
            index: None,
        })
    }
}

/// The GGUF models among `files`.
pub(super) fn gguf_units<'a>(files: &[(&'a str, u64)]) -> Vec<Unit<'a>> {
    let mut sets: BTreeMap<(&str, u32), Vec<(&str, u64)>> = BTreeMap::new();
    for &(path, size) in files {
        let Some(stem) = strip_extension(path, ".gguf") else { continue };
        let (base, of) = split_part(stem).map_or((stem, 1), |(base, _, of)| (base, of));
        sets.entry((base, of)).or_default().push((path, size));
    }
    let unit = |((base, of), mut parts): ((&str, u32), Vec<(&'a str, u64)>)| {
        parts.sort_unstable();
        let numbers: Vec<_> = parts.iter().filter_map(|(path, _)| split_part(strip_extension(path, ".gguf")?)).map(|part| part.1).collect();
        let (directory, name) = base.rsplit_once('/').unwrap_or(("", base));
        let lower = name.to_ascii_lowercase();
        Unit {
            complete: numbers.is_empty() || numbers.iter().copied().eq(1..=of),
            label: quantisation(name).or_else(|| quantisation(directory.rsplit('/').next().unwrap_or_default())),
            auxiliary: lower.contains("mmproj") || lower.contains("imatrix"),
            parts,
        }
    };
    sets.into_iter().map(unit).collect()
}

/// `path` without `extension`, letter case ignored.
pub(super) fn strip_extension<'a>(path: &'a str, extension: &str) -> Option<&'a str> {
    let at = path.len().checked_sub(extension.len())?;
    (path.is_char_boundary(at) && path[at..].eq_ignore_ascii_case(extension)).then(|| &path[..at])
}

/// Base name, number and count of a part called `base-00001-of-00003`.
pub(crate) fn split_part(stem: &str) -> Option<(&str, u32, u32)> {
    let (rest, of) = stem.rsplit_once("-of-")?;
    let (base, number) = rest.rsplit_once('-')?;
    let read = |digits: &str| (digits.len() == 5 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok()).flatten();
    Some((base, read(number)?, read(of)?)).filter(|(_, number, of)| (1..=*of).contains(number))
}

/// The quantisation at the end of a file's stem: `Q4_K_M` of `model-Q4_K_M`, `UD-Q4_K_XL` of `model-UD-Q4_K_XL`.
fn quantisation(stem: &str) -> Option<String> {
    let upper = stem.to_ascii_uppercase();
    let start = upper.rfind(['-', '.']).map_or(0, |at| at + 1);
    let last = &upper[start..];
    let body = last.strip_prefix('I').or_else(|| last.strip_prefix('T')).unwrap_or(last);
    let quantised = body.strip_prefix('Q').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let plain = matches!(last, "F16" | "FP16" | "BF16" | "F32" | "FP32" | "F64" | "MXFP4" | "MXFP4_MOE" | "NVFP4");
    if !(quantised || plain) {
        return None;
    }
    let dynamic = upper[..start].ends_with("UD-") && matches!(upper.as_bytes().get(start.wrapping_sub(4)), None | Some(b'-' | b'.'));
    Some(if dynamic { format!("UD-{last}") } else { last.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantisations_are_read_from_names() {
        for (stem, label) in [
            ("Qwen3-8B-Q4_K_M", Some("Q4_K_M")),
            ("SmolLM2-135M-Instruct.Q4_1", Some("Q4_1")),
            ("x-UD-Q4_K_XL", Some("UD-Q4_K_XL")),
            ("UD-IQ1_S", Some("UD-IQ1_S")),
            ("x-LOUD-Q8_0", Some("Q8_0")),
            ("model-iq4_xs", Some("IQ4_XS")),
            ("x-TQ1_0", Some("TQ1_0")),
            ("llama.fp16", Some("FP16")),
            ("gpt-oss-20b-mxfp4", Some("MXFP4")),
            ("BF16", Some("BF16")),
            ("Qwen3-8B", None),
            ("tinyllama", None),
            ("", None),
        ] {
            assert_eq!(quantisation(stem).as_deref(), label, "{stem}");
        }
    }

    #[test]
    fn parts_are_numbered_in_five_digits() {
        assert_eq!(split_part("m-00002-of-00003"), Some(("m", 2, 3)));
        for stem in ["m-2-of-3", "m-00004-of-00003", "m-00000-of-00003", "00001-of-00002", "m-0000a-of-00002", "m"] {
            assert_eq!(split_part(stem), None, "{stem}");
        }
    }
}
