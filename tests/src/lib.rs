//! Conformance tests and the `xtask` program.

pub mod fixtures;
mod skip;

pub use skip::{SKIP_LOG, skip};
