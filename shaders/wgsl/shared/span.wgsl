// The KV entries that a row attends to.
// Needs from the kernel: what `page` needs, and `params.window`.
#import page
#import row

struct Span {
    // First entry.
    begin: u32,
    // One past the last entry; equal to `begin` where there is none.
    end: u32,
}

// Entries of a row's own bounds that its page table has and a sliding window (0: none) lets through.
fn row_span(row: Row) -> Span {
    let behind = select(0u, row.end - params.window, params.window > 0u && row.end > params.window);
    let end = min(row.end, sequence_capacity());
    return Span(min(max(row.begin, behind), end), end);
}
