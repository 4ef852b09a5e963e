//! What the hub is asked: which commit a revision is at, and which files a commit has.

use std::io::Read;
use std::time::Duration;

use serde::Deserialize;
use ureq::http::{HeaderMap, header};

use super::address::{display_url, host};
use super::client::{Answer, Client, RequestError};
use super::error::{FetchError, SourceError, plain_reason};
use super::retry::{Backoff, retry_after};
use super::transfer::{Pace, is_nobody_there};
use super::{Fetcher, job};
use crate::hub::{HubError, HubName, Listing, is_commit};

/// A page of a listing has a thousand files at the most.
const MAX_ANSWER: usize = 32 << 20;
const MAX_PAGES: usize = 1000;

/// Why a repository's model cannot be had.
pub(super) enum Trouble {
    /// The repository, or the hub, is why.
    Hub(HubError),
    /// This machine or its user is why.
    Fatal(FetchError),
}

impl<E: Into<HubError>> From<E> for Trouble {
    fn from(error: E) -> Self {
        Self::Hub(error.into())
    }
}

/// Questions about one repository.
pub(super) struct Api<'a> {
    pub(super) fetcher: &'a Fetcher<'a>,
    pub(super) client: &'a Client,
    pub(super) name: &'a HubName,
}

impl Api<'_> {
    /// The commit that the revision is at.
    pub(super) fn commit(&self) -> Result<String, Trouble> {
        #[derive(Deserialize)]
        struct Info {
            sha: String,
        }
        let url = format!(
            "{}/api/models/{}/revision/{}",
            self.fetcher.settings.hub.endpoint,
            self.name.repository,
            encoded_whole(self.name.revision())
        );
        let (body, _) = self.ask(&url)?;
        let info: Info = serde_json::from_slice(&body).map_err(|error| bad_listing(&url, error.to_string()))?;
        match is_commit(&info.sha) {
            true => Ok(info.sha),
            false => Err(bad_listing(&url, "it names no commit".to_owned()).into()),
        }
    }

    /// All files of a commit.
    pub(super) fn listing(&self, commit: &str) -> Result<Listing, Trouble> {
        let base = format!("{}/api/models/{}/tree/{commit}", self.fetcher.settings.hub.endpoint, self.name.repository);
        let mut url = format!("{base}?recursive=true");
        let mut listing = Listing::default();
        for _ in 0..MAX_PAGES {
            let (body, headers) = self.ask(&url)?;
            listing.add_page(&body).map_err(|reason| bad_listing(&base, reason))?;
            match next_page(&headers) {
                None => return Ok(listing),
                // Further pages are the hub's own: nobody else is asked.
                Some(next) if next.starts_with(&format!("{}/", self.fetcher.settings.hub.endpoint)) => url = next,
                Some(next) => match next.split_once("/api/models/") {
                    Some((_, rest)) => url = format!("{}/api/models/{rest}", self.fetcher.settings.hub.endpoint),
                    None => break,
                },
            }
        }
        Err(bad_listing(&base, "its pages do not end".to_owned()).into())
    }

    /// A small answer of the hub's, with patience for overload.
    fn ask(&self, url: &str) -> Result<(Vec<u8>, HeaderMap), Trouble> {
        let mut backoff = Backoff::new(&self.fetcher.settings.retry_waits);
        loop {
            let (error, rest) = match self.client.get(url, &[]) {
                Ok(answer) => match self.read(answer, url) {
                    Ok(answer) => return Ok(answer),
                    Err((error, rest)) => (error, rest),
                },
                Err(RequestError::BadUrl) => (SourceError::BadUrl { url: display_url(url) }, None),
                Err(RequestError::Redirect(reason)) => (SourceError::Redirect { url: display_url(url), reason }, None),
                Err(RequestError::Transport(error)) => {
                    let reason = SourceError::Unreachable { host: host(url), reason: plain_reason(&error) };
                    if is_nobody_there(&error) {
                        return Err(HubError::Request(reason).into());
                    }
                    (reason, None)
                }
            };
            let passes = matches!(error, SourceError::Unreachable { .. } | SourceError::Status { status: 408 | 429 | 500..=599, .. });
            let Some(wait) = backoff.next(rest).filter(|_| passes) else {
                return Err(refusal(error, self.name, &self.fetcher.settings.hub.endpoint).into());
            };
            self.fetcher.progress.note(&format!("{error}; asking again"));
            job::sleep(wait, &|| self.fetcher.interrupt.is_raised())
                .map_err(|()| Trouble::Fatal(FetchError::Interrupted { bytes_kept: 0 }))?;
        }
    }

    fn read(&self, answer: Answer, url: &str) -> Result<(Vec<u8>, HeaderMap), (SourceError, Option<Duration>)> {
        let headers = answer.response.headers().clone();
        let status = answer.response.status().as_u16();
        if status != 200 {
            return Err((SourceError::status(url, status, &headers), retry_after(&headers)));
        }
        let cut = |reason| (SourceError::Unreachable { host: host(url), reason }, None);
        let mut reader = answer.response.into_body().into_reader();
        let mut pace = Pace::new(self.fetcher.settings.timeouts.stall);
        let mut body = Vec::new();
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = match reader.read(&mut buffer) {
                Ok(0) => return Ok((body, headers)),
                Ok(count) => count,
                Err(error) => return Err(cut(plain_reason(&ureq::Error::from(error)))),
            };
            body.extend_from_slice(&buffer[..count]);
            if body.len() > MAX_ANSWER {
                return Err(cut("its answer does not end".to_owned()));
            }
            if pace.is_too_slow(count) || self.fetcher.interrupt.is_raised() {
                return Err(cut("hardly any bytes came".to_owned()));
            }
        }
    }
}

/// What the hub's refusal means.
pub(super) fn refusal(error: SourceError, name: &HubName, endpoint: &str) -> HubError {
    let SourceError::Status { status, code, message, .. } = &error else {
        return HubError::Request(error);
    };
    let bad_token = message.as_deref().is_some_and(|message| message.contains("Invalid credentials"));
    match (status, code.as_deref()) {
        (_, Some("GatedRepo")) => HubError::Gated { page: format!("{endpoint}/{}", name.repository), message: message.clone() },
        (_, Some("RevisionNotFound")) => HubError::NoRevision { revision: name.revision().to_owned() },
        (_, Some("RepoNotFound")) | (404, None) => HubError::NoRepository,
        // The hub says no more to those whom it does not know.
        (401, _) if !bad_token => HubError::NoRepository,
        (401 | 403, _) => HubError::Refused { status: *status, message: message.clone() },
        _ => HubError::Request(error),
    }
}

fn bad_listing(url: &str, reason: String) -> HubError {
    HubError::BadListing { url: display_url(url), reason: reason.chars().filter(|c| !c.is_control()).take(200).collect() }
}

/// The address of the next page: `Link: <...>; rel="next"` (RFC 8288).
fn next_page(headers: &HeaderMap) -> Option<String> {
    let links = headers.get(header::LINK)?.to_str().ok()?;
    let next = links.split(", <").find(|link| link.contains("rel=\"next\""))?;
    Some(next.trim_start_matches('<').split_once('>')?.0.to_owned())
}

/// `path` as part of an address: what is not plain in it as `%XX`.
pub(super) fn encoded(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/+@,=()!'".contains(&byte);
    path.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// `name` as one component of an address.
fn encoded_whole(name: &str) -> String {
    encoded(name).replace('/', "%2F")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_parts_of_addresses() {
        assert_eq!(encoded("d/a b#c?.gguf"), "d/a%20b%23c%3F.gguf");
        assert_eq!(encoded_whole("refs/pr/1"), "refs%2Fpr%2F1");
    }

    #[test]
    fn next_pages_are_found() {
        let next = |link: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::LINK, link.parse().unwrap());
            next_page(&headers)
        };
        assert_eq!(next("<https://h/a?cursor=x>; rel=\"next\"").as_deref(), Some("https://h/a?cursor=x"));
        assert_eq!(next("<https://h/0>; rel=\"prev\", <https://h/2>; rel=\"next\"").as_deref(), Some("https://h/2"));
        assert_eq!(next("<https://h/0>; rel=\"prev\""), None);
        assert_eq!(next("nonsense rel=\"next\""), None);
    }
}
