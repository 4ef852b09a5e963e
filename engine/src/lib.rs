//! parhelion: an inference engine with hand-written WGSL kernels.

pub mod exec;
pub mod graph;
pub mod ops;
pub mod recorder;
pub mod recording;
pub mod shape;
