//! parhelion: an inference engine with hand-written WGSL kernels.
