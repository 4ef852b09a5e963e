//! Reads published model files into a `Checkpoint`.
