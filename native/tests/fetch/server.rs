//! An HTTP server on this machine that misbehaves as told.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a client asked for: header names in lower case.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
}

impl Request {
    /// The N of `Range: bytes=N-`.
    pub(crate) fn range_start(&self) -> Option<usize> {
        self.headers.get("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

/// What the server does with a request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    /// Close the connection after this many bytes of the body.
    pub(crate) cut_after: Option<usize>,
    /// Then keep it open without a byte for so long.
    pub(crate) silence: Option<Duration>,
    /// Send so many bytes at a time, this long apart.
    pub(crate) pace: Option<(usize, Duration)>,
}

impl Reply {
    pub(crate) fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// The whole of `body`.
    pub(crate) fn whole(body: &[u8], etag: &str) -> Self {
        Self { status: 200, headers: vec![("ETag", etag.to_owned())], body: body.to_vec(), ..Self::default() }
    }

    /// What a correct server sends: the rest where `Range` and `If-Range` allow it, else the whole.
    pub(crate) fn correct(request: &Request, body: &[u8], etag: &str) -> Self {
        let unchanged = request.headers.get("if-range").is_none_or(|validator| validator == etag);
        match request.range_start().filter(|_| unchanged) {
            None => Self::whole(body, etag),
            Some(start) if start >= body.len() => Self::status(416),
            Some(start) => Self {
                status: 206,
                headers: vec![("ETag", etag.to_owned()), ("Content-Range", format!("bytes {start}-{}/{}", body.len() - 1, body.len()))],
                body: body[start..].to_vec(),
                ..Self::default()
            },
        }
    }

    /// With another header.
    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn pace(mut self, bytes: usize, apart: Duration) -> Self {
        self.pace = Some((bytes, apart));
        self
    }

    pub(crate) fn cut_after(mut self, bytes: usize) -> Self {
        self.cut_after = Some(bytes);
        self
    }
}

/// A running server. It ends with the test process.
pub(crate) struct Server {
    address: String,
    requests: Arc<Mutex<Vec<Request>>>,
    sent: Arc<Mutex<HashMap<usize, usize>>>,
}

impl Server {
    /// Answers the n-th request (from 0) with `answer(request, n)`.
    pub(crate) fn start(answer: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        let sent = Arc::new(Mutex::new(HashMap::new()));
        let count = Arc::clone(&sent);
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, answer, count) = (Arc::clone(&log), Arc::clone(&answer), Arc::clone(&count));
                std::thread::spawn(move || serve(stream, &log, &count, answer.as_ref()));
            }
        });
        Self { address, requests, sent }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.address)
    }

    pub(crate) fn address(&self) -> String {
        self.address.clone()
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// Bytes of the body that the n-th request was sent.
    pub(crate) fn sent(&self, index: usize) -> usize {
        self.sent.lock().unwrap().get(&index).copied().unwrap_or(0)
    }
}

fn serve(stream: TcpStream, log: &Mutex<Vec<Request>>, sent: &Mutex<HashMap<usize, usize>>, answer: &dyn Fn(&Request, usize) -> Reply) {
    let Some(request) = read_request(&stream) else {
        return;
    };
    let index = {
        let mut log = log.lock().unwrap();
        log.push(request.clone());
        log.len() - 1
    };
    let mut count = |bytes| *sent.lock().unwrap().entry(index).or_default() += bytes;
    let _ = write_reply(stream, &answer(&request, index), &mut count);
}

fn read_request(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let path = lines.next()?.ok()?.split(' ').nth(1)?.to_owned();
    let mut headers = HashMap::new();
    for line in lines {
        let line = line.ok()?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    Some(Request { path, headers })
}

fn write_reply(mut stream: TcpStream, reply: &Reply, count: &mut dyn FnMut(usize)) -> std::io::Result<()> {
    let has_length = reply.headers.iter().any(|(name, _)| *name == "Content-Length" || *name == "Transfer-Encoding");
    let mut head = format!("HTTP/1.1 {} Status\r\nConnection: close\r\n", reply.status);
    if !has_length {
        head.push_str(&format!("Content-Length: {}\r\n", reply.body.len()));
    }
    for (name, value) in reply.headers.iter().filter(|(_, value)| !value.is_empty()) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    let sent = reply.cut_after.unwrap_or(reply.body.len()).min(reply.body.len());
    let (size, apart) = reply.pace.unwrap_or((reply.body.len().max(1), Duration::ZERO));
    for piece in reply.body[..sent].chunks(size) {
        stream.write_all(piece)?;
        stream.flush()?;
        count(piece.len());
        std::thread::sleep(apart);
    }
    if let Some(silence) = reply.silence {
        std::thread::sleep(silence);
    }
    stream.shutdown(Shutdown::Both)
}
