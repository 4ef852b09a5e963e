//! Paths of a repository's files, before anything on the disk is called so.
//!
//! Whoever publishes a repository chooses these names. A path that passes stays below the directory it is joined to
//! and means the same file on every platform.

use std::collections::HashMap;

/// A repository's file has a name that could leave the cache, or that some platform reads as another name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the repository has a file called {path:?}, which {reason}: it is not stored")]
pub struct UnsafePath {
    /// The name as listed.
    pub path: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// The longest component that all file systems take, less what is added to it while it is fetched.
const MAX_COMPONENT: usize = 200;
/// The longest path: Windows takes 260 characters in all.
const MAX_PATH: usize = 400;

/// Names that Windows gives to devices, whatever extension follows.
const DEVICES: [&str; 24] = [
    "con", "prn", "aux", "nul", "conin$", "conout$", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8", "com9", "lpt1",
    "lpt2", "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9",
];

/// Accepts a relative, '/'-separated path that is harmless on every platform.
///
/// # Errors
/// [`UnsafePath`] with the reason.
pub fn check_path(path: &str) -> Result<(), UnsafePath> {
    let refuse = |reason| Err(UnsafePath { path: path.chars().take(120).collect(), reason });
    if path.is_empty() {
        return refuse("is empty");
    }
    if path.len() > MAX_PATH {
        return refuse("is too long");
    }
    match path.split('/').find_map(fault_of_component) {
        Some(reason) => refuse(reason),
        None => Ok(()),
    }
}

fn fault_of_component(component: &str) -> Option<&'static str> {
    if component.is_empty() {
        return Some("is absolute or has an empty component");
    }
    if component == "." || component == ".." {
        return Some("leaves its directory");
    }
    if component.len() > MAX_COMPONENT {
        return Some("is too long");
    }
    // Beyond ASCII, file systems differ in which spellings are the same name.
    if !component.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
        return Some("has characters beyond printable ASCII");
    }
    if component.contains(['\\', ':', '<', '>', '"', '|', '?', '*']) {
        return Some("has a character that separates paths or that Windows forbids");
    }
    if component.starts_with(' ') || component.ends_with([' ', '.']) {
        return Some("starts or ends with what Windows drops");
    }
    let stem = component.split('.').next().unwrap_or_default().trim_end().to_ascii_lowercase();
    DEVICES.contains(&stem.as_str()).then_some("is the name of a device on Windows")
}

/// Refuses paths that differ in nothing but letter case, or of which one would be the directory of another.
///
/// # Errors
/// [`UnsafePath`] with the later of the two.
pub fn refuse_clashes<'a>(paths: impl IntoIterator<Item = &'a str>) -> Result<(), UnsafePath> {
    let mut files = HashMap::new();
    let mut directories = HashMap::new();
    let clash = |path: &str, reason| UnsafePath { path: path.to_owned(), reason };
    for path in paths {
        let folded = path.to_ascii_lowercase();
        for (at, _) in folded.match_indices('/') {
            let spelling = directories.entry(folded[..at].to_owned()).or_insert_with(|| path[..at].to_owned());
            if *spelling != path[..at] {
                return Err(clash(path, "is in a directory that differs from another in letter case only"));
            }
        }
        if files.insert(folded, path).is_some_and(|other| other != path) {
            return Err(clash(path, "differs from another one in letter case only"));
        }
    }
    match files.iter().find(|(folded, _)| directories.contains_key(*folded)) {
        Some((_, path)) => Err(clash(path, "is also the name of a directory")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_names_pass() {
        for good in [
            "config.json",
            "1_Pooling/config.json",
            "model-00001-of-00003.safetensors",
            "UD-Q4_K_XL/Qwen3-235B-A22B-UD-Q4_K_XL-00001-of-00003.gguf",
            "Model Name (v2)+fix.gguf",
            ".gitattributes",
            "console.gguf",
            "a..b/c",
        ] {
            assert_eq!(check_path(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn clashes_are_found() {
        assert!(refuse_clashes(["a/b", "a/c", "d"]).is_ok());
        assert!(refuse_clashes(["a", "a"]).is_ok(), "the same file twice");
        for bad in [["A.gguf", "a.gguf"], ["a/x", "A/y"], ["a", "a/b"], ["a/b", "A"]] {
            assert!(refuse_clashes(bad).is_err(), "{bad:?}");
        }
    }
}
