//! WGSL kernels, checked and reflected into typed Rust at build time.
//!
//! A kernel is a file of `wgsl/`; what kernels share lies in `wgsl/shared/` and is brought in by `#import`. Every compiled
//! variant is listed in `wgsl/variants.txt`. The build step validates each and generates a module a kernel: its parameters,
//! overrides and bindings as types, and [`Call`]s made of them.

#[cfg(test)]
mod compile;
mod kernel;
mod support;

pub use kernel::*;

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));
