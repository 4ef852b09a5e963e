//! WGSL kernels, checked and reflected into typed Rust at build time.

mod kernel;

pub use kernel::*;

/// What kernels are compiled for.
pub mod axes {
    /// Formats of weights.
    #[allow(missing_docs, reason = "the formats' own names")]
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub enum Weight {
        F32,
        F16,
        Bf16,
        Q8_0,
        Q4_0,
        Q4_1,
    }

    /// Formats of the KV cache.
    #[allow(missing_docs, reason = "the formats' own names")]
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub enum Kv {
        F16,
        F32,
    }
}
