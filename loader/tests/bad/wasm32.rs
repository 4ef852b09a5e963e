//! The bad models' verdicts for a 32-bit machine: the test `wasm_verdicts` compares them with the native ones.

#![allow(clippy::unwrap_used, reason = "a test ends where something is amiss")]

#[path = "mod.rs"]
mod bad;
#[path = "../common/mod.rs"]
mod common;

use std::sync::OnceLock;

static VERDICTS: OnceLock<String> = OnceLock::new();

/// Where the verdicts lie in this module's memory, as UTF-8.
#[allow(unsafe_code, reason = "a name for the host to call it by; no other function of this module has it")]
#[unsafe(no_mangle)]
pub extern "C" fn verdicts() -> usize {
    VERDICTS.get_or_init(bad::verdicts).as_ptr() as usize
}

/// How many bytes they are.
#[allow(unsafe_code, reason = "a name for the host to call it by; no other function of this module has it")]
#[unsafe(no_mangle)]
pub extern "C" fn verdicts_len() -> usize {
    VERDICTS.get_or_init(bad::verdicts).len()
}
