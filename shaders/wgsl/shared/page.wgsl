// Pages of the KV cache: PAGE consecutive entries of one sequence lie in one physical page.
// Needs from the kernel: `params.pages_per_sequence`.

const PAGE: u32 = 64u;

// Entries that the page table has room for, of each sequence.
fn sequence_capacity() -> u32 {
    return params.pages_per_sequence * PAGE;
}
