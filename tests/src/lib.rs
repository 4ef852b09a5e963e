//! Conformance tests and the `xtask` program.
