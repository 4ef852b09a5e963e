//! Conformance tests and the `xtask` program.

pub mod fixtures;
#[cfg(feature = "harness")]
pub mod harness;
mod skip;

pub use skip::{SKIP_LOG, skip};
