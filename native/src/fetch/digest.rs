//! What a file's bytes should hash to, and the running hash of what has arrived.

use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use crate::cache::hex;

/// What a file's bytes should hash to, in lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Digest {
    /// SHA-256.
    Sha256(String),
    /// The name git gives to a file's contents: SHA-1 over `blob `, the size in decimal, a zero byte, and the bytes.
    GitBlob(String),
}

impl Digest {
    /// The hash written in `hex`, told by its length.
    pub fn from_hex(hex: &str) -> Option<Self> {
        let digits = hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        match hex.len() {
            64 if digits => Some(Self::Sha256(hex.to_owned())),
            40 if digits => Some(Self::GitBlob(hex.to_owned())),
            _ => None,
        }
    }

    /// The hexadecimal digits.
    pub fn hex(&self) -> &str {
        match self {
            Self::Sha256(hex) | Self::GitBlob(hex) => hex,
        }
    }
}

/// A hash of bytes as they come.
#[derive(Clone)]
pub(super) enum Hasher {
    Sha256(Sha256),
    GitBlob(Sha1),
}

impl Hasher {
    /// A hasher of the kind of `digest`, SHA-256 where there is none, for a file of `size` bytes.
    pub(super) fn new(digest: Option<&Digest>, size: Option<u64>) -> Self {
        match digest {
            Some(Digest::GitBlob(_)) => Self::GitBlob(Sha1::new_with_prefix(format!("blob {}\0", size.unwrap_or(0)))),
            Some(Digest::Sha256(_)) | None => Self::Sha256(Sha256::new()),
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::GitBlob(hasher) => hasher.update(bytes),
        }
    }

    /// The hash of all bytes so far, in lower-case hexadecimal.
    pub(super) fn hex(&self) -> String {
        match self {
            Self::Sha256(hasher) => hex(&hasher.clone().finalize()),
            Self::GitBlob(hasher) => hex(&hasher.clone().finalize()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_sha256sum_and_git() {
        let hash = |digest: Option<&Digest>| {
            let mut hasher = Hasher::new(digest, Some(6));
            hasher.update(b"hello");
            hasher.update(b"\n");
            hasher.hex()
        };
        let git = "ce013625030ba8dba906f756967f9e9ca394464a";
        let sha256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        assert_eq!(hash(Digest::from_hex(git).as_ref()), git);
        assert_eq!(hash(Digest::from_hex(sha256).as_ref()), sha256);
        assert_eq!(hash(None), sha256);
        for bad in ["", "ce01", &git.to_uppercase(), "../3625030ba8dba906f756967f9e9ca394464a"] {
            assert_eq!(Digest::from_hex(bad), None, "{bad}");
        }
    }
}
