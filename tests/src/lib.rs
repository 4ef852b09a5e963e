//! Conformance tests and the `xtask` program.

#[cfg(feature = "harness")]
pub mod dequantise;
pub mod fixtures;
#[cfg(feature = "harness")]
pub mod harness;
mod skip;

pub use skip::{SKIP_LOG, skip};
