//! How much memory a plan needs.

/// Bytes that a plan needs, by what they are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanMemory {
    /// Weights in the engine's layout.
    pub weights: u64,
    /// What is kept of sequences: KV cache and recurrent state.
    pub kv: u64,
    /// Intermediate values.
    pub scratch: u64,
    /// Tables, page tables, token counts, rows, results.
    pub other: u64,
}

impl PlanMemory {
    /// All of it: the peak, since everything is allocated when the model is loaded.
    pub fn total(&self) -> u64 {
        self.weights + self.kv + self.scratch + self.other
    }
}
