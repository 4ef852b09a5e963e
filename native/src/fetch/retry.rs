//! How long to wait before a request is tried again.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, SystemTime};

use ureq::http::{HeaderMap, header};

/// A server that wants a longer rest than this is not waited for.
const LONGEST_REST: Duration = Duration::from_secs(120);
/// So many new bytes show that a server can deliver.
const GAIN: u64 = 64 << 10;

/// The waits of one transfer, starting over whenever it gets on.
pub(super) struct Backoff<'a> {
    waits: &'a [Duration],
    used: usize,
}

impl<'a> Backoff<'a> {
    /// As many retries as `waits`, the n-th of them after the n-th of these, more or less.
    pub(super) fn new(waits: &'a [Duration]) -> Self {
        Self { waits, used: 0 }
    }

    /// Hears that an attempt brought `bytes` new bytes.
    pub(super) fn gained(&mut self, bytes: u64) {
        if bytes >= GAIN {
            self.used = 0;
        }
    }

    /// The time to wait now: as long as the server asks for, at least; none where it has been tried enough.
    ///
    /// Half of each wait is left to chance, so that clients cut off together do not come back together.
    pub(super) fn next(&mut self, asked: Option<Duration>) -> Option<Duration> {
        let wait = *self.waits.get(self.used)?;
        self.used += 1;
        let chance = RandomState::new().hash_one(self.used) as f64 / u64::MAX as f64;
        let wait = wait.mul_f64(0.5 + 0.5 * chance);
        Some(wait.max(asked.unwrap_or_default())).filter(|wait| *wait <= LONGEST_REST)
    }
}

/// The rest that `Retry-After` asks for, in seconds or as a date (RFC 9110, section 10.2.3).
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    // A date in the past asks for nothing.
    Some(httpdate::parse_http_date(value).ok()?.duration_since(SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn waits_grow_and_end_and_start_over_after_a_gain() {
        let waits = [SECOND, 2 * SECOND];
        let mut backoff = Backoff::new(&waits);
        for round in 0..50 {
            for wait in waits {
                let next = backoff.next(None).unwrap();
                assert!(next >= wait / 2 && next <= wait, "{round}: {next:?}");
            }
            assert_eq!(backoff.next(None), None);
            backoff.gained(100);
            assert_eq!(backoff.next(None), None, "a few bytes are no gain");
            backoff.gained(1 << 20);
        }
    }

    #[test]
    fn servers_are_given_the_rest_they_ask_for() {
        let waits = [SECOND; 3];
        let mut backoff = Backoff::new(&waits);
        assert_eq!(backoff.next(Some(30 * SECOND)), Some(30 * SECOND));
        assert_eq!(backoff.next(Some(3600 * SECOND)), None);
        let asks = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, value.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(asks("120"), Some(120 * SECOND));
        assert_eq!(asks("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        let date = httpdate::fmt_http_date(SystemTime::now() + 60 * SECOND);
        assert!(asks(&date).is_some_and(|rest| rest > 50 * SECOND && rest <= 60 * SECOND));
        for bad in ["", "soon", "-1", "1.5"] {
            assert_eq!(asks(bad), None, "{bad}");
        }
        assert_eq!(asks("99999999999999999999999"), Some(Duration::from_secs(u64::MAX)));
    }
}
