//! The models of the catalogue that are on this machine, so that a browser need not fetch them a second time.

use std::borrow::Cow;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::answer::{Content, Data};
use crate::cache::{Cache, hex};
use crate::catalogue::{MODELS, Model};

/// An entry of the list; `url` is relative to the list.
#[derive(Serialize)]
struct Entry<'a> {
    id: &'a str,
    title: &'a str,
    license: &'a str,
    bytes: u64,
    sha256: &'a str,
    url: &'a str,
}

/// What is on this machine now, as JSON.
pub(super) fn index(cache: Option<&Cache>) -> Option<Content> {
    let finished = MODELS.iter().filter(|model| cache.is_some_and(|cache| cache.finished(model).is_some()));
    let entries: Vec<Entry<'_>> = finished.filter_map(entry).collect();
    let json = serde_json::to_vec(&entries).ok()?;
    let tag = hex(&Sha256::digest(&json));
    Some(Content { data: Data::Held(Cow::Owned(json)), media_type: "application/json", tag, cache: "no-cache" })
}

fn entry(model: &'static Model<'static>) -> Option<Entry<'static>> {
    let Model { id, title, license, file_name, bytes, sha256, .. } = *model;
    Some(Entry { id, title, license, bytes: bytes?, sha256: sha256?, url: file_name })
}

/// The finished file of the catalogue that is called `name`. Its hash was checked before it got its name.
pub(super) fn file(cache: &Cache, name: &str) -> Option<Content> {
    let model = MODELS.iter().find(|model| model.file_name == name)?;
    let path = cache.finished(model)?;
    let data = Data::File(path, model.bytes?);
    // The page keeps the weights itself: a second copy among the browser's files would help nobody.
    Some(Content { data, media_type: "application/octet-stream", tag: model.sha256?.to_owned(), cache: "no-store" })
}
