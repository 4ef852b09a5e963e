//! Rotary embedding with KV write, and attention, against their twins: head sizes, groups of queries, lengths around pages and
//! splits, several sequences, windows, both cache formats, large magnitudes.

use parhelion::doctor::conformance::attention;
use parhelion_tests::harness::check_listed;

#[test]
fn decode() {
    check_listed(attention::decode);
}

#[test]
fn merge() {
    check_listed(attention::merge);
}

#[test]
fn prefill() {
    check_listed(attention::prefill);
}

#[test]
fn prefill_of_sequences_that_share_tiles() {
    check_listed(attention::prefill_of_shared_tiles);
}

#[test]
fn rope_and_kv_write() {
    check_listed(|_| attention::rope());
}
