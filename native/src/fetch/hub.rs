//! Models of the hub: what is in its cache is used as it is, the rest is fetched into it.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use super::client::Client;
use super::error::{FetchError, SourceError};
use super::hub_api::{Api, Trouble, encoded, refusal};
use super::job::Wanted;
use super::set::{Item, SetFailure};
use super::{Digest, Fetcher, Removed, part};
use crate::catalogue::hub_url;
use crate::hub::{
    CachedRepository, Choice, Entry, HubCache, HubError, HubName, Listing, Snapshot, Target, check_path, choose, is_commit, refuse_clashes,
    shards_of_index,
};

/// The index of a model with a million tensors.
const MAX_INDEX: u64 = 128 << 20;

/// Whether the hub is asked for the newest commit of a branch that is here already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// What is here and complete is used without a word to the hub.
    AsCached,
    /// The hub is asked; where it cannot be, what is here is used.
    Newest,
}

/// What the cache has of a model.
pub enum Cached {
    /// All of it: what the loader is given, the commit it is of, and its files.
    Complete {
        /// The file or directory.
        path: PathBuf,
        /// The files of one commit.
        snapshot: Snapshot,
        /// The model's files among them.
        files: Vec<String>,
    },
    /// Not all of it, in words: `it is not`.
    Missing(&'static str),
}

impl Fetcher<'_> {
    /// The file or directory of a model of the hub, from the cache or from there.
    ///
    /// # Errors
    /// Where it is not clear which files are meant, they cannot be fetched, or the user stops it.
    pub fn repository(&self, name: &HubName, freshness: Freshness) -> Result<PathBuf, FetchError> {
        let repository = self.hub_cache()?.repository(&name.repository);
        let told = |trouble| match trouble {
            Trouble::Hub(source) => FetchError::Repository { repository: name.to_string(), source: Box::new(source) },
            Trouble::Fatal(error) => error,
        };
        let cached = cached_in(&repository, name);
        if let (Ok(Cached::Complete { path, .. }), true) = (&cached, freshness == Freshness::AsCached || self.settings.hub.offline) {
            return Ok(path.clone());
        }
        if self.settings.hub.offline {
            let what = match cached.map_err(|error| told(error.into()))? {
                Cached::Missing(what) => what.to_owned(),
                Cached::Complete { .. } => String::new(),
            };
            return Err(told(HubError::Offline { what }.into()));
        }
        let client = self.client();
        let session = Session { fetcher: self, client: &client, repository: &repository, name };
        match (session.model(), cached) {
            (Err(Trouble::Hub(HubError::Request(reason))), Ok(Cached::Complete { path, .. })) => {
                self.progress.note(&format!("{reason}; using what is on this machine"));
                Ok(path)
            }
            (result, _) => result.map_err(told),
        }
    }

    /// What the cache has of a model, without asking anybody.
    ///
    /// # Errors
    /// Where it is not clear which files are meant.
    pub fn cached(&self, name: &HubName) -> Result<Cached, FetchError> {
        let repository = self.hub_cache()?.repository(&name.repository);
        cached_in(&repository, name).map_err(|error| FetchError::Repository { repository: name.to_string(), source: Box::new(error) })
    }

    /// The hub's cache.
    ///
    /// # Errors
    /// Where this user has no home to keep it in.
    pub fn hub_cache(&self) -> Result<HubCache, FetchError> {
        self.settings.hub.cache.clone().map(HubCache::at).ok_or(FetchError::NoHubCache)
    }

    /// Removes a model of the hub from its cache: all of the repository, or where a revision or a choice is named, its files.
    ///
    /// # Errors
    /// Where the cache cannot be written, or it is not clear which files are meant.
    pub fn remove_repository(&self, name: &HubName) -> Result<Removed, FetchError> {
        let repository = self.hub_cache()?.repository(&name.repository);
        let failed = |source| FetchError::Cache { action: "remove", path: repository.directory().to_path_buf(), source };
        if !repository.directory().exists() {
            return Ok(Removed::Nothing);
        }
        let size = || repository.blobs().iter().fold(0, |sum: u64, (_, size)| sum.saturating_add(*size));
        let before = size();
        if name.revision.is_none() && name.choice.is_none() {
            let finished = repository.blobs().iter().any(|(blob, _)| Digest::from_hex(blob).is_some());
            repository.remove().map_err(failed)?;
            return Ok(if finished { Removed::File(before) } else { Removed::Leftovers });
        }
        match self.cached(name)? {
            Cached::Missing(_) => Ok(Removed::Nothing),
            Cached::Complete { snapshot, files, .. } => {
                repository.remove_files(&snapshot, &files).map_err(failed)?;
                Ok(Removed::File(before.saturating_sub(size())))
            }
        }
    }

    /// Checks every file of a model that is here against its hash, and removes those that are damaged.
    ///
    /// Returns the damaged files' paths in the repository.
    ///
    /// # Errors
    /// Where the cache cannot be read or written, or the user stops it.
    pub fn verify_repository(
        &self,
        repository: &CachedRepository,
        snapshot: &Snapshot,
        files: &[String],
    ) -> Result<Vec<String>, FetchError> {
        let listing = repository.listing(snapshot.commit());
        let mut damaged = Vec::new();
        for file in files {
            if self.interrupt.is_raised() {
                return Err(FetchError::Interrupted { bytes_kept: 0 });
            }
            let listed = listing.as_ref().and_then(|listing| listing.get(file)).map(|entry| entry.digest());
            let Some(digest) = listed.or_else(|| snapshot.digest_of(file)) else { continue };
            let path = snapshot.path_of(file);
            if part::hash_of(&path, &digest)? != digest.hex() {
                part::remove_if_there(&path)?;
                part::remove_if_there(&repository.blob(&digest))?;
                damaged.push(file.clone());
            }
        }
        Ok(damaged)
    }
}

/// The fetching of one model of the hub.
struct Session<'a> {
    fetcher: &'a Fetcher<'a>,
    client: &'a Client,
    repository: &'a CachedRepository,
    name: &'a HubName,
}

impl Session<'_> {
    /// The model's file or directory, after all of its files are there.
    fn model(&self) -> Result<PathBuf, Trouble> {
        let (commit, listing) = self.listing()?;
        let snapshot = self.repository.snapshot(&commit);
        let choice = choose(&sizes(&listing), self.name.choice.as_deref())?;
        let mut files: BTreeSet<String> = choice.files.iter().cloned().collect();
        if let Some(index) = &choice.index {
            self.bring(&listing, &snapshot, &BTreeSet::from([index.clone()]), &format!("fetching the index of {}", self.name))?;
            files.extend(shards(&snapshot, index)?);
        }
        self.bring(&listing, &snapshot, &files, &format!("fetching {}", self.name))?;
        self.repository.write_ref(self.name.revision(), &commit).map_err(cannot_write)?;
        Ok(target_path(&snapshot, &choice))
    }

    /// The commit that is meant, and all files that it has.
    fn listing(&self) -> Result<(String, Listing), Trouble> {
        let api = Api { fetcher: self.fetcher, client: self.client, name: self.name };
        let commit = match is_commit(self.name.revision()) {
            true => self.name.revision().to_owned(),
            false => api.commit()?,
        };
        if let Some(listing) = self.repository.listing(&commit) {
            return Ok((commit, listing));
        }
        let listing = api.listing(&commit)?;
        self.repository.write_listing(&commit, &listing).map_err(cannot_write)?;
        Ok((commit, listing))
    }

    /// Makes `files` of a commit be there; `label` says meanwhile what goes on.
    fn bring(&self, listing: &Listing, snapshot: &Snapshot, files: &BTreeSet<String>, label: &str) -> Result<(), Trouble> {
        refuse_clashes(files.iter().map(String::as_str))?;
        let mut items: Vec<Item> = Vec::new();
        let mut links = Vec::new();
        for path in files {
            check_path(path)?;
            let entry = listing.get(path).ok_or_else(|| HubError::NoFile { file: path.clone() })?;
            if snapshot.has(path, Some(entry.size)) {
                continue;
            }
            let blob = self.repository.blob(&entry.digest());
            let there = blob.metadata().is_ok_and(|file| file.is_file() && file.len() == entry.size);
            if !there && !items.iter().any(|item| item.wanted.path == blob) {
                items.push(self.item(snapshot, path, entry));
            }
            links.push((path, blob));
        }
        self.fetcher.set(self.client, label, &items).map_err(|failure| self.told(failure))?;
        for (path, blob) in links {
            snapshot.link(path, &blob).map_err(|error| cannot_write((snapshot.path_of(path), error)))?;
        }
        Ok(())
    }

    fn item(&self, snapshot: &Snapshot, path: &str, entry: &Entry) -> Item {
        let digest = entry.digest();
        let endpoint = &self.fetcher.settings.hub.endpoint;
        Item {
            url: hub_url(endpoint, self.name.repository.as_str(), snapshot.commit(), &encoded(path)),
            lock: self.repository.lock(&digest),
            wanted: Wanted {
                name: path.to_owned(),
                path: self.repository.blob(&digest),
                part: self.repository.incomplete(&digest),
                record: None,
                size: Some(entry.size),
                digest: Some(digest),
            },
        }
    }

    fn told(&self, failure: SetFailure) -> Trouble {
        let (file, source) = match failure {
            SetFailure::Fatal(error) => return Trouble::Fatal(error),
            SetFailure::File { name, source } => (name, source),
        };
        if matches!(source, SourceError::Status { code: None, status: 404, .. }) {
            return Trouble::Hub(HubError::File { file, source });
        }
        Trouble::Hub(match refusal(source, self.name, &self.fetcher.settings.hub.endpoint) {
            HubError::Request(source) => HubError::File { file, source },
            refusal => refusal,
        })
    }
}

/// What the cache has of a model.
fn cached_in(repository: &CachedRepository, name: &HubName) -> Result<Cached, HubError> {
    let Some(commit) = repository.commit(name.revision()) else {
        return Ok(Cached::Missing("it is not"));
    };
    let snapshot = repository.snapshot(&commit);
    let listing = repository.listing(&commit);
    let there = snapshot.files();
    if there.is_empty() {
        return Ok(Cached::Missing("it is not"));
    }
    let choice = match &listing {
        Some(listing) => choose(&sizes(listing), name.choice.as_deref())?,
        // Without the list of all files, what is there is all that is known.
        None => match choose(&there.iter().map(|(path, size)| (path.as_str(), *size)).collect::<Vec<_>>(), name.choice.as_deref()) {
            Ok(choice) => choice,
            Err(_) => return Ok(Cached::Missing("not all of its files are")),
        },
    };
    let mut files = choice.files.clone();
    if let Some(index) = &choice.index {
        match snapshot.has(index, None) {
            true => files.extend(shards(&snapshot, index)?),
            false => return Ok(Cached::Missing("not all of its files are")),
        }
    }
    // A tokenizer that is not listed may not have been fetched yet.
    let is_tokenizer =
        |file: &String| ["tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt"].iter().any(|name| file.ends_with(name));
    if listing.is_none() && matches!(choice.target, Target::Directory(_)) && !files.iter().any(is_tokenizer) {
        return Ok(Cached::Missing("not all of its files are"));
    }
    let size = |file: &str| listing.as_ref().and_then(|listing| listing.get(file)).map(|entry| entry.size);
    if files.iter().all(|file| snapshot.has(file, size(file))) {
        return Ok(Cached::Complete { path: target_path(&snapshot, &choice), snapshot, files });
    }
    Ok(Cached::Missing("not all of its files are"))
}

fn target_path(snapshot: &Snapshot, choice: &Choice) -> PathBuf {
    match &choice.target {
        Target::Directory(path) | Target::File(path) => snapshot.path_of(path),
    }
}

fn sizes(listing: &Listing) -> Vec<(&str, u64)> {
    listing.paths().filter_map(|path| Some((path, listing.get(path)?.size))).collect()
}

/// The paths of the shards that an index names.
fn shards(snapshot: &Snapshot, index: &str) -> Result<Vec<String>, HubError> {
    let bad = |reason: String| HubError::BadIndex { file: index.to_owned(), reason };
    let path = snapshot.path_of(index);
    let size = fs::metadata(&path).map_err(|error| bad(error.to_string()))?.len();
    if size > MAX_INDEX {
        return Err(bad("it is too large".to_owned()));
    }
    let shards = shards_of_index(&fs::read(&path).map_err(|error| bad(error.to_string()))?).map_err(bad)?;
    let directory = index.rsplit_once('/').map_or(String::new(), |(directory, _)| format!("{directory}/"));
    Ok(shards.into_iter().map(|shard| format!("{directory}{shard}")).collect())
}

fn cannot_write((path, source): (PathBuf, std::io::Error)) -> Trouble {
    Trouble::Fatal(FetchError::Cache { action: "write", path, source })
}
