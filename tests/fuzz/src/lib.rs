//! What the fuzz targets do with an input, and the bounds that they hold the loader to.
//!
//! Each target takes raw files (told by their first bytes) and, for everything else, reads the input as the building
//! instructions of a nearly valid file: most mutations of raw bytes die at the first check, those of instructions reach
//! the last. A run ends in a panic, which libFuzzer reports with the input, where the loader panics or leaves a bound.

#[path = "../../../loader/tests/common/mod.rs"]
mod common;
#[path = "../../../loader/tests/counting/mod.rs"]
mod counting;

mod bounds;
mod build;
pub mod chat_template;
pub mod config;
pub mod gguf;
mod quantised;
pub mod safetensors;
pub mod tokenizer;
