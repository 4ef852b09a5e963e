//! Conformance tests and the `xtask` program.

#[cfg(feature = "harness")]
pub mod dequantise;
pub mod fixtures;
#[cfg(feature = "harness")]
pub mod harness;
#[cfg(feature = "harness")]
pub mod models;
mod skip;

pub use skip::{SKIP_LOG, skip};
