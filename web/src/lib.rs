//! parhelion in the browser: the engine's [`Session`](parhelion::session::Session) for JavaScript.
//!
//! The module runs in a dedicated worker. `web/ts` wraps it in the API that pages use: what is here is as thin as the border
//! between the languages allows, and computes nothing that `Session` does not.

#![cfg(target_arch = "wasm32")]

mod device;
mod error;
mod kernels;
mod load;
mod model;
mod repository;
mod request;
mod source;

pub use device::adapters;
pub use kernels::check_kernels;
pub use model::{Cancel, Model};
pub use repository::{ByteRepository, Checkpoint};
pub use source::ByteSource;

use sha2::Digest;
use wasm_bindgen::prelude::wasm_bindgen;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = console, js_name = error)]
    fn console_error(message: &str);
}

/// Called once when the module is ready: panics, which JavaScript sees as a bare `unreachable`, say on the console what they are.
#[wasm_bindgen(start)]
fn start() {
    std::panic::set_hook(Box::new(|panic| console_error(&panic.to_string())));
}

/// The engine's version.
#[wasm_bindgen]
pub fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

/// The models known by name, as JSON: `[{id, title, license, fileName, bytes, sha256, urls}]`.
#[wasm_bindgen]
pub fn catalogue() -> String {
    parhelion_loader::catalogue::to_json()
}

/// SHA-256 of bytes that come one piece after another; browsers offer it for whole buffers only.
#[wasm_bindgen]
#[derive(Debug, Default)]
pub struct Sha256(sha2::Sha256);

#[wasm_bindgen]
impl Sha256 {
    /// The hash of nothing yet.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of all bytes added, in lower-case hexadecimal. It starts anew after this.
    pub fn finish(&mut self) -> String {
        self.0.finalize_reset().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
