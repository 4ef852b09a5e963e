//! The parts of the `parhelion` program: the model catalogue, the download cache and the commands.
//!
//! The program itself is `main.rs`; this library exists so that its parts can be tested and so that other
//! programs of the workspace can ask for a catalogue model the way the program does.

pub mod cache;
pub mod commands;
pub mod fetch;
pub mod host;
pub mod hub;
pub mod interrupt;
pub mod model;
pub mod progress;
pub mod serve;
pub mod text;

pub use parhelion::loader::catalogue;
