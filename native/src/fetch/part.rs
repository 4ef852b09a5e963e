//! The unfinished file: what has arrived so far, and from which version of the server's file.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::digest::Hasher;
use super::error::FetchError;
use super::job::Wanted;
use crate::cache::with_added_extension;
use crate::fetch::Digest;
use serde::{Deserialize, Serialize};

/// Where the bytes of a part came from. Kept beside it, so that a later run can go on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Origin {
    /// SHA-256 of the address: an address may hold a secret.
    pub(super) address: String,
    /// A strong `ETag` or a `Last-Modified` date of the server's file: what `If-Range` takes.
    pub(super) validator: Option<String>,
    /// Size of the server's file in bytes.
    pub(super) total: Option<u64>,
}

/// The unfinished file, its running hash and its origin.
///
/// Bytes are written unbuffered, so that whatever ends the program leaves them for the next run.
pub(super) struct Part {
    path: PathBuf,
    record: Option<PathBuf>,
    file: File,
    len: u64,
    hasher: Hasher,
    /// The hasher of no bytes.
    fresh: Hasher,
    origin: Origin,
    resumed: bool,
}

const READ_BUFFER: usize = 1 << 20;

impl Part {
    /// Opens the part of `wanted`, with what an earlier run left of it.
    ///
    /// The bytes there are hashed, so that the whole file's hash needs no second reading later.
    pub(super) fn open(wanted: &Wanted) -> Result<Self, FetchError> {
        let path = wanted.part.clone();
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(FetchError::cache("open", &path))?;
        let fresh = Hasher::new(wanted.digest.as_ref(), wanted.size);
        let mut hasher = fresh.clone();
        let len = hash_all(&mut file, &mut hasher).map_err(FetchError::cache("read", &path))?;
        let record = wanted.record.clone();
        let mut part = Self { path, record, file, len, hasher, fresh, origin: Origin::default(), resumed: len > 0 };
        // Without a record, the digest will tell.
        if let Some(record) = &part.record {
            match read_origin(record) {
                Some(origin) => part.origin = origin,
                // Bytes of unknown origin cannot be gone on from.
                None => part.restart()?,
            }
        }
        Ok(part)
    }

    /// Bytes that have arrived.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Whether they came in several pieces, which may be of different versions of the file.
    pub(super) fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// Notes that the bytes to come are another piece.
    pub(super) fn resume(&mut self) {
        self.resumed = true;
    }

    /// Whether it is noted where they came from.
    pub(super) fn is_recorded(&self) -> bool {
        self.record.is_some()
    }

    /// Where they came from.
    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Forgets all bytes and where they came from.
    pub(super) fn restart(&mut self) -> Result<(), FetchError> {
        self.file.set_len(0).map_err(FetchError::cache("truncate", &self.path))?;
        self.file.seek(SeekFrom::Start(0)).map_err(FetchError::cache("write", &self.path))?;
        self.len = 0;
        self.resumed = false;
        self.hasher = self.fresh.clone();
        self.set_origin(Origin::default())
    }

    /// Records where the bytes to come are from.
    pub(super) fn set_origin(&mut self, origin: Origin) -> Result<(), FetchError> {
        if let Some(record) = &self.record
            && !(origin == self.origin && record.exists())
        {
            let text = serde_json::to_vec(&origin).unwrap_or_default();
            fs::write(record, text).map_err(FetchError::cache("write", record))?;
        }
        self.origin = origin;
        Ok(())
    }

    /// Adds bytes at the end.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), FetchError> {
        self.file.write_all(bytes).map_err(FetchError::cache("write", &self.path))?;
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// The hash of all bytes so far, in lower-case hexadecimal.
    pub(super) fn hash(&self) -> String {
        self.hasher.hex()
    }

    /// Gives the file its final name, durably and at once.
    pub(super) fn finish(self, destination: &Path) -> Result<(), FetchError> {
        self.file.sync_all().map_err(FetchError::cache("write", &self.path))?;
        drop(self.file);
        fs::rename(&self.path, destination).map_err(FetchError::cache("rename", &self.path))?;
        self.record.as_deref().map_or(Ok(()), remove_if_there)
    }

    /// Removes the part from the disk.
    pub(super) fn discard(self) -> Result<(), FetchError> {
        drop(self.file);
        remove_if_there(&self.path)?;
        self.record.as_deref().map_or(Ok(()), remove_if_there)
    }
}

/// Removes what an unfinished fetch of `destination` left.
pub(super) fn remove_leftovers(destination: &Path) -> Result<bool, FetchError> {
    let part = with_added_extension(destination, "part");
    let there = part.exists();
    remove_if_there(&part)?;
    remove_if_there(&with_added_extension(destination, "part.json"))?;
    Ok(there)
}

/// Removes the file at `path`; one that is not there is no error.
pub(super) fn remove_if_there(path: &Path) -> Result<(), FetchError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(FetchError::cache("remove", path)(error)),
        _ => Ok(()),
    }
}

/// The hash of the file at `path`, of the kind of `like`, in lower-case hexadecimal.
pub(super) fn hash_of(path: &Path, like: &Digest) -> Result<String, FetchError> {
    let mut file = File::open(path).map_err(FetchError::cache("open", path))?;
    let size = file.metadata().map_err(FetchError::cache("read", path))?.len();
    let mut hasher = Hasher::new(Some(like), Some(size));
    hash_all(&mut file, &mut hasher).map_err(FetchError::cache("read", path))?;
    Ok(hasher.hex())
}

fn hash_all(file: &mut File, hasher: &mut Hasher) -> std::io::Result<u64> {
    let mut len = 0;
    let mut buffer = vec![0; READ_BUFFER];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(len),
            count => {
                hasher.update(&buffer[..count]);
                len += count as u64;
            }
        }
    }
}

fn read_origin(path: &Path) -> Option<Origin> {
    // A record is a few hundred bytes; whatever is longer is none of ours.
    let mut text = Vec::new();
    File::open(path).ok()?.take(1 << 16).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}
