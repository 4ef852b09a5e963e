//! The kernels that keep recurrent state, against their twins: runs of sequences that begin, go on and take one row each.

use parhelion::doctor::conformance::state;
use parhelion_tests::harness::check_listed;

#[test]
fn short_conv() {
    check_listed(|_| state::short_conv());
}

#[test]
fn delta_net() {
    check_listed(|_| state::delta_net());
}

#[test]
fn gate_heads() {
    check_listed(|_| state::gate_heads());
}

#[test]
fn drop_gates() {
    check_listed(|_| state::drop_gates());
}
