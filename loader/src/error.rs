//! What can go wrong between a file's bytes and a checkpoint, tokenizer or prompt.

/// Every failure of this crate. Each message names the file and the place in it, what was expected and what was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// There is no such file.
    #[error("{file}: no such file; check the path")]
    NotFound {
        /// The path as given.
        file: String,
    },
    /// The path is a directory or another thing without bytes of its own.
    #[error("{file}: not a regular file; give the path of one model file, such as model.gguf")]
    NotAFile {
        /// The path as given.
        file: String,
    },
    /// A path that leads out of its repository, or that systems read differently.
    #[error("{file}: the path \"{}\" is not one inside the repository; use another copy of the model", path.escape_debug())]
    BadPath {
        /// The repository's name.
        file: String,
        /// The path, at most its first 100 characters.
        path: String,
    },
    /// A file of several that belong together is absent.
    #[error("{file}: {path} is missing: {why}; download it too")]
    MissingFile {
        /// The repository's name.
        file: String,
        /// The path within it.
        path: String,
        /// What asks for the file.
        why: String,
    },
    /// The file has no bytes.
    #[error("{file}: the file is empty; download it again")]
    Empty {
        /// The file's name.
        file: String,
    },
    /// The operating system, or whatever stands behind a [`crate::Source`], failed.
    #[error("{file}: reading {len} bytes at offset {offset}: {reason}")]
    Read {
        /// The file's name.
        file: String,
        /// Where the read began, in bytes.
        offset: u64,
        /// How many bytes were asked for.
        len: u64,
        /// What the reader said.
        reason: String,
    },
    /// The first bytes are of no model format known here.
    #[error("{file}: not a model file: it begins with {found}; expected a GGUF file (\"GGUF\")")]
    UnknownFormat {
        /// The file's name.
        file: String,
        /// The first bytes, printable ones as text.
        found: String,
    },
    /// A model format, or a variant of one, that is recognised but not read.
    #[error("{file}: {found} is not supported; {advice}")]
    Unsupported {
        /// The file's name.
        file: String,
        /// What was found.
        found: String,
        /// What to do instead.
        advice: String,
    },
    /// The file contradicts its format.
    #[error("{file}: {place}: expected {expected}, got {got}; the file is damaged or incomplete, download it again")]
    Malformed {
        /// The file's name.
        file: String,
        /// Section, entry and byte offset.
        place: String,
        /// What the format asks for there.
        expected: String,
        /// What is there.
        got: String,
    },
    /// A metadata entry that the model needs is absent.
    #[error("{file}: metadata has no `{key}`; the file was converted incompletely, use another conversion of the model")]
    MissingKey {
        /// The file's name.
        file: String,
        /// The entry's full name.
        key: String,
    },
    /// A metadata entry has a value that cannot be used.
    #[error("{file}: metadata `{key}`: expected {expected}, got {got}")]
    BadValue {
        /// The file's name.
        file: String,
        /// The entry's full name.
        key: String,
        /// What the entry should hold.
        expected: String,
        /// What it holds.
        got: String,
    },
    /// A tensor that the model needs is absent.
    #[error("{file}: no tensor `{name}`{}", closest_text(.closest))]
    MissingTensor {
        /// The file's name.
        file: String,
        /// The tensor asked for.
        name: String,
        /// Names in the file that are spelled most like it.
        closest: Vec<String>,
    },
    /// Text could not be turned into tokens.
    #[error("{file}: tokenizer: {reason}")]
    Tokenizer {
        /// The file's name.
        file: String,
        /// What failed.
        reason: String,
    },
    /// The chat template did not compile or failed while rendering.
    #[error("{file}: chat template: {reason}")]
    Template {
        /// The file's name.
        file: String,
        /// What failed, with the line in the template.
        reason: String,
    },
}

fn closest_text(closest: &[String]) -> String {
    if closest.is_empty() {
        return "; the file has no tensors".to_owned();
    }
    format!("; the closest names are `{}`", closest.join("`, `"))
}
