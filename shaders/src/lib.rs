//! WGSL kernels, checked and reflected into typed Rust at build time.

mod kernel;

pub use kernel::*;
