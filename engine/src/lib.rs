//! parhelion runs open models straight from their published weights with hand-written WGSL compute kernels, the same way
//! on native wgpu, in the browser's WebGPU, and without a GPU.
//!
//! ```text
//! Source -> Checkpoint -> models::build -> Graph -> Plan -> Recording -> Executor -> token ids -> text
//! ```
//!
//! [`session::Session`] is the one door for programs; everything behind it can be used and tested by itself.

mod buffers;
pub mod cpu;
pub mod doctor;
pub mod exec;
pub mod formats;
pub mod gpu;
pub mod graph;
pub mod models;
pub mod ops;
pub mod pieces;
pub mod plan;
pub mod quantise;
pub mod recorder;
pub mod recording;
pub mod session;
pub mod shape;
mod slots;
pub mod weights;

pub use parhelion_loader as loader;
pub use parhelion_shaders as shaders;
