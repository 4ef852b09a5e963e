//! A file over HTTP that goes on where it stopped: within one run after a cut, and in the next run.
//!
//! `Range` asks for the rest, `If-Range` makes the server send the whole file where it has changed since
//! (RFC 9110, sections 13.1.5 and 14.2). A server that ignores ranges answers 200, and the file starts over.

use std::io::Read;
use std::time::{Duration, Instant};

use ureq::http::{HeaderMap, HeaderName, header};

use super::address::{address_hash, display_url, host};
use super::client::{Answer, Client, RequestError};
use super::error::{Failure, FetchError, SourceError, plain_reason};
use super::headers::{content_range, total_size, validator};
use super::job::{Job, require_space};
use super::part::{Origin, Part};
use super::retry::{Backoff, retry_after};

const BUFFER: usize = 256 << 10;
const OK: u16 = 200;
/// The status of a response that holds a range.
pub(super) const PARTIAL_CONTENT: u16 = 206;
const RANGE_NOT_SATISFIABLE: u16 = 416;
/// A server slower than so many bytes a second has stalled.
const SLOWEST: f64 = 1024.0;

/// One file over HTTP.
pub(super) struct Download<'a> {
    /// The client.
    pub(super) client: &'a Client,
    /// Waits between attempts; see [`Backoff`].
    pub(super) retry_waits: &'a [Duration],
    /// The time without news after which a transfer counts as cut.
    pub(super) stall: Duration,
    /// The address.
    pub(super) url: &'a str,
    /// Whether nobody else has the file: then a server that does not answer is asked again.
    pub(super) last_hope: bool,
}

/// How one request ended short of the whole file.
enum Ended {
    /// All bytes are there.
    Whole,
    /// The part does not fit the server's file: it was emptied, and another request starts over.
    StartOver(&'static str),
    /// The connection broke, before or after some bytes, or the server wants a rest.
    Cut(Cut),
}

struct Cut {
    reason: String,
    /// The server's answer, where it was an error.
    status: Option<SourceError>,
    /// The rest it asks for.
    rest: Option<Duration>,
    /// Whether another attempt is in vain: nobody is there.
    final_: bool,
}

impl Cut {
    fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), status: None, rest: None, final_: false }
    }
}

impl Download<'_> {
    /// Appends to `part` until it holds the whole file. The hash is the caller's to check.
    pub(super) fn run(&self, job: &Job<'_>, part: &mut Part) -> Result<(), Failure> {
        self.forget_foreign_part(job, part)?;
        let mut backoff = Backoff::new(self.retry_waits);
        let mut start_overs = 0;
        let mut answered = false;
        loop {
            let before = part.len();
            match self.request(job, part)? {
                Ended::Whole => return Ok(()),
                Ended::StartOver(why) => {
                    answered = true;
                    start_overs += 1;
                    if start_overs > 2 {
                        return Err(self.broken(part, why.to_owned()));
                    }
                    job.progress.note(&format!("{}: starting over: {why}", job.wanted.name));
                }
                Ended::Cut(cut) => {
                    answered |= part.len() > before;
                    backoff.gained(part.len().saturating_sub(before));
                    self.rest(job, part, &mut backoff, cut, answered)?;
                }
            }
        }
    }

    /// Waits before the next attempt, or gives up.
    fn rest(&self, job: &Job<'_>, part: &Part, backoff: &mut Backoff<'_>, cut: Cut, answered: bool) -> Result<(), Failure> {
        if !answered && (cut.final_ || !self.last_hope) {
            return Err(match cut.status {
                Some(status) => status,
                None => SourceError::Unreachable { host: host(self.url), reason: cut.reason },
            }
            .into());
        }
        let Some(wait) = backoff.next(cut.rest) else {
            return Err(match cut.status {
                Some(status) if part.len() == 0 => status.into(),
                None if !answered => SourceError::Unreachable { host: host(self.url), reason: cut.reason }.into(),
                _ => self.broken(part, cut.reason),
            });
        };
        let next = match wait.as_secs() {
            0 => "going on".to_owned(),
            seconds => format!("going on in {seconds} s"),
        };
        job.progress.note(&format!("{} broke off ({}); {next}", job.wanted.name, cut.reason));
        job.sleep(wait).map_err(|()| interrupted(part).into())
    }

    /// Empties a part that came from elsewhere, or that nothing could tell from another version of the file.
    fn forget_foreign_part(&self, job: &Job<'_>, part: &mut Part) -> Result<(), FetchError> {
        let has_digest = job.wanted.digest.is_some();
        let origin = part.origin();
        let checkable = if part.is_recorded() {
            origin.address == address_hash(self.url) && (origin.validator.is_some() || has_digest)
        } else {
            has_digest
        };
        let too_long = job.wanted.size.is_some_and(|size| part.len() > size);
        if part.len() > 0 && (!checkable || too_long) {
            part.restart()?;
        }
        Ok(())
    }

    fn request(&self, job: &Job<'_>, part: &mut Part) -> Result<Ended, Failure> {
        // Where the bytes are not recorded with their origin, the digest decides, and the size is known with it.
        let total = part.origin().total.or(job.wanted.size.filter(|_| !part.is_recorded()));
        if total == Some(part.len()) && (part.len() > 0 || !part.is_recorded()) {
            return Ok(Ended::Whole);
        }
        let mut headers: Vec<(HeaderName, String)> = Vec::new();
        if part.len() > 0 {
            headers.push((header::RANGE, format!("bytes={}-", part.len())));
            // Mirrors of one file may tag it differently, so the tag has a say only where there is no digest to ask.
            headers.extend(part.origin().validator.clone().filter(|_| part.is_recorded()).map(|tag| (header::IF_RANGE, tag)));
        }
        let answer = match self.client.get(self.url, &headers) {
            Ok(answer) => answer,
            Err(RequestError::BadUrl) => return Err(SourceError::BadUrl { url: display_url(self.url) }.into()),
            Err(RequestError::Redirect(reason)) => {
                return Err(SourceError::Redirect { url: display_url(self.url), reason }.into());
            }
            Err(RequestError::Transport(error)) => {
                return Ok(Ended::Cut(Cut { final_: is_nobody_there(&error), ..Cut::new(plain_reason(&error)) }));
            }
        };
        match answer.response.status().as_u16() {
            OK | PARTIAL_CONTENT => self.receive(job, part, answer),
            RANGE_NOT_SATISFIABLE if part.len() > 0 => {
                part.restart()?;
                Ok(Ended::StartOver("the server's file is shorter than what had arrived"))
            }
            // Overload passes: it is worth the wait.
            status @ (408 | 429 | 500..=599) => {
                let headers = answer.response.headers();
                let error = SourceError::status(self.url, status, headers);
                Ok(Ended::Cut(Cut { status: Some(error), rest: retry_after(headers), ..Cut::new(format!("the server answered {status}")) }))
            }
            status => Err(SourceError::status(self.url, status, answer.response.headers()).into()),
        }
    }

    fn receive(&self, job: &Job<'_>, part: &mut Part, answer: Answer) -> Result<Ended, Failure> {
        self.refuse_another_file(job, &answer)?;
        let response = answer.response;
        let headers = response.headers();
        self.refuse_other_content(headers)?;
        let total = total_size(&response, part.len());
        let origin = Origin { address: address_hash(self.url), validator: validator(headers), total };
        if response.status().as_u16() == PARTIAL_CONTENT {
            let continues = content_range(headers).is_some_and(|range| range.start == part.len());
            let known = part.origin().total;
            if !continues || (part.len() > 0 && known.is_some() && origin.total != known) {
                part.restart()?;
                return Ok(Ended::StartOver("the server's file is another one than before"));
            }
            part.resume();
        } else if part.len() > 0 {
            let unchanged = origin.validator.is_some() && origin.validator == part.origin().validator;
            let why = if unchanged { "the server cannot go on in mid-file" } else { "the server's file has changed" };
            job.progress.note(&format!("{}: starting over: {why}", job.wanted.name));
            part.restart()?;
        }
        // A file whose hash and size are known needs no length: a cut shows.
        let Some(total) = origin.total.or(job.wanted.size.filter(|_| job.wanted.digest.is_some())) else {
            return Err(SourceError::UnknownSize { url: display_url(self.url) }.into());
        };
        if let Some(expected) = job.wanted.size.filter(|expected| *expected != total) {
            return Err(SourceError::Size { origin: display_url(self.url), expected, got: total }.into());
        }
        require_space(job.directory(), total.saturating_sub(part.len()))?;
        part.set_origin(Origin { total: Some(total), ..origin })?;
        self.copy_body(job, part, response.into_body(), total)
    }

    fn copy_body(&self, job: &Job<'_>, part: &mut Part, body: ureq::Body, total: u64) -> Result<Ended, Failure> {
        let mut body = body.into_reader();
        let mut buffer = vec![0; BUFFER];
        let _ended = job.begin_step(&host(self.url), Some(total), part.len());
        let mut pace = Pace::new(self.stall);
        while part.len() < total {
            if (job.stopped)() {
                return Err(interrupted(part).into());
            }
            let room = usize::try_from(total - part.len()).unwrap_or(usize::MAX).min(BUFFER);
            let wanted = &mut buffer[..room];
            // The first bytes are looked at before any is kept, so they must all be there.
            let read = if part.len() == 0 { read_start(&mut body, wanted) } else { body.read(wanted) };
            match read {
                Ok(0) => return Ok(Ended::Cut(Cut::new("the server closed the connection"))),
                Ok(count) => {
                    if part.len() == 0 {
                        self.refuse_other_start(job, &buffer[..count])?;
                    }
                    part.append(&buffer[..count])?;
                    job.progress.reached(part.len());
                    if pace.is_too_slow(count) {
                        return Ok(Ended::Cut(Cut::new("hardly any bytes came")));
                    }
                }
                Err(error) => return Ok(Ended::Cut(Cut::new(plain_reason(&ureq::Error::from(error))))),
            }
        }
        Ok(Ended::Whole)
    }

    /// Refuses what the hub itself says is another file than the one listed.
    fn refuse_another_file(&self, job: &Job<'_>, answer: &Answer) -> Result<(), SourceError> {
        if let (Some(expected), Some(got)) = (job.wanted.size, answer.linked.size)
            && expected != got
        {
            return Err(SourceError::Size { origin: display_url(self.url), expected, got });
        }
        match (&job.wanted.digest, &answer.linked.etag) {
            (Some(expected), Some(got)) if got.len() == expected.hex().len() && got != expected.hex() => {
                Err(SourceError::Hash { origin: display_url(self.url), expected: expected.hex().to_owned(), got: got.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Refuses a web page or an encoded body by its headers.
    fn refuse_other_content(&self, headers: &HeaderMap) -> Result<(), SourceError> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let kind = text(header::CONTENT_TYPE).to_ascii_lowercase();
        if kind.starts_with("text/html") || kind.starts_with("application/xhtml") {
            return Err(self.not_a_model("a web page"));
        }
        let encoding = text(header::CONTENT_ENCODING);
        if !encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity") {
            return Err(self.not_a_model("a compressed body"));
        }
        Ok(())
    }

    /// Refuses a file that does not start as its name promises.
    fn refuse_other_start(&self, job: &Job<'_>, start: &[u8]) -> Result<(), SourceError> {
        let gguf = job.wanted.name.to_ascii_lowercase().ends_with(".gguf");
        if !gguf || start.starts_with(b"GGUF") {
            return Ok(());
        }
        let first = start.iter().find(|byte| !byte.is_ascii_whitespace());
        Err(self.not_a_model(if first == Some(&b'<') { "a web page" } else { "something that is not GGUF" }))
    }

    fn not_a_model(&self, got: &str) -> SourceError {
        SourceError::NotAModel { url: display_url(self.url), got: got.to_owned() }
    }

    fn broken(&self, part: &Part, reason: String) -> Failure {
        SourceError::Broken { host: host(self.url), at: part.len(), reason }.into()
    }
}

/// Tells a transfer that only trickles.
pub(super) struct Pace {
    window: Duration,
    since: Instant,
    bytes: f64,
}

impl Pace {
    pub(super) fn new(window: Duration) -> Self {
        Self { window, since: Instant::now(), bytes: 0.0 }
    }

    /// Hears of `count` more bytes; whether the last window brought too few.
    pub(super) fn is_too_slow(&mut self, count: usize) -> bool {
        self.bytes += count as f64;
        let elapsed = self.since.elapsed();
        if elapsed < self.window {
            return false;
        }
        let slow = self.bytes < SLOWEST * elapsed.as_secs_f64();
        *self = Self::new(self.window);
        slow
    }
}

fn interrupted(part: &Part) -> FetchError {
    FetchError::Interrupted { bytes_kept: part.len() }
}

/// Reads until at least four bytes are there or the body ends.
fn read_start(body: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut have = 0;
    while have < buffer.len().min(4) {
        match body.read(&mut buffer[have..])? {
            0 => break,
            count => have += count,
        }
    }
    Ok(have)
}

/// Whether a connection failed because nobody takes it, which no waiting mends.
pub(super) fn is_nobody_there(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::HostNotFound => true,
        ureq::Error::Io(error) => error.kind() == std::io::ErrorKind::ConnectionRefused || error.to_string().contains("lookup address"),
        _ => false,
    }
}
