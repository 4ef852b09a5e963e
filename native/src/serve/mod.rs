//! The page, and the models that are on this machine, over HTTP.
//!
//! Nothing is written and nothing is run: requests read files of the page and finished models of the cache, `GET` and
//! `HEAD` alone.

mod answer;
mod files;
mod models;
mod range;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::{ALLOW, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;

use self::answer::{Content, answer};
pub use self::files::{Files, NoPage};
use crate::cache::Cache;
use crate::interrupt::Interrupt;

/// What pages may do: run what this server sends, WebAssembly included, and fetch weights from anywhere.
pub const CONTENT_POLICY: &str = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; \
    connect-src 'self' https: http:; style-src 'self'; img-src 'self' data: blob:";

/// Sent with every answer.
const HEADERS: [(HeaderName, &str); 3] =
    [(CONTENT_SECURITY_POLICY, CONTENT_POLICY), (X_CONTENT_TYPE_OPTIONS, "nosniff"), (REFERRER_POLICY, "no-referrer")];

const INTERRUPT_POLL: Duration = Duration::from_millis(100);
/// How long answers under way may go on once the server is to stop.
const GRACE: Duration = Duration::from_secs(1);

/// What is served.
#[derive(Debug, Clone)]
pub struct Site {
    /// The page.
    pub files: Files,
    /// Where models are, if this user has a cache.
    pub cache: Option<Cache>,
}

/// A server that has its address and does not answer yet.
#[derive(Debug)]
pub struct Server {
    listener: std::net::TcpListener,
    site: Site,
}

impl Server {
    /// Takes `port` of `host`, a name or an address of this machine; port 0 takes any that is free.
    ///
    /// # Errors
    /// Where the port is taken or the host is not of this machine.
    pub fn bind(host: &str, port: u16, site: Site) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((host, port))?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, site })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// Where the system does not tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers requests until `interrupt` is raised.
    ///
    /// # Errors
    /// Where the system refuses what a server needs.
    pub fn run(self, interrupt: &Interrupt) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let interrupt = interrupt.clone();
        let result = runtime.block_on(async move {
            let listener = TcpListener::from_std(self.listener)?;
            let stopped = raised(interrupt.clone());
            let serve = axum::serve(listener, router(self.site)).with_graceful_shutdown(stopped);
            let over = async {
                raised(interrupt).await;
                tokio::time::sleep(GRACE).await;
            };
            tokio::select! {
                result = serve => result,
                () = over => Ok(()),
            }
        });
        runtime.shutdown_timeout(GRACE);
        result
    }
}

async fn raised(interrupt: Interrupt) {
    while !interrupt.is_raised() {
        tokio::time::sleep(INTERRUPT_POLL).await;
    }
}

/// The routes. Paths are looked up by hand: what is not a plain name of something served is not found.
pub fn router(site: Site) -> Router {
    Router::new().fallback(handle).with_state(site)
}

async fn handle(State(site): State<Site>, request: Request<axum::body::Body>) -> Response {
    let mut response = match *request.method() {
        Method::GET | Method::HEAD => match find(&site, request.uri().path()).await {
            Some(content) => answer(request.method(), request.headers(), content).await,
            None => (StatusCode::NOT_FOUND, "there is nothing here\n").into_response(),
        },
        _ => (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, "GET, HEAD")], "only GET and HEAD\n").into_response(),
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// What lies at `path` of an address, percent signs as they came: no name that is served needs any.
async fn find(site: &Site, path: &str) -> Option<Content> {
    let path = path.strip_prefix('/')?;
    match path.strip_prefix("models/") {
        Some("index.json") => models::index(site.cache.as_ref()),
        Some(name) => models::file(site.cache.as_ref()?, name),
        None if path.is_empty() => site.files.find("index.html").await,
        None => site.files.find(path).await,
    }
}
