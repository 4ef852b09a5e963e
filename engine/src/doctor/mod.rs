//! Finds out whether a device computes what the scalar twins compute: every kernel variant that the device can run, on
//! small fixed shapes. The conformance tests run the same cases over many more shapes.

pub mod attention;
mod case;
mod check;
pub mod conformance;
pub mod dense;
pub mod quantise;
mod quick;
mod rng;
mod run;
pub mod sampling;
pub mod state;

pub use case::{Bound, Case, Operand, Outcome, Worst};
pub use check::{KernelCheck, check_conformance, check_kernels, small_cases, unchecked_kernels};
pub use quick::{cases_of, quick_check};
pub use rng::Rng;
