//! Models at plain addresses.

use std::path::PathBuf;

use super::address::display_url;
use super::error::FetchError;
use super::job::Wanted;
use super::set::{Item, SetFailure};
use super::{Fetcher, lock_of};
use crate::cache::{UnsafeFileName, file_name_for_url, is_plain_file_name, with_added_extension};
use crate::catalogue::{Model, Source};
use crate::hub::split_part;

/// More parts than any split file has.
const MAX_PARTS: u32 = 1000;

impl Fetcher<'_> {
    /// The file at an `http` or `https` address, from the cache or from there; where its name says that it is one of
    /// several parts, all of them.
    ///
    /// # Errors
    /// As [`Fetcher::model`].
    pub fn url(&self, url: &str) -> Result<PathBuf, FetchError> {
        if let Some(parts) = parts_at(url) {
            return self.parts(url, &parts);
        }
        let file_name = file_name_for_url(url);
        self.model(&Model {
            id: url,
            title: "",
            license: "",
            file_name: &file_name,
            bytes: None,
            sha256: None,
            sources: &[Source::Url(url)],
        })
    }

    /// Fetches the parts of a split file into a directory of their own, under their own names.
    fn parts(&self, url: &str, parts: &[(String, String)]) -> Result<PathBuf, FetchError> {
        let [(first, first_url), ..] = parts else { return Err(UnsafeFileName(display_url(url)).into()) };
        let directory = with_added_extension(&self.cache.models_dir().join(file_name_for_url(first_url)), "parts");
        let item = |(name, url): &(String, String)| {
            let path = directory.join(name);
            Item { lock: lock_of(&path), wanted: Wanted::in_own_cache(name, path, None, None), url: url.clone() }
        };
        let missing: Vec<Item> = parts.iter().map(item).filter(|item| !item.wanted.path.is_file()).collect();
        if !missing.is_empty() && self.settings.hub.offline {
            return Err(FetchError::Offline { file: display_url(url) });
        }
        self.set(&self.client(), &format!("fetching {first}"), &missing).map_err(|failure| match failure {
            SetFailure::Fatal(error) => error,
            SetFailure::File { name, source } => FetchError::NoSource { file: first.clone(), attempts: vec![(name, source)] },
        })?;
        Ok(directory.join(first))
    }
}

/// Names and addresses of all parts of the split file of which `url` is one; none where it is not of that kind.
fn parts_at(url: &str) -> Option<Vec<(String, String)>> {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let (address, query) = url.split_at(end);
    let (directory, name) = address.rsplit_once('/')?;
    let (base, _, of) = split_part(name.strip_suffix(".gguf")?)?;
    if of > MAX_PARTS || !is_plain_file_name(name) {
        return None;
    }
    let part = |number| {
        let name = format!("{base}-{number:05}-of-{of:05}.gguf");
        (name.clone(), format!("{directory}/{name}{query}"))
    };
    Some((1..=of).map(part).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_by_their_names() {
        let parts = parts_at("https://h/d/m-00002-of-00003.gguf?x=1").unwrap();
        assert_eq!(parts.len(), 3);
        assert_eq!(parts[0], ("m-00001-of-00003.gguf".to_owned(), "https://h/d/m-00001-of-00003.gguf?x=1".to_owned()));
        for url in ["https://h/m.gguf", "https://h/m-00004-of-00003.gguf", "https://h/a%2fb-00001-of-00002.gguf", "m-00001-of-00002.gguf"] {
            assert_eq!(parts_at(url), None, "{url}");
        }
        assert_eq!(parts_at("https://h/m-00001-of-99999.gguf"), None);
    }
}
