//! `parhelion serve-web`: the page that runs models in the reader's browser.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::{CommandError, Context};
use crate::cache::Cache;
use crate::serve::{Files, Server, Site};

const EXAMPLES: &str = "\
Examples:
  parhelion serve-web                        the page at http://127.0.0.1:8080/
  parhelion serve-web --port 0               at any free port
  parhelion serve-web --dir web/dist         as it lies in a folder, for work on the page
  parhelion serve-web --host 0.0.0.0         for other machines: put https in front of it

Models fetched with `parhelion models pull` are offered to the page, which then need not fetch them again.
Ctrl-C stops the server.";

/// Serve the page that chats in a browser, on the browser's own GPU
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ServeWebOptions {
    /// Port to listen on; 0 for any that is free
    #[arg(long, short, value_name = "PORT", default_value_t = 8080)]
    port: u16,
    /// Name or address of this machine to listen on
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1")]
    host: String,
    /// Serve the page in this folder instead of the one built into the program
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn run(context: &Context, options: &ServeWebOptions) -> Result<(), CommandError> {
    let site = Site { files: Files::open(options.dir.as_deref())?, cache: Cache::of_user().ok() };
    let listen = |source| CommandError::Listen { address: format!("{}:{}", options.host, options.port), source };
    let server = Server::bind(&options.host, options.port, site).map_err(listen)?;
    let address = server.address().map_err(listen)?;
    if !address.ip().is_loopback() {
        context.notice(
            "browsers offer WebGPU only to pages that come over https or from this machine itself: readers elsewhere need \
             a proxy with https in front of this address",
        );
    }
    writeln!(io::stdout(), "{}", page_address(address))?;
    context.notice("Ctrl-C stops the server");
    server.run(&context.interrupt).map_err(CommandError::Serve)
}

/// Where a browser finds the page.
fn page_address(address: SocketAddr) -> String {
    match address.ip().is_unspecified() {
        true => format!("http://localhost:{}/", address.port()),
        false => format!("http://{address}/"),
    }
}

#[cfg(test)]
mod tests {
    use super::page_address;

    #[test]
    fn the_address_is_one_that_browsers_take() {
        for (address, expected) in [
            ("127.0.0.1:8080", "http://127.0.0.1:8080/"),
            ("[::1]:80", "http://[::1]:80/"),
            ("0.0.0.0:1", "http://localhost:1/"),
            ("[::]:1", "http://localhost:1/"),
        ] {
            assert_eq!(page_address(address.parse().unwrap()), expected);
        }
    }
}
