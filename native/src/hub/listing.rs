//! What a repository holds at one commit: the hub's tree listing, and its copy in the cache.
//!
//! The hub answers `GET /api/models/{id}/revision/{revision}` with the commit (`sha`), and
//! `GET /api/models/{id}/tree/{commit}?recursive=true` with pages of `{type, path, size, oid, lfs: {oid, size}, xetHash}`.
//! The copy is the file `trees/{commit}.json` that huggingface_hub keeps too, so that either finds what the other wrote.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::fetch::Digest;

/// More files than any model repository has.
const MAX_FILES: usize = 200_000;
const FORMAT_VERSION: u32 = 1;

/// The files of a repository at one commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    files: BTreeMap<String, Entry>,
}

/// One file of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Size in bytes.
    pub size: u64,
    /// SHA-1 of the git object: of the file, or of the pointer to it where the file is stored apart.
    blob_id: String,
    /// SHA-256 of a file that is stored apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lfs_sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lfs_size: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    xet_hash: Option<String>,
}

impl Entry {
    /// What the file's bytes hash to. Its hexadecimal digits name the file in the cache.
    pub fn digest(&self) -> Digest {
        match &self.lfs_sha256 {
            Some(hex) => Digest::Sha256(hex.clone()),
            None => Digest::GitBlob(self.blob_id.clone()),
        }
    }

    fn check(&self, path: &str) -> Result<(), String> {
        let is_hex = |text: &str, len| text.len() == len && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let good = match &self.lfs_sha256 {
            Some(sha256) => is_hex(sha256, 64),
            None => is_hex(&self.blob_id, 40),
        };
        // The digits become file names.
        if good { Ok(()) } else { Err(format!("no usable hash of {path:?}")) }
    }
}

/// An object of the hub's tree listing.
#[derive(Deserialize)]
struct TreeObject {
    r#type: String,
    path: String,
    size: u64,
    oid: String,
    lfs: Option<TreeLfs>,
    #[serde(rename = "xetHash")]
    xet_hash: Option<String>,
}

#[derive(Deserialize)]
struct TreeLfs {
    oid: String,
    size: u64,
}

#[derive(Serialize, Deserialize)]
struct TreeFile {
    format_version: u32,
    files: BTreeMap<String, Entry>,
}

impl Listing {
    /// Adds a page of the hub's answer.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn add_page(&mut self, json: &[u8]) -> Result<(), String> {
        let objects: Vec<TreeObject> = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        for object in objects.into_iter().filter(|object| object.r#type == "file") {
            let size = object.lfs.as_ref().map_or(object.size, |lfs| lfs.size);
            let entry = Entry {
                size,
                blob_id: object.oid,
                lfs_size: object.lfs.as_ref().map(|lfs| lfs.size),
                lfs_sha256: object.lfs.map(|lfs| lfs.oid.trim_start_matches("sha256:").to_owned()),
                xet_hash: object.xet_hash,
            };
            entry.check(&object.path)?;
            self.files.insert(object.path, entry);
        }
        if self.files.len() > MAX_FILES { Err(format!("more than {MAX_FILES} files")) } else { Ok(()) }
    }

    /// Reads the cache's copy; `None` where it is of another version or damaged.
    pub fn from_cache(json: &[u8]) -> Option<Self> {
        let file: TreeFile = serde_json::from_slice(json).ok()?;
        let good = file.format_version == FORMAT_VERSION && file.files.iter().all(|(path, entry)| entry.check(path).is_ok());
        good.then_some(Self { files: file.files })
    }

    /// The cache's copy.
    pub fn to_cache(&self) -> Vec<u8> {
        let file = TreeFile { format_version: FORMAT_VERSION, files: self.files.clone() };
        serde_json::to_vec_pretty(&file).unwrap_or_default()
    }

    /// The file at `path`.
    pub fn get(&self, path: &str) -> Option<&Entry> {
        self.files.get(path)
    }

    /// All paths, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"[
        {"type": "directory", "oid": "x", "size": 0, "path": "onnx"},
        {"type": "file", "oid": "0123456789012345678901234567890123456789", "size": 7, "path": "config.json"},
        {"type": "file", "oid": "0123456789012345678901234567890123456789", "size": 134, "path": "model.safetensors", "xetHash": "ab",
         "lfs": {"oid": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "size": 900, "pointerSize": 134}}]"#;

    #[test]
    fn the_hubs_listing_is_read_and_kept_alike() {
        let mut listing = Listing::default();
        listing.add_page(PAGE.as_bytes()).unwrap();
        assert_eq!(listing.paths().collect::<Vec<_>>(), ["config.json", "model.safetensors"]);
        let config = listing.get("config.json").unwrap();
        assert_eq!((config.size, config.digest()), (7, Digest::GitBlob("0123456789012345678901234567890123456789".to_owned())));
        let model = listing.get("model.safetensors").unwrap();
        assert_eq!((model.size, model.digest()), (900, Digest::Sha256("a".repeat(64))));
        assert_eq!(Listing::from_cache(&listing.to_cache()), Some(listing.clone()));
        let copy: serde_json::Value = serde_json::from_slice(&listing.to_cache()).unwrap();
        assert_eq!(copy["files"]["model.safetensors"]["lfs_sha256"], "a".repeat(64));
        assert_eq!(copy["files"]["model.safetensors"]["xet_hash"], "ab");
    }

    #[test]
    fn hashes_that_cannot_name_a_file_are_refused() {
        for oid in ["", "../../x", "0123", "012345678901234567890123456789012345678Z", "012345678901234567890123456789012345678/"] {
            let page = serde_json::json!([{"type": "file", "oid": oid, "size": 1, "path": "a"}]).to_string();
            assert!(Listing::default().add_page(page.as_bytes()).is_err(), "{oid}");
            let kept = serde_json::json!({"format_version": 1, "files": {"a": {"size": 1, "blob_id": oid}}}).to_string();
            assert_eq!(Listing::from_cache(kept.as_bytes()), None, "{oid}");
        }
        assert!(Listing::default().add_page(b"<html>").is_err());
        assert!(Listing::default().add_page(br#"[{"type":"file","path":"a","size":-1,"oid":""}]"#).is_err());
    }
}
