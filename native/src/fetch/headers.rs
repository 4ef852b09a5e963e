//! What the headers of a download's response say.

use ureq::http::{HeaderMap, Response, header};

use super::transfer::PARTIAL_CONTENT;

/// What `Content-Range: bytes START-END/TOTAL` says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ContentRange {
    /// Offset of the first byte sent.
    pub(super) start: u64,
    /// Size of the whole file, where the server tells it.
    pub(super) total: Option<u64>,
}

/// The `Content-Range` of a response, read strictly.
pub(super) fn content_range(headers: &HeaderMap) -> Option<ContentRange> {
    let value = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (start, end) = range.split_once('-')?;
    let (start, end): (u64, u64) = (start.trim().parse().ok()?, end.trim().parse().ok()?);
    (start <= end).then_some(ContentRange { start, total: total.trim().parse().ok() })
}

/// The size of the whole file, from the headers of a full or partial response.
pub(super) fn total_size(response: &Response<ureq::Body>, already: u64) -> Option<u64> {
    if let Some(range) = content_range(response.headers()) {
        return range.total;
    }
    let length = response.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse::<u64>().ok()?;
    let offset = if response.status().as_u16() == PARTIAL_CONTENT { already } else { 0 };
    length.checked_add(offset)
}

/// What `If-Range` takes: a strong `ETag`, else a `Last-Modified` date.
pub(super) fn validator(headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    text(header::ETAG).filter(|tag| tag.starts_with('"')).or_else(|| text(header::LAST_MODIFIED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read_strictly() {
        let parse = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_RANGE, value.parse().unwrap());
            content_range(&headers)
        };
        assert_eq!(parse("bytes 5-9/10"), Some(ContentRange { start: 5, total: Some(10) }));
        assert_eq!(parse("bytes 5-9/*"), Some(ContentRange { start: 5, total: None }));
        for bad in ["bytes */10", "5-9/10", "bytes 9-5/10", "bytes x-9/10", "bytes 5-99999999999999999999/10", ""] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn weak_tags_are_no_validators() {
        let mut headers = HeaderMap::new();
        headers.insert(header::ETAG, "W/\"a\"".parse().unwrap());
        assert_eq!(validator(&headers), None);
        headers.insert(header::LAST_MODIFIED, "Mon, 01 Jan 2024 00:00:00 GMT".parse().unwrap());
        assert_eq!(validator(&headers).unwrap(), "Mon, 01 Jan 2024 00:00:00 GMT");
        headers.insert(header::ETAG, "\"b\"".parse().unwrap());
        assert_eq!(validator(&headers).unwrap(), "\"b\"");
    }
}
