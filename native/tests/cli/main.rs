//! The program as a user runs it: what it prints and what it ends with.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod embed;
mod gguf;
mod model;
mod program;
mod quantize;
mod usage;
