// A row of a step: one token of one sequence.

struct Row {
    // Token id.
    token: u32,
    // Index of the sequence, which is its row of the page table.
    sequence: u32,
    // Index of this row's own KV entry in its sequence.
    slot: u32,
    // First KV entry of the sequence that this row attends to.
    begin: u32,
    // End of the KV entries that this row attends to: `slot + 1` where attention is causal.
    end: u32,
    // Position for RoPE: three equal values for text.
    position: array<u32, 3>,
}
