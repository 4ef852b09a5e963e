//! The `parhelion` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    parhelion_cli::commands::main()
}
