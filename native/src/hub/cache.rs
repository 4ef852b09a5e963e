//! The cache that the hub's own tools share: what they fetched is used, and what is fetched here they find.
//!
//! ```text
//! models--owner--name/refs/main                   the commit that a branch or tag was at when last asked
//!                     snapshots/COMMIT/PATH       links to blobs: the repository's files as they are called
//!                     blobs/HASH                  their bytes, named by SHA-256, or by git's SHA-1 where small
//!                     blobs/HASH.incomplete       bytes of a file that is being fetched
//!                     trees/COMMIT.json           the list of all files
//! .locks/models--owner--name/HASH.lock            held by whoever fetches that file
//! ```

use std::collections::BTreeSet;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::listing::Listing;
use super::name::RepositoryId;
use super::path::check_path;
use crate::cache::with_added_extension;
use crate::fetch::Digest;

const PREFIX: &str = "models--";
/// Directories in a repository go this deep at the most.
const MAX_DEPTH: u32 = 12;
/// A listing of the largest repositories has a few megabytes.
const MAX_LISTING: u64 = 64 << 20;

/// The directory that holds all repositories.
#[derive(Debug, Clone)]
pub struct HubCache {
    root: PathBuf,
}

impl HubCache {
    /// The cache in `root`, which need not exist yet.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Its directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The place of the repository called `id`, there or not.
    pub fn repository(&self, id: &RepositoryId) -> CachedRepository {
        let folder = format!("{PREFIX}{}", id.as_str().replace('/', "--"));
        CachedRepository { id: id.clone(), directory: self.root.join(&folder), locks: self.root.join(".locks").join(folder) }
    }

    /// The repositories of which anything is there, by name.
    pub fn repositories(&self) -> Vec<CachedRepository> {
        let id_of = |name: &str| RepositoryId::new(&name.strip_prefix(PREFIX)?.replacen("--", "/", 1));
        let mut ids: Vec<_> = names_in(&self.root).iter().filter_map(|name| id_of(name)).collect();
        ids.sort_unstable();
        ids.iter().map(|id| self.repository(id)).collect()
    }
}

/// One repository in the cache.
#[derive(Debug, Clone)]
pub struct CachedRepository {
    id: RepositoryId,
    directory: PathBuf,
    locks: PathBuf,
}

impl CachedRepository {
    /// Its name.
    pub fn id(&self) -> &RepositoryId {
        &self.id
    }

    /// Its directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The commit that `revision` is, or was when last asked.
    pub fn commit(&self, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return Some(revision.to_owned());
        }
        check_path(revision).ok()?;
        let mut text = String::new();
        fs::File::open(self.directory.join("refs").join(revision)).ok()?.take(64).read_to_string(&mut text).ok()?;
        Some(text.trim().to_owned()).filter(|commit| is_commit(commit))
    }

    /// The commits of which files are there, each with the branches and tags that are at it.
    pub fn snapshots(&self) -> Vec<(Snapshot, Vec<String>)> {
        let refs = paths_below(&self.directory.join("refs"));
        let mut commits: Vec<_> = names_in(&self.directory.join("snapshots")).into_iter().filter(|name| is_commit(name)).collect();
        commits.sort_unstable();
        let with_refs = |commit: String| {
            let at = refs.iter().filter(|name| self.commit(name).as_ref() == Some(&commit)).cloned().collect();
            (self.snapshot(&commit), at)
        };
        commits.into_iter().map(with_refs).collect()
    }

    /// The files of `commit`, there or not.
    pub fn snapshot(&self, commit: &str) -> Snapshot {
        Snapshot { commit: commit.to_owned(), directory: self.directory.join("snapshots").join(commit) }
    }

    /// Where the bytes with this hash lie, there or not.
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        self.directory.join("blobs").join(digest.hex())
    }

    /// Where the bytes with this hash gather while they are fetched.
    pub fn incomplete(&self, digest: &Digest) -> PathBuf {
        with_added_extension(&self.blob(digest), "incomplete")
    }

    /// The lock of the bytes with this hash.
    pub fn lock(&self, digest: &Digest) -> PathBuf {
        self.locks.join(format!("{}.lock", digest.hex()))
    }

    /// The list of all files of `commit`, where it is known.
    pub fn listing(&self, commit: &str) -> Option<Listing> {
        let mut json = Vec::new();
        let file = fs::File::open(self.listing_path(commit)).ok()?;
        file.take(MAX_LISTING).read_to_end(&mut json).ok()?;
        Listing::from_cache(&json)
    }

    /// Keeps the list of all files of `commit`.
    pub(crate) fn write_listing(&self, commit: &str, listing: &Listing) -> Result<(), (PathBuf, io::Error)> {
        let path = self.listing_path(commit);
        write_at_once(&path, &listing.to_cache()).map_err(|error| (path, error))
    }

    /// Notes that `revision` is at `commit`. A commit needs no note.
    pub(crate) fn write_ref(&self, revision: &str, commit: &str) -> Result<(), (PathBuf, io::Error)> {
        if revision == commit || self.commit(revision).as_deref() == Some(commit) {
            return Ok(());
        }
        let path = self.directory.join("refs").join(revision);
        write_at_once(&path, commit.as_bytes()).map_err(|error| (path, error))
    }

    /// The names of all blobs, finished and not, and their sizes.
    pub fn blobs(&self) -> Vec<(String, u64)> {
        let directory = self.directory.join("blobs");
        let size = |name: &String| fs::metadata(directory.join(name)).map_or(0, |metadata| metadata.len());
        names_in(&directory).into_iter().map(|name| (name.clone(), size(&name))).collect()
    }

    /// Removes everything of the repository.
    pub(crate) fn remove(&self) -> io::Result<()> {
        fs::remove_dir_all(&self.directory)?;
        match fs::remove_dir_all(&self.locks) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes `paths` of one commit, and the blobs that no other file leads to.
    pub(crate) fn remove_files(&self, snapshot: &Snapshot, paths: &[String]) -> io::Result<()> {
        let mut blobs = self.blobs_of(snapshot, paths.iter());
        for path in paths {
            let link = snapshot.path_of(path);
            remove_if_there(&link)?;
            for parent in link.ancestors().skip(1).take_while(|parent| *parent != snapshot.directory) {
                // Only empty directories go.
                let _ = fs::remove_dir(parent);
            }
        }
        for (other, _) in self.snapshots() {
            let files = other.files();
            let used = self.blobs_of(&other, files.iter().map(|(path, _)| path));
            blobs.retain(|blob| !used.contains(blob));
        }
        blobs.iter().try_for_each(|blob| remove_if_there(&self.directory.join("blobs").join(blob)))
    }

    /// The blobs that files of a commit lead to: as their links tell or, where the system has none, the list of files.
    fn blobs_of<'a>(&self, snapshot: &Snapshot, paths: impl Iterator<Item = &'a String>) -> BTreeSet<String> {
        let listing = self.listing(&snapshot.commit);
        let listed = |path: &str| Some(listing.as_ref()?.get(path)?.digest().hex().to_owned());
        paths.filter_map(|path| blob_name(&snapshot.path_of(path)).or_else(|| listed(path))).collect()
    }

    fn listing_path(&self, commit: &str) -> PathBuf {
        self.directory.join("trees").join(format!("{commit}.json"))
    }
}

/// The files of one commit.
#[derive(Debug, Clone)]
pub struct Snapshot {
    commit: String,
    directory: PathBuf,
}

impl Snapshot {
    /// The commit.
    pub fn commit(&self) -> &str {
        &self.commit
    }

    /// Where the file at `path` of the repository lies, there or not. The path has been checked.
    pub fn path_of(&self, path: &str) -> PathBuf {
        path.split('/').filter(|component| !component.is_empty()).fold(self.directory.clone(), |at, component| at.join(component))
    }

    /// Whether the file at `path` is there with `size` bytes; with any number where none is known.
    pub fn has(&self, path: &str, size: Option<u64>) -> bool {
        fs::metadata(self.path_of(path)).is_ok_and(|file| file.is_file() && size.is_none_or(|size| file.len() == size))
    }

    /// The files that are there, and their sizes.
    pub fn files(&self) -> Vec<(String, u64)> {
        let size = |path: &String| Some(fs::metadata(self.path_of(path)).ok().filter(fs::Metadata::is_file)?.len());
        paths_below(&self.directory).into_iter().filter_map(|path| Some((path.clone(), size(&path)?))).collect()
    }

    /// The hash that a file's bytes should have, as its link tells it.
    pub fn digest_of(&self, path: &str) -> Option<Digest> {
        Digest::from_hex(&blob_name(&self.path_of(path))?)
    }

    /// Makes `path` lead to `blob`: by a relative link, or by another name or a copy where links are not to be had.
    pub(crate) fn link(&self, path: &str, blob: &Path) -> io::Result<()> {
        self.link_by(&[relative_link, other_name, copy], path, blob)
    }

    /// Makes `path` lead to `blob` in the first of `ways` that works.
    fn link_by(&self, ways: &[Way], path: &str, blob: &Path) -> io::Result<()> {
        let link = self.path_of(path);
        if let Some(parent) = link.parent() {
            fs::create_dir_all(parent)?;
        }
        let temporary = link.with_file_name(unique());
        let mut made = Err(io::ErrorKind::Unsupported.into());
        for way in ways {
            made = way(blob, &temporary);
            if made.is_ok() {
                break;
            }
        }
        made.and_then(|()| fs::rename(&temporary, &link)).inspect_err(|_| drop(fs::remove_file(&temporary)))
    }
}

/// A way to make the second path lead to what lies at the first.
type Way = fn(&Path, &Path) -> io::Result<()>;

fn other_name(blob: &Path, link: &Path) -> io::Result<()> {
    fs::hard_link(blob, link)
}

fn copy(blob: &Path, link: &Path) -> io::Result<()> {
    fs::copy(blob, link).map(drop)
}

/// Makes `link`, in a snapshot's directory, a link to `blob` that stays good when the whole cache is moved.
fn relative_link(blob: &Path, link: &Path) -> io::Result<()> {
    let repository = blob.ancestors().nth(2).ok_or(io::ErrorKind::InvalidInput)?;
    let below = link.parent().and_then(|parent| parent.strip_prefix(repository).ok()).ok_or(io::ErrorKind::InvalidInput)?;
    let up: PathBuf = below.components().map(|_| "..").collect();
    symlink(&up.join("blobs").join(blob.file_name().unwrap_or_default()), link)
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(windows)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(target, link)
}

/// Whether `text` is a full commit hash.
pub(crate) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// The name of the blob that the link at `path` leads to.
fn blob_name(path: &Path) -> Option<String> {
    Some(fs::read_link(path).ok()?.file_name()?.to_str()?.to_owned())
}

/// The names of what lies in `directory`; none where it is not there.
fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// The paths of all files below `directory`, '/'-separated and sorted.
fn paths_below(directory: &Path) -> Vec<String> {
    fn walk(directory: &Path, prefix: &str, depth: u32, found: &mut Vec<String>) {
        for name in names_in(directory) {
            let path = directory.join(&name);
            // A link to a directory is none of ours, and could lead round in a circle.
            let is_directory = path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
            match (is_directory, depth) {
                (true, 0) => {}
                (true, _) => walk(&path, &format!("{prefix}{name}/"), depth - 1, found),
                (false, _) => found.push(format!("{prefix}{name}")),
            }
        }
    }
    let mut found = Vec::new();
    walk(directory, "", MAX_DEPTH, &mut found);
    found.sort_unstable();
    found
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Writes a small file so that no reader ever sees a part of it.
fn write_at_once(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let temporary = with_added_extension(path, &unique());
    fs::write(&temporary, bytes).and_then(|()| fs::rename(&temporary, path)).inspect_err(|_| drop(fs::remove_file(&temporary)))
}

/// An extension that no other process uses at the same time.
fn unique() -> String {
    // The keys of the standard library's hash maps come from the system's randomness.
    format!("{:016x}.tmp", RandomState::new().hash_one("unique"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_there_by_whatever_way_the_system_allows() {
        let root = tempfile::tempdir().unwrap();
        let repository = HubCache::at(root.path()).repository(&RepositoryId::new("o/n").unwrap());
        let digest = Digest::from_hex(&"a".repeat(40)).unwrap();
        let blob = repository.blob(&digest);
        fs::create_dir_all(blob.parent().unwrap()).unwrap();
        fs::write(&blob, "bytes").unwrap();
        let snapshot = repository.snapshot(&"0".repeat(40));
        let refuse: Way = |_, _| Err(io::ErrorKind::PermissionDenied.into());
        let ways: [&[Way]; 3] = [&[relative_link], &[refuse, other_name], &[refuse, refuse, copy]];
        for (index, ways) in ways.into_iter().enumerate() {
            for path in ["m.gguf", "sub/dir/m.gguf"] {
                snapshot.link_by(ways, path, &blob).unwrap();
                assert_eq!(fs::read(snapshot.path_of(path)).unwrap(), b"bytes");
                assert_eq!(snapshot.digest_of(path).is_some(), index == 0, "only links tell the hash");
            }
        }
        assert!(snapshot.link_by(&[refuse], "m.gguf", &blob).is_err());
        assert_eq!(snapshot.files(), [("m.gguf".to_owned(), 5), ("sub/dir/m.gguf".to_owned(), 5)], "nothing else is left");
    }

    #[test]
    fn other_directories_and_refs_are_not_taken_for_ours() {
        let root = tempfile::tempdir().unwrap();
        for directory in ["models--o--n/refs", "datasets--o--n", "models--nobody", "blobs", ".locks", "models--..--x"] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        let repositories = HubCache::at(root.path()).repositories();
        assert_eq!(repositories.iter().map(|found| found.id().as_str()).collect::<Vec<_>>(), ["o/n"]);
        for (revision, text) in [("short", "0123"), ("long", &"0".repeat(41)), ("path", "../../x"), ("upper", &"A".repeat(40))] {
            fs::write(root.path().join("models--o--n/refs").join(revision), text).unwrap();
            assert_eq!(repositories[0].commit(revision), None, "{revision}");
        }
        fs::write(root.path().join("models--o--n/refs/good"), format!("{}\n", "a".repeat(40))).unwrap();
        assert_eq!(repositories[0].commit("good"), Some("a".repeat(40)));
        assert_eq!(repositories[0].commit("../refs/good"), None);
    }
}
