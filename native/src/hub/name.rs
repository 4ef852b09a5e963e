//! What a repository of the hub is called: `owner/name`, `owner/name@revision`, `owner/name:choice`, or the address of
//! one of its pages.

use std::fmt;

use super::path::check_path;
use crate::catalogue::HUB_ENDPOINT;

/// `owner/name`, checked: it can be part of an address and of a directory's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RepositoryId(String);

impl RepositoryId {
    /// The repository called `text`, where that is `owner/name` by the hub's rules.
    pub fn new(text: &str) -> Option<Self> {
        let (owner, name) = text.split_once('/')?;
        let plain = |part: &str| {
            part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
                && !part.is_empty()
                && !part.starts_with(['-', '.'])
                && !part.ends_with(['-', '.'])
                && !part.contains("--")
                && !part.contains("..")
        };
        (text.len() <= 96 && plain(owner) && plain(name) && !name.ends_with(".git")).then(|| Self(text.to_owned()))
    }

    /// `owner/name`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RepositoryId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A model of the hub as a user names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubName {
    /// The repository.
    pub repository: RepositoryId,
    /// Branch, tag or commit, where one was named.
    pub revision: Option<String>,
    /// Which of several models in it: a file, a directory, or a quantisation such as `Q4_K_M`.
    pub choice: Option<String>,
}

/// A name that looks like one of the hub's, and is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HubNameError {
    /// The revision cannot be one.
    #[error("`{revision}` cannot be a revision: name a branch, a tag or a commit, as in owner/name@main")]
    Revision {
        /// The revision as given.
        revision: String,
    },
    /// The choice is empty.
    #[error("`{name}` ends in a colon: name a file or a quantisation after it, as in owner/name:Q4_K_M")]
    EmptyChoice {
        /// The name as given.
        name: String,
    },
    /// The address is on the hub, and leads to no model.
    #[error("{url} is not the address of a model repository: name it as owner/name")]
    Url {
        /// The address as given.
        url: String,
    },
}

impl HubName {
    /// The revision that is meant where none is named.
    pub const DEFAULT_REVISION: &'static str = "main";

    /// Reads `owner/name[@revision][:choice]`; `None` where it is not of that form.
    ///
    /// # Errors
    /// Where it is, and revision or choice cannot be meant.
    pub fn parse(text: &str) -> Result<Option<Self>, HubNameError> {
        let end = text.find(['@', ':']).unwrap_or(text.len());
        let (id, rest) = text.split_at(end);
        let Some(repository) = RepositoryId::new(id) else {
            return Ok(None);
        };
        let file_like = [".gguf", ".safetensors", ".json"].iter().any(|extension| id.to_ascii_lowercase().ends_with(extension));
        if rest.is_empty() && file_like {
            return Ok(None);
        }
        let (revision, choice) = match rest.strip_prefix('@') {
            Some(rest) => match rest.split_once(':') {
                Some((revision, choice)) => (Some(revision), Some(choice)),
                None => (Some(rest), None),
            },
            None => (None, rest.strip_prefix(':')),
        };
        if choice.is_some_and(str::is_empty) {
            return Err(HubNameError::EmptyChoice { name: text.to_owned() });
        }
        Self { repository, revision: None, choice: choice.map(str::to_owned) }.at(revision).map(Some)
    }

    /// Reads the address of a repository's page, directory or file on the hub at `endpoint` or on the public one;
    /// `None` where the address is elsewhere.
    ///
    /// # Errors
    /// Where it is on the hub and leads to no model.
    pub fn of_url(url: &str, endpoint: &str) -> Result<Option<Self>, HubNameError> {
        let Some((_, rest)) = url.split_once("://") else {
            return Ok(None);
        };
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let of = |endpoint: &str| endpoint.split_once("://").map(|(_, host)| host.trim_end_matches('/').to_ascii_lowercase());
        let hosts = [of(endpoint), of(HUB_ENDPOINT), Some("hf.co".to_owned())];
        if !hosts.contains(&Some(host.to_ascii_lowercase())) {
            return Ok(None);
        }
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let wrong = || HubNameError::Url { url: url.to_owned() };
        let [owner, name, page @ ..] = parts.as_slice() else {
            return Err(wrong());
        };
        let repository = RepositoryId::new(&format!("{owner}/{name}")).filter(|_| !matches!(*owner, "datasets" | "spaces" | "api"));
        let bare = Self { repository: repository.ok_or_else(wrong)?, revision: None, choice: None };
        match page {
            [] => Ok(Some(bare)),
            ["tree", revision] => bare.at(Some(&decoded(revision))).map(Some),
            ["tree" | "blob" | "resolve" | "raw", revision, path @ ..] if !path.is_empty() => {
                let choice = Some(decoded(&path.join("/")));
                Self { choice, ..bare }.at(Some(&decoded(revision))).map(Some)
            }
            _ => Err(wrong()),
        }
    }

    fn at(self, revision: Option<&str>) -> Result<Self, HubNameError> {
        if let Some(revision) = revision
            && check_path(revision).is_err()
        {
            return Err(HubNameError::Revision { revision: revision.to_owned() });
        }
        Ok(Self { revision: revision.map(str::to_owned), ..self })
    }

    /// The revision that is meant.
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or(Self::DEFAULT_REVISION)
    }
}

impl fmt::Display for HubName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.repository)?;
        if let Some(revision) = &self.revision {
            write!(formatter, "@{revision}")?;
        }
        match &self.choice {
            Some(choice) => write!(formatter, ":{choice}"),
            None => Ok(()),
        }
    }
}

/// `text` with its `%XX` read as bytes; as it is where that gives no text.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escape = tail.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match escape.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(repository: &str, revision: Option<&str>, choice: Option<&str>) -> HubName {
        HubName {
            repository: RepositoryId::new(repository).unwrap(),
            revision: revision.map(str::to_owned),
            choice: choice.map(str::to_owned),
        }
    }

    #[test]
    fn names_are_read_and_written_alike() {
        for (text, expected) in [
            ("owner/name", name("owner/name", None, None)),
            ("owner/name@v1.0", name("owner/name", Some("v1.0"), None)),
            ("owner/name@refs/pr/3", name("owner/name", Some("refs/pr/3"), None)),
            ("unsloth/x-GGUF:Q4_K_M", name("unsloth/x-GGUF", None, Some("Q4_K_M"))),
            ("o/n@main:sub/x.gguf", name("o/n", Some("main"), Some("sub/x.gguf"))),
        ] {
            assert_eq!(HubName::parse(text), Ok(Some(expected.clone())), "{text}");
            assert_eq!(expected.to_string(), text);
        }
    }

    #[test]
    fn paths_and_other_words_are_no_names() {
        for text in [
            "", "name", "./a/b", "../a", "/a/b", "a/b/c", "~/a", "C:/x", "C:\\x", "a//b", "a/", "a/b.gguf", "a/b--c", "a..b/c", "a b/c",
            "a/b.git", "-a/b", "a/b-",
        ] {
            assert_eq!(HubName::parse(text), Ok(None), "{text}");
        }
        assert!(matches!(HubName::parse("a/b:"), Err(HubNameError::EmptyChoice { .. })));
        for revision in ["", "..", "../x", "a/../b", "a\\b", "/a", "a//b", "a:b"].map(|revision| format!("a/b@{revision}")) {
            let read = HubName::parse(&revision);
            assert!(matches!(read, Err(HubNameError::Revision { .. })) || read == HubName::parse("a/b@a:b"), "{revision}: {read:?}");
        }
    }

    #[test]
    fn addresses_of_the_hub_are_names() {
        let hub = "https://mirror.example:8443/";
        for (url, expected) in [
            ("https://huggingface.co/o/n", name("o/n", None, None)),
            ("https://hf.co/o/n/", name("o/n", None, None)),
            ("https://HuggingFace.co/o/n?library=x", name("o/n", None, None)),
            ("https://mirror.example:8443/o/n/tree/main", name("o/n", Some("main"), None)),
            ("https://huggingface.co/o/n/tree/main/Q8_0", name("o/n", Some("main"), Some("Q8_0"))),
            ("https://huggingface.co/o/n/tree/refs%2Fpr%2F1", name("o/n", Some("refs/pr/1"), None)),
            ("https://huggingface.co/o/n/blob/main/a%20b.gguf", name("o/n", Some("main"), Some("a b.gguf"))),
            ("https://huggingface.co/o/n/resolve/main/d/a.gguf?download=true", name("o/n", Some("main"), Some("d/a.gguf"))),
        ] {
            assert_eq!(HubName::of_url(url, hub), Ok(Some(expected)), "{url}");
        }
        assert_eq!(HubName::of_url("https://example.com/o/n/resolve/main/a.gguf", hub), Ok(None));
        for url in
            ["https://huggingface.co/", "https://huggingface.co/o", "https://huggingface.co/datasets/n", "https://hf.co/o/n/discussions"]
        {
            assert!(matches!(HubName::of_url(url, hub), Err(HubNameError::Url { .. })), "{url}");
        }
        assert!(HubName::of_url("https://hf.co/o/n/tree/%2e%2e", hub).is_err());
    }
}
