//! A file over HTTP that goes on where it stopped: within one run after a cut, and in the next run.
//!
//! `Range` asks for the rest, `If-Range` makes the server send the whole file where it has changed since
//! (RFC 9110, sections 13.1.5 and 14.2). A server that ignores ranges answers 200, and the file starts over.

use std::io::Read;
use std::time::Duration;

use ureq::Agent;
use ureq::http::{HeaderMap, Response, header};
use ureq::tls::{RootCerts, TlsConfig};

use super::address::{address_hash, display_url, host};
use super::error::{Failure, FetchError, SourceError};
use super::headers::{content_range, total_size, validator};
use super::part::{Origin, Part};
use super::{Job, Timeouts};

const BUFFER: usize = 256 << 10;
const OK: u16 = 200;
/// The status of a response that holds a range.
pub(super) const PARTIAL_CONTENT: u16 = 206;
const RANGE_NOT_SATISFIABLE: u16 = 416;

/// An HTTP client with the limits of `timeouts`, the system's certificates and the system's proxy settings.
pub(super) fn agent(timeouts: &Timeouts) -> Agent {
    let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
    Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        .user_agent(concat!("parhelion/", env!("CARGO_PKG_VERSION")))
        .timeout_resolve(Some(timeouts.connect))
        .timeout_connect(Some(timeouts.connect))
        .timeout_send_request(Some(timeouts.response))
        .timeout_recv_response(Some(timeouts.response))
        .timeout_per_read(Some(timeouts.stall))
        .build()
        .new_agent()
}

/// One file over HTTP.
pub(super) struct Download<'a> {
    /// The client.
    pub(super) agent: &'a Agent,
    /// Waits between attempts: after a cut, the n-th retry without a new byte waits the n-th of these.
    pub(super) retry_waits: &'a [Duration],
    /// The address.
    pub(super) url: &'a str,
    /// A bearer token for it.
    pub(super) token: Option<&'a str>,
}

/// How one request ended short of the whole file.
enum Ended {
    /// All bytes are there.
    Whole,
    /// The part does not fit the server's file: it was emptied, and another request starts over.
    StartOver(&'static str),
    /// The connection broke, before or after some bytes.
    Cut(String),
}

impl Download<'_> {
    /// Appends to `part` until it holds the whole file. The hash is the caller's to check.
    pub(super) fn run(&self, job: &Job<'_>, part: &mut Part) -> Result<(), Failure> {
        self.forget_foreign_part(job, part)?;
        let mut retries = self.retry_waits.iter();
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
                    job.progress.note(&format!("starting over: {why}"));
                }
                Ended::Cut(reason) => {
                    if part.len() > before {
                        answered = true;
                        retries = self.retry_waits.iter();
                    }
                    // A server that has not answered yet is given up at once: the next source may be there.
                    if !answered {
                        return Err(SourceError::Unreachable { host: host(self.url), reason }.into());
                    }
                    let Some(wait) = retries.next() else {
                        return Err(self.broken(part, reason));
                    };
                    job.progress.note(&format!("the transfer broke off ({reason}); going on"));
                    job.sleep(*wait).map_err(|()| interrupted(part))?;
                }
            }
        }
    }

    /// Empties a part that came from elsewhere, or that nothing could tell from another version of the file.
    fn forget_foreign_part(&self, job: &Job<'_>, part: &mut Part) -> Result<(), FetchError> {
        let origin = part.origin();
        let same_address = origin.address == address_hash(self.url);
        let checkable = origin.validator.is_some() || job.model.sha256.is_some();
        let too_long = job.model.bytes.is_some_and(|bytes| part.len() > bytes);
        if part.len() > 0 && !(same_address && checkable && !too_long) {
            part.restart()?;
        }
        Ok(())
    }

    fn request(&self, job: &Job<'_>, part: &mut Part) -> Result<Ended, Failure> {
        if part.len() > 0 && part.origin().total == Some(part.len()) {
            return Ok(Ended::Whole);
        }
        let mut request = self.agent.get(self.url).header(header::ACCEPT_ENCODING, "identity");
        if let Some(token) = self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if part.len() > 0 {
            request = request.header(header::RANGE, format!("bytes={}-", part.len()));
            if let Some(validator) = &part.origin().validator {
                request = request.header(header::IF_RANGE, validator);
            }
        }
        let response = match request.call() {
            Ok(response) => response,
            Err(ureq::Error::BadUri(_) | ureq::Error::Http(_)) => {
                return Err(SourceError::BadUrl { url: display_url(self.url) }.into());
            }
            Err(error) => return Ok(Ended::Cut(plain_reason(&error))),
        };
        match response.status().as_u16() {
            OK | PARTIAL_CONTENT => self.receive(job, part, response),
            RANGE_NOT_SATISFIABLE if part.len() > 0 => {
                part.restart()?;
                Ok(Ended::StartOver("the server's file is shorter than what had arrived"))
            }
            // Overload passes; with bytes in hand it is worth the wait.
            status @ (429 | 500..=599) if part.len() > 0 => Ok(Ended::Cut(format!("the server answered {status}"))),
            status => Err(SourceError::Status { url: display_url(self.url), status }.into()),
        }
    }

    fn receive(&self, job: &Job<'_>, part: &mut Part, response: Response<ureq::Body>) -> Result<Ended, Failure> {
        let headers = response.headers();
        self.refuse_other_content(headers)?;
        let origin = Origin { address: address_hash(self.url), validator: validator(headers), total: total_size(&response, part.len()) };
        if response.status().as_u16() == PARTIAL_CONTENT {
            let continues = content_range(headers).is_some_and(|range| range.start == part.len());
            if !continues || (part.len() > 0 && origin.total != part.origin().total) {
                part.restart()?;
                return Ok(Ended::StartOver("the server's file is another one than before"));
            }
        } else if part.len() > 0 {
            let unchanged = origin.validator.is_some() && origin.validator == part.origin().validator;
            let why = if unchanged { "the server cannot go on in mid-file" } else { "the server's file has changed" };
            job.progress.note(&format!("starting over: {why}"));
            part.restart()?;
        }
        let Some(total) = origin.total else {
            return Err(SourceError::UnknownSize { url: display_url(self.url) }.into());
        };
        if let Some(expected) = job.model.bytes.filter(|expected| *expected != total) {
            return Err(SourceError::Size { origin: display_url(self.url), expected, got: total }.into());
        }
        job.require_space(total.saturating_sub(part.len()))?;
        part.set_origin(origin)?;
        self.copy_body(job, part, response, total)
    }

    fn copy_body(&self, job: &Job<'_>, part: &mut Part, response: Response<ureq::Body>, total: u64) -> Result<Ended, Failure> {
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; BUFFER];
        let _ended = job.begin_step(&host(self.url), Some(total), part.len());
        while part.len() < total {
            if job.interrupt.is_raised() {
                return Err(interrupted(part).into());
            }
            let room = usize::try_from(total - part.len()).unwrap_or(usize::MAX).min(BUFFER);
            let wanted = &mut buffer[..room];
            // The first bytes are looked at before any is kept, so they must all be there.
            let read = if part.len() == 0 { read_start(&mut body, wanted) } else { body.read(wanted) };
            match read {
                Ok(0) => return Ok(Ended::Cut("the server closed the connection".to_owned())),
                Ok(count) => {
                    if part.len() == 0 {
                        self.refuse_other_start(job, &buffer[..count])?;
                    }
                    part.append(&buffer[..count])?;
                    job.progress.reached(part.len());
                }
                Err(error) => return Ok(Ended::Cut(plain_reason(&ureq::Error::from(error)))),
            }
        }
        Ok(Ended::Whole)
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
        let gguf = job.model.file_name.to_ascii_lowercase().ends_with(".gguf");
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

/// The reason of a failed transfer in plain words.
fn plain_reason(error: &ureq::Error) -> String {
    match error {
        ureq::Error::HostNotFound => "its name does not resolve".to_owned(),
        ureq::Error::Timeout(ureq::Timeout::Resolve) => "its name did not resolve in time".to_owned(),
        ureq::Error::Timeout(ureq::Timeout::Connect) => "no connection in time".to_owned(),
        ureq::Error::Timeout(_) => "no answer in time".to_owned(),
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => "the server closed the connection".to_owned(),
        // The resolver's own failure has no kind of its own.
        ureq::Error::Io(error) if error.to_string().contains("lookup address") => "its name does not resolve".to_owned(),
        ureq::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}
