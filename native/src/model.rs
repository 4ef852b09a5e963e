//! What a user means by a model: a name of the catalogue, an address, or a file.

use std::path::{Path, PathBuf};

use crate::catalogue::{self, DEFAULT_MODEL, Model};
use crate::fetch::{FetchError, Fetcher};

/// A model as a user names it.
#[derive(Debug, Clone)]
pub enum ModelName {
    /// An entry of the catalogue.
    Catalogue(&'static Model<'static>),
    /// An `http` or `https` address.
    Url(String),
    /// A file on this machine.
    File(PathBuf),
}

/// A name that means no model.
#[derive(Debug, thiserror::Error)]
pub enum NameError {
    /// Neither a file nor in the catalogue.
    #[error("no file and no catalogue model is called `{name}`; the catalogue has: {}", catalogue::known_ids())]
    Unknown {
        /// The name as given.
        name: String,
    },
    /// A path to nothing.
    #[error("there is no file {}", path.display())]
    NoSuchFile {
        /// The path as given.
        path: PathBuf,
    },
    /// A path to a directory.
    #[error("{} is a directory: name the .gguf file in it", path.display())]
    Directory {
        /// The path as given.
        path: PathBuf,
    },
}

impl ModelName {
    /// What `name` means; the default model where there is no name.
    ///
    /// # Errors
    /// Where it is no catalogue name, no address and no file.
    pub fn parse(name: Option<&str>) -> Result<Self, NameError> {
        let name = name.unwrap_or(DEFAULT_MODEL);
        if let Some(model) = catalogue::find(name) {
            return Ok(Self::Catalogue(model));
        }
        let scheme = name.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        if matches!(scheme.as_deref(), Some("http" | "https")) {
            return Ok(Self::Url(name.to_owned()));
        }
        let path = Path::new(name);
        if path.is_dir() {
            return Err(NameError::Directory { path: path.to_path_buf() });
        }
        if path.exists() {
            return Ok(Self::File(path.to_path_buf()));
        }
        let looks_like_a_path = name.contains(['/', '\\']) || path.extension().is_some();
        Err(match looks_like_a_path {
            true => NameError::NoSuchFile { path: path.to_path_buf() },
            false => NameError::Unknown { name: name.to_owned() },
        })
    }

    /// The file of the model, fetched where it is not on this machine yet.
    ///
    /// # Errors
    /// Where it cannot be fetched.
    pub fn fetch(&self, fetcher: &Fetcher<'_>) -> Result<PathBuf, FetchError> {
        match self {
            Self::Catalogue(model) => fetcher.model(model),
            Self::Url(url) => fetcher.url(url),
            Self::File(path) => Ok(path.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_addresses_and_files_are_told_apart() {
        assert!(matches!(ModelName::parse(None), Ok(ModelName::Catalogue(model)) if model.id == DEFAULT_MODEL));
        assert!(matches!(ModelName::parse(Some(DEFAULT_MODEL)), Ok(ModelName::Catalogue(_))));
        assert!(matches!(ModelName::parse(Some("HTTPS://host/m.gguf")), Ok(ModelName::Url(_))));
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("m.gguf");
        std::fs::write(&file, "x").unwrap();
        assert!(matches!(ModelName::parse(file.to_str()), Ok(ModelName::File(_))));
        assert!(matches!(ModelName::parse(directory.path().to_str()), Err(NameError::Directory { .. })));
        assert!(matches!(ModelName::parse(Some("missing.gguf")), Err(NameError::NoSuchFile { .. })));
        assert!(matches!(ModelName::parse(Some("no-such-model")), Err(NameError::Unknown { .. })));
        assert!(matches!(ModelName::parse(Some("")), Err(NameError::Unknown { .. })));
    }
}
