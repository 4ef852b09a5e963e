// The page table of the KV cache.
// Needs from the kernel: the binding `pages` (array<u32>) and `params.pages_per_sequence`.
#import page

// The physical page that holds logical page `logical` of `sequence`.
fn physical_page(sequence: u32, logical: u32) -> u32 {
    return pages[sequence * params.pages_per_sequence + logical];
}
