//! The `parhelion` program.

fn main() {}
