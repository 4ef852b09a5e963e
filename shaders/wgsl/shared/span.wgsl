// The KV entries that a row attends to.
// Needs from the kernel: what `page` needs, and `params.window` and `params.ahead`.
#import page
#import row

struct Span {
    // First entry.
    begin: u32,
    // One past the last entry; equal to `begin` where there is none.
    end: u32,
}

// Entries of a row's own bounds that its page table has and a sliding window (0: none) lets through: as many as the window up to the
// row's own entry, and `params.ahead` after it.
fn row_span(row: Row) -> Span {
    let own = row.slot + 1u;
    let windowed = params.window > 0u;
    let behind = select(0u, own - params.window, windowed && own > params.window);
    let seen = select(row.end, min(row.end, own + params.ahead), windowed);
    let end = min(seen, sequence_capacity());
    return Span(min(max(row.begin, behind), end), end);
}
