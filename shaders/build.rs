//! Compiles `wgsl/` into the typed Rust that `src/lib.rs` includes.

use std::{env, path::PathBuf, process::ExitCode};

#[path = "src/compile/mod.rs"]
mod compile;

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=wgsl");
    println!("cargo::rerun-if-changed=src/compile");
    let folder = |variable: &str| env::var_os(variable).map(PathBuf::from).unwrap_or_default();
    match compile::compile(&folder("CARGO_MANIFEST_DIR").join("wgsl"), &folder("OUT_DIR")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("cargo::error=shaders/wgsl/{error}");
            ExitCode::FAILURE
        }
    }
}
