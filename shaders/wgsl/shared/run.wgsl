// A run of a step: the rows of one sequence, which stand together, and where its recurrent state lies.

struct Run {
    // First row.
    first: u32,
    // Rows; 0 for a run that the step does not have.
    rows: u32,
    // The slot of the state that the rows go on from: EMPTY for a sequence that begins with them.
    read: u32,
    // The slot of the state after them.
    write: u32,
}

// No slot: the state is all zeros.
const EMPTY: u32 = 0xffffffffu;
