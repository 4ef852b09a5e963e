//! Finds out whether a device computes what the scalar twins compute: every kernel variant that the device can run, on
//! small fixed shapes. The conformance tests run the same cases over many more shapes.

pub mod attention;
mod case;
pub mod dense;
mod rng;
pub mod sampling;

pub use case::{Bound, Case, Operand, Outcome, Worst};
pub use rng::Rng;
