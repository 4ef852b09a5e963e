//! Conformance tests and the `xtask` program.

mod skip;

pub use skip::{SKIP_LOG, skip};
