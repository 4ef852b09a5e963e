//! Content as an answer: type, entity tag, ranges, nothing where the browser has it already.

use std::borrow::Cow;
use std::io::SeekFrom;
use std::ops::Range;
use std::path::PathBuf;

use axum::body::Body;
use axum::http::header::{ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::range::{Wanted, wanted};

/// Bytes read from a file at a time.
const PIECE: usize = 256 << 10;

/// Something to send.
#[derive(Debug)]
pub(super) struct Content {
    /// The bytes.
    pub(super) data: Data,
    /// Its media type.
    pub(super) media_type: &'static str,
    /// A name of exactly these bytes: letters, digits and `-`.
    pub(super) tag: String,
    /// What browsers may do with it later.
    pub(super) cache: &'static str,
}

/// Where the bytes are.
#[derive(Debug)]
pub(super) enum Data {
    /// In memory.
    Held(Cow<'static, [u8]>),
    /// In a file of this size.
    File(PathBuf, u64),
}

/// The media type of a file, from its name.
pub(super) fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "css" => "text/css; charset=utf-8",
        "html" => "text/html; charset=utf-8",
        "ico" => "image/x-icon",
        "jpg" | "jpeg" => "image/jpeg",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" | "map" => "application/json",
        "png" => "image/png",
        "svg" => "image/svg+xml",
        "txt" | "ts" => "text/plain; charset=utf-8",
        "wasm" => "application/wasm",
        "webmanifest" => "application/manifest+json",
        "woff2" => "font/woff2",
        _ => "application/octet-stream",
    }
}

/// The answer to a `GET` or `HEAD` for `content`.
pub(super) async fn answer(method: &Method, headers: &HeaderMap, content: Content) -> Response {
    let tag = format!("\"{}\"", content.tag);
    let mut response = match send(method, headers, &tag, &content).await {
        Ok(response) => response,
        // Removed or damaged since it was looked up.
        Err(error) => return (StatusCode::INTERNAL_SERVER_ERROR, format!("cannot read this file: {error}\n")).into_response(),
    };
    let mut set = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    };
    set(CONTENT_TYPE, content.media_type);
    set(CACHE_CONTROL, content.cache);
    set(ACCEPT_RANGES, "bytes");
    set(ETAG, &tag);
    response
}

async fn send(method: &Method, headers: &HeaderMap, tag: &str, content: &Content) -> std::io::Result<Response> {
    let header = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if header(IF_NONE_MATCH).is_some_and(|tags| names(tags, tag)) {
        return Ok(StatusCode::NOT_MODIFIED.into_response());
    }
    let size = content.data.size();
    // A range of an older file would not fit together with what the browser has.
    let is_same = header(IF_RANGE).is_none_or(|condition| condition == tag);
    let range = header(RANGE).filter(|_| method == Method::GET && is_same);
    let (status, part) = match wanted(range, size) {
        Wanted::Whole => (StatusCode::OK, 0..size),
        Wanted::Part(part) => (StatusCode::PARTIAL_CONTENT, part),
        Wanted::Nothing => {
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, [(CONTENT_RANGE, format!("bytes */{size}"))]).into_response());
        }
    };
    let length = part.end - part.start;
    let range = format!("bytes {}-{}/{size}", part.start, part.end.saturating_sub(1));
    let body = if method == Method::HEAD { Body::empty() } else { content.data.body(part).await? };
    let mut response = (status, [(CONTENT_LENGTH, length.to_string())], body).into_response();
    if status == StatusCode::PARTIAL_CONTENT
        && let Ok(range) = HeaderValue::from_str(&range)
    {
        response.headers_mut().insert(CONTENT_RANGE, range);
    }
    Ok(response)
}

/// Whether a list of entity tags has `tag`, weak or not.
fn names(tags: &str, tag: &str) -> bool {
    tags.trim() == "*" || tags.split(',').any(|one| one.trim().trim_start_matches("W/") == tag)
}

impl Data {
    fn size(&self) -> u64 {
        match self {
            Self::Held(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            Self::File(_, size) => *size,
        }
    }

    /// The bytes of `part`, which lies inside; a file is read while it is sent.
    async fn body(&self, part: Range<u64>) -> std::io::Result<Body> {
        match self {
            Self::Held(bytes) => {
                let at = |offset| usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                let range = at(part.start)..at(part.end);
                Ok(match bytes {
                    Cow::Borrowed(bytes) => Body::from(bytes.get(range).unwrap_or_default()),
                    Cow::Owned(bytes) => Body::from(bytes.get(range).unwrap_or_default().to_vec()),
                })
            }
            Self::File(path, _) => {
                let mut file = tokio::fs::File::open(path).await?;
                file.seek(SeekFrom::Start(part.start)).await?;
                Ok(Body::from_stream(ReaderStream::with_capacity(file.take(part.end - part.start), PIECE)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{media_type, names};

    #[test]
    fn media_types_are_what_browsers_insist_on() {
        for (name, expected) in [
            ("wasm/parhelion_web_bg.wasm", "application/wasm"),
            ("index.js", "text/javascript; charset=utf-8"),
            ("index.html", "text/html; charset=utf-8"),
            ("manifest.webmanifest", "application/manifest+json"),
            ("a.b/c", "application/octet-stream"),
            ("", "application/octet-stream"),
        ] {
            assert_eq!(media_type(name), expected, "{name}");
        }
    }

    #[test]
    fn entity_tags_are_found_in_lists() {
        for tags in ["\"a\"", "W/\"a\"", "\"b\", \"a\"", "*"] {
            assert!(names(tags, "\"a\""), "{tags}");
        }
        for tags in ["", "a", "\"b\"", "\"a", "\"ab\""] {
            assert!(!names(tags, "\"a\""), "{tags}");
        }
    }
}
