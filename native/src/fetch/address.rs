//! Addresses as they are shown and remembered: without what may be secret in them.

use sha2::{Digest, Sha256};

use crate::cache::hex;

/// What stands for `url` in a record on the disk: it may hold a secret.
pub(super) fn address_hash(url: &str) -> String {
    hex(&Sha256::digest(url.as_bytes()))
}

/// `url` without user name, password, query and fragment, which may be secrets.
pub(super) fn display_url(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

/// The host (and port) of `url`.
pub(super) fn host(url: &str) -> String {
    let url = display_url(url);
    let rest = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_shown_without_secrets() {
        assert_eq!(display_url("https://u:p@h:8080/a/b.gguf?sig=1#x"), "https://h:8080/a/b.gguf");
        assert_eq!(display_url("https://h?sig=1"), "https://h");
        assert_eq!(host("https://u:p@h:8080/a"), "h:8080");
        assert_eq!(host("no address"), "no address");
    }
}
