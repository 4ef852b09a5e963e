//! Where model files are kept, under names that cannot leave that place.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::catalogue::Model;

/// The environment variable that moves the cache.
pub const CACHE_VARIABLE: &str = "PARHELION_CACHE";

/// Why there is no cache directory.
#[derive(Debug, thiserror::Error)]
#[error("this user has no cache directory: set {CACHE_VARIABLE} to a directory with room for model files")]
pub struct NoCacheDirectory;

/// A file name was not one plain path component.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` cannot be a file name in the model cache: letters, digits, `.`, `_` and `-` are allowed")]
pub struct UnsafeFileName(pub String);

/// The directory that model files are kept in.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The cache in `root`; model files lie in its `models` directory.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The user's cache: `PARHELION_CACHE` where it is set, the platform's cache directory elsewhere.
    ///
    /// # Errors
    /// Where the platform names no cache directory and the variable is unset.
    pub fn of_user() -> Result<Self, NoCacheDirectory> {
        let root = match std::env::var_os(CACHE_VARIABLE).filter(|value| !value.is_empty()) {
            Some(root) => PathBuf::from(root),
            None => directories::ProjectDirs::from("", "", "parhelion").ok_or(NoCacheDirectory)?.cache_dir().to_path_buf(),
        };
        Ok(Self { root })
    }

    /// The directory that model files lie in. It need not exist yet.
    pub fn models_dir(&self) -> PathBuf {
        self.root.join("models")
    }

    /// Where the finished file of `model` lies, fetched or not.
    ///
    /// # Errors
    /// Where the model's file name is not one plain path component.
    pub fn path_of(&self, model: &Model<'_>) -> Result<PathBuf, UnsafeFileName> {
        if !is_plain_file_name(model.file_name) {
            return Err(UnsafeFileName(model.file_name.to_owned()));
        }
        Ok(self.models_dir().join(model.file_name))
    }

    /// The finished file of `model`, if it is there with the size the catalogue names.
    ///
    /// A file gets its final name only after its SHA-256 was checked, so the size alone is looked at here.
    pub fn finished(&self, model: &Model<'_>) -> Option<PathBuf> {
        let path = self.path_of(model).ok()?;
        let metadata = path.metadata().ok()?;
        let complete = metadata.is_file() && model.bytes.is_none_or(|bytes| bytes == metadata.len());
        complete.then_some(path)
    }
}

/// Whether `name` is one path component that is harmless on every platform.
pub fn is_plain_file_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !name.is_empty() && name.len() <= 200 && name.chars().all(allowed) && !name.starts_with('.') && !name.ends_with('.')
}

/// A cache file name for what lies at `url`: 16 hexadecimal digits of the address's hash, then the readable end of it.
///
/// The hash keeps two addresses that end alike apart; query and fragment stay out of the readable part.
pub fn file_name_for_url(url: &str) -> String {
    let mut digest = hex(&Sha256::digest(url.as_bytes()));
    digest.truncate(16);
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let last = path.rsplit(['/', '\\']).next().unwrap_or_default();
    let readable: String = last.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')).take(120).collect();
    let readable = readable.trim_matches('.');
    if readable.is_empty() { format!("{digest}-model.gguf") } else { format!("{digest}-{readable}") }
}

/// `path` with `extension` added after whatever it ends in: `a.gguf` becomes `a.gguf.part`.
pub(crate) fn with_added_extension(path: &Path, extension: &str) -> PathBuf {
    let mut name = OsString::from(path.as_os_str());
    name.push(".");
    name.push(extension);
    PathBuf::from(name)
}

/// Lower-case hexadecimal of `bytes`.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_pass() {
        for good in ["a.gguf", "SmolLM2-135M-Instruct.Q4_1.gguf", "0"] {
            assert!(is_plain_file_name(good), "{good}");
        }
        for bad in ["", ".", "..", "../a", "a/b", "a\\b", "C:a", ".hidden", "a.", "a b", "a\0b", "a\n", "é", "nul:"] {
            assert!(!is_plain_file_name(bad), "{bad:?}");
        }
        assert!(!is_plain_file_name(&"a".repeat(201)));
    }

    #[test]
    fn every_model_of_the_catalogue_can_be_stored() {
        for model in crate::catalogue::MODELS {
            assert!(is_plain_file_name(model.file_name), "{}", model.file_name);
        }
    }

    #[test]
    fn names_for_addresses_stay_plain_and_apart() {
        let hostile = [
            "https://host/../../etc/passwd",
            "https://host/..",
            "https://host/%2e%2e%2fx",
            "https://host/",
            "https://host",
            "https://host/a\\..\\b.gguf",
            "https://host/con",
            "https://host/é.gguf?token=secret#x",
            "https://host/.hidden",
        ];
        let names: Vec<String> = hostile.iter().map(|url| file_name_for_url(url)).collect();
        for name in &names {
            assert!(is_plain_file_name(name), "{name}");
            assert!(!name.contains("secret"), "{name}");
        }
        assert_ne!(file_name_for_url("https://a/m.gguf"), file_name_for_url("https://b/m.gguf"));
        assert!(file_name_for_url("https://a/m.gguf").ends_with("-m.gguf"));
    }

    #[test]
    fn hexadecimal_is_lower_case_and_padded() {
        assert_eq!(hex(&[0, 0x0f, 0xa0, 0xff]), "000fa0ff");
    }

    #[test]
    fn an_unsafe_catalogue_name_has_no_path() {
        let model = Model { id: "x", title: "", license: "", file_name: "../x.gguf", bytes: None, sha256: None, sources: &[] };
        assert!(Cache::at("/tmp/none").path_of(&model).is_err());
        assert!(Cache::at("/tmp/none").finished(&model).is_none());
    }
}
