//! parhelion: an inference engine with hand-written WGSL kernels.

mod buffers;
pub mod cpu;
pub mod doctor;
pub mod exec;
pub mod gpu;
pub mod graph;
pub mod ops;
pub mod recorder;
pub mod recording;
pub mod shape;
