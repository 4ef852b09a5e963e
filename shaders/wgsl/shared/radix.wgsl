// Finds the digit at which a sum that runs from the highest digit down reaches a goal: a step of radix selection.
// Integers only, so that the answer does not depend on the order of additions.
// Needs from the kernel: the override WG, a multiple of 16 that divides BINS.

// Bits of the widest digit.
const DIGIT_BITS: u32 = 11u;
const BINS: u32 = 2048u;
// Blocks of invocations whose sums a prefix sum adds first.
const BLOCKS: u32 = 16u;

// A digit that reaches the goal.
struct Digit {
    value: u32,
    // What of the goal is left for this digit's own numbers.
    remaining: u32,
    // What all this digit's numbers amount to.
    total: u32,
}

var<workgroup> histogram: array<atomic<u32>, BINS>;
var<workgroup> lane_sums: array<u32, WG>;
var<workgroup> block_sums: array<u32, BLOCKS>;
var<workgroup> found_digit: Digit;
var<workgroup> found_total: u32;

// Sets the histogram to zero.
fn clear_histogram(index: u32) {
    workgroupBarrier();
    for (var bin = index; bin < BINS; bin += WG) {
        atomicStore(&histogram[bin], 0u);
    }
    workgroupBarrier();
}

// The sum of `value` over all invocations before this one.
fn exclusive_prefix(value: u32, index: u32) -> u32 {
    let width = WG / BLOCKS;
    workgroupBarrier();
    lane_sums[index] = value;
    workgroupBarrier();
    if index < BLOCKS {
        var sum = 0u;
        for (var i = 0u; i < width; i++) {
            sum += lane_sums[index * width + i];
        }
        block_sums[index] = sum;
    }
    workgroupBarrier();
    var before = 0u;
    for (var block = 0u; block < index / width; block++) {
        before += block_sums[block];
    }
    for (var i = (index / width) * width; i < index; i++) {
        before += lane_sums[i];
    }
    return before;
}

// The sum of `value` over all invocations, the same in each.
fn uniform_sum(value: u32, index: u32) -> u32 {
    let before = exclusive_prefix(value, index);
    if index == WG - 1u {
        found_total = before + value;
    }
    return workgroupUniformLoad(&found_total);
}

// The sum of this invocation's bins, the highest of which is `top - 1`.
fn own_bins(top: u32) -> u32 {
    var sum = 0u;
    for (var i = 1u; i <= BINS / WG; i++) {
        sum += atomicLoad(&histogram[top - i]);
    }
    return sum;
}

// The highest digit for which the sum of the histogram from the top down to it is at least `goal`; digit 0 if none is.
fn find_digit(goal: u32, index: u32) -> Digit {
    workgroupBarrier();
    let top = BINS - index * (BINS / WG);
    let sum = own_bins(top);
    var before = exclusive_prefix(sum, index);
    let is_last = index == WG - 1u && before + sum < goal;
    if before < goal && (before + sum >= goal || is_last) {
        for (var i = 1u; i <= BINS / WG; i++) {
            let bin = atomicLoad(&histogram[top - i]);
            if before + bin >= goal || i == BINS / WG {
                found_digit = Digit(top - i, goal - before, bin);
                break;
            }
            before += bin;
        }
    }
    return workgroupUniformLoad(&found_digit);
}
