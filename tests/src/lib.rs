//! Conformance tests and the `xtask` program.

#[cfg(feature = "harness")]
pub mod dequantise;
pub mod fixtures;
#[cfg(feature = "harness")]
pub mod harness;
#[cfg(feature = "harness")]
pub mod models;
#[cfg(feature = "harness")]
pub mod reference;
mod skip;

pub use skip::{SKIP_LOG, skip};
