//! Requests that go where they should: redirects are followed here, so that the hub's token reaches the hub alone and
//! what the hub says of a file is heard before another host sends the bytes.

use ureq::Agent;
use ureq::http::{HeaderName, Response, Uri, header};
use ureq::tls::{RootCerts, TlsConfig};

use super::Timeouts;

const MAX_REDIRECTS: u32 = 10;

/// An HTTP client with the system's certificates and proxy settings.
pub(super) struct Client {
    agent: Agent,
    hub: Option<(String, String)>,
}

/// An answer that is no redirect.
pub(super) struct Answer {
    /// The answer.
    pub(super) response: Response<ureq::Body>,
    /// What redirects on the way, or the answer itself, said of the file.
    pub(super) linked: Linked,
}

/// What the hub says of a file that another host sends: `x-linked-etag`, `x-linked-size`.
#[derive(Debug, Default)]
pub(super) struct Linked {
    /// The file's hash.
    pub(super) etag: Option<String>,
    /// Its size in bytes.
    pub(super) size: Option<u64>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum RequestError {
    /// The address is none.
    BadUrl,
    /// The redirects lead nowhere that may be gone to.
    Redirect(&'static str),
    /// The connection failed.
    Transport(Box<ureq::Error>),
}

impl Client {
    /// A client that sends `token` to the origin of `endpoint`.
    pub(super) fn new(timeouts: &Timeouts, endpoint: &str, token: Option<&str>) -> Self {
        let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
        let agent = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("parhelion/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(timeouts.connect))
            .timeout_connect(Some(timeouts.connect))
            .timeout_send_request(Some(timeouts.response))
            .timeout_recv_response(Some(timeouts.response))
            .timeout_per_read(Some(timeouts.stall))
            .build()
            .new_agent();
        let hub = token.and_then(|token| Some((origin(&endpoint.parse().ok()?)?, token.to_owned())));
        Self { agent, hub }
    }

    /// Asks for `url` with `headers`, wherever it leads.
    pub(super) fn get(&self, url: &str, headers: &[(HeaderName, String)]) -> Result<Answer, RequestError> {
        let mut at: Uri = url.parse().map_err(|_| RequestError::BadUrl)?;
        origin(&at).ok_or(RequestError::BadUrl)?;
        let mut linked = Linked::default();
        for _ in 0..=MAX_REDIRECTS {
            let response = self.get_once(&at, headers)?;
            linked.hear(&response);
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(Answer { response, linked });
            }
            let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
            let next = location.and_then(|location| resolve(&at, location)).ok_or(RequestError::Redirect("it redirects to no address"))?;
            if at.scheme_str() == Some("https") && next.scheme_str() != Some("https") {
                return Err(RequestError::Redirect("it redirects to an address without encryption"));
            }
            at = next;
        }
        Err(RequestError::Redirect("its redirects do not end"))
    }

    fn get_once(&self, uri: &Uri, headers: &[(HeaderName, String)]) -> Result<Response<ureq::Body>, RequestError> {
        let mut request = self.agent.get(uri).header(header::ACCEPT_ENCODING, "identity");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if let Some((hub, token)) = &self.hub
            && origin(uri).as_ref() == Some(hub)
        {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        request.call().map_err(|error| match error {
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => RequestError::BadUrl,
            error => RequestError::Transport(Box::new(error)),
        })
    }
}

impl Linked {
    fn hear(&mut self, response: &Response<ureq::Body>) {
        let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let etag = text("x-linked-etag").map(|etag| etag.trim().trim_start_matches("W/").trim_matches('"').to_ascii_lowercase());
        self.etag = self.etag.take().or(etag);
        self.size = self.size.or_else(|| text("x-linked-size")?.trim().parse().ok());
    }
}

/// Scheme, host and port of an `http` or `https` address.
fn origin(uri: &Uri) -> Option<String> {
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let default = match scheme.as_str() {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let host = uri.host().filter(|host| !host.is_empty())?.to_ascii_lowercase();
    Some(format!("{scheme}://{host}:{}", uri.port_u16().unwrap_or(default)))
}

/// The address that a `Location` means, seen from `base` (RFC 3986, section 5.2, without dot segments).
fn resolve(base: &Uri, location: &str) -> Option<Uri> {
    let location = location.split('#').next().unwrap_or_default();
    let root = format!("{}://{}", base.scheme_str()?, base.authority()?);
    let absolute = match location {
        "" => return None,
        _ if location.starts_with("//") => format!("{}:{location}", base.scheme_str()?),
        _ if location.starts_with('/') => format!("{root}{location}"),
        _ if location.split(['/', '?']).next().is_some_and(|first| first.contains(':')) => location.to_owned(),
        _ => format!("{root}{}/{location}", base.path().rsplit_once('/').map_or("", |(directory, _)| directory)),
    };
    absolute.parse().ok().filter(|uri| origin(uri).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_compared_with_their_ports() {
        let of = |url: &str| origin(&url.parse().unwrap());
        assert_eq!(of("https://Hub.example/a"), of("https://hub.example:443"));
        assert_ne!(of("https://hub.example"), of("http://hub.example"));
        assert_ne!(of("https://hub.example"), of("https://hub.example:8443"));
        assert_ne!(of("https://hub.example"), of("https://hub.example.evil.example"));
        assert_eq!(of("https://user@hub.example"), of("https://hub.example"));
        assert_eq!(of("ftp://hub.example"), None);
    }

    #[test]
    fn locations_are_resolved() {
        let base: Uri = "https://h:1/a/b?c".parse().unwrap();
        for (location, expected) in [
            ("https://x/y?z", Some("https://x/y?z")),
            ("//x/y", Some("https://x/y")),
            ("/y?z#f", Some("https://h:1/y?z")),
            ("y", Some("https://h:1/a/y")),
            ("", None),
            ("file:///etc/passwd", None),
            ("javascript:x", None),
            ("http://", None),
            ("/a b", None),
        ] {
            assert_eq!(resolve(&base, location), expected.map(|url| url.parse().unwrap()), "{location}");
        }
    }
}
