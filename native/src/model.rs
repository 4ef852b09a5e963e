//! What a user means by a model: a name of the catalogue or of the hub, an address, a file or a directory.

use std::path::{Path, PathBuf};

use crate::catalogue::{self, DEFAULT_MODEL, Model};
use crate::fetch::{FetchError, Fetcher, Freshness};
use crate::hub::{HubName, HubNameError};

/// A model as a user names it.
#[derive(Debug, Clone)]
pub enum ModelName {
    /// An entry of the catalogue.
    Catalogue(&'static Model<'static>),
    /// An `http` or `https` address.
    Url(String),
    /// A model of the hub.
    Hub(HubName),
    /// A file or a directory on this machine.
    Path(PathBuf),
}

/// A name that means no model.
#[derive(Debug, thiserror::Error)]
pub enum NameError {
    /// Neither a file nor in the catalogue.
    #[error(
        "no file and no catalogue model is called `{name}`; the catalogue has: {}; models of the hub are called owner/name",
        catalogue::known_ids()
    )]
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
    /// A name of the hub's kind that means nothing.
    #[error(transparent)]
    Hub(#[from] HubNameError),
}

impl ModelName {
    /// What `name` means; the default model where there is no name. What is on this machine goes before what is on the
    /// hub, which is at `hub_endpoint`.
    ///
    /// # Errors
    /// Where it is no catalogue name, no address, no file and no name of the hub's.
    pub fn parse(name: Option<&str>, hub_endpoint: &str) -> Result<Self, NameError> {
        let name = name.unwrap_or(DEFAULT_MODEL);
        if let Some(model) = catalogue::find(name) {
            return Ok(Self::Catalogue(model));
        }
        let scheme = name.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        if matches!(scheme.as_deref(), Some("http" | "https")) {
            return Ok(match HubName::of_url(name, hub_endpoint)? {
                Some(on_hub) => Self::Hub(on_hub),
                None => Self::Url(name.to_owned()),
            });
        }
        let path = Path::new(name);
        if path.exists() {
            return Ok(Self::Path(path.to_path_buf()));
        }
        if let Some(on_hub) = HubName::parse(name)? {
            return Ok(Self::Hub(on_hub));
        }
        let looks_like_a_path = name.contains(['/', '\\']) || path.extension().is_some();
        Err(match looks_like_a_path {
            true => NameError::NoSuchFile { path: path.to_path_buf() },
            false => NameError::Unknown { name: name.to_owned() },
        })
    }

    /// The file or directory of the model, fetched where it is not on this machine yet.
    ///
    /// # Errors
    /// Where it cannot be fetched.
    pub fn fetch(&self, fetcher: &Fetcher<'_>) -> Result<PathBuf, FetchError> {
        match self {
            Self::Catalogue(model) => fetcher.model(model),
            Self::Url(url) => fetcher.url(url),
            Self::Hub(name) => fetcher.repository(name, Freshness::AsCached),
            Self::Path(path) => Ok(path.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::HUB_ENDPOINT;

    fn parse(name: &str) -> Result<ModelName, NameError> {
        ModelName::parse(Some(name), HUB_ENDPOINT)
    }

    #[test]
    fn names_addresses_and_files_are_told_apart() {
        assert!(matches!(ModelName::parse(None, HUB_ENDPOINT), Ok(ModelName::Catalogue(model)) if model.id == DEFAULT_MODEL));
        assert!(matches!(parse(DEFAULT_MODEL), Ok(ModelName::Catalogue(_))));
        assert!(matches!(parse("HTTPS://host/m.gguf"), Ok(ModelName::Url(_))));
        assert!(matches!(parse("owner/name:Q4_0"), Ok(ModelName::Hub(_))));
        assert!(matches!(parse("https://huggingface.co/owner/name"), Ok(ModelName::Hub(_))));
        assert!(matches!(parse("https://huggingface.co/datasets/name"), Err(NameError::Hub(_))));
        assert!(matches!(parse("owner/name@.."), Err(NameError::Hub(_))));
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("m.gguf");
        std::fs::write(&file, "x").unwrap();
        assert!(matches!(parse(file.to_str().unwrap()), Ok(ModelName::Path(_))));
        assert!(matches!(parse(directory.path().to_str().unwrap()), Ok(ModelName::Path(_))));
        for path in ["missing.gguf", "no/such.gguf", "./owner/name", "a/b/c"] {
            assert!(matches!(parse(path), Err(NameError::NoSuchFile { .. })), "{path}");
        }
        assert!(matches!(parse("no-such-model"), Err(NameError::Unknown { .. })));
        assert!(matches!(parse(""), Err(NameError::Unknown { .. })));
    }
}
