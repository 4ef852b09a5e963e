//! The project's own commands, the same on every system and in CI:
//!
//! - `cargo xtask check [--fix]`: format, lints for native and wasm32, WGSL, budgets, spelling, dependencies;
//! - `cargo xtask test [ARGS]`: gets what the tests need, then runs every one of them.
//!
//! The program has no dependencies, so that it compiles in a second or two.

mod budget;
mod check;
mod command;
mod report;
mod source;
mod test;
mod tool;
mod vulkan;

use std::process::ExitCode;

const USAGE: &str = "\
The project's own commands.

Usage:
  cargo xtask check [--fix]   format, clippy (native and wasm32), WGSL, budgets, spelling, dependencies;
                              --fix repairs what can be repaired by machine
  cargo xtask test [ARGS]     get what the tests need, then run every test; ARGS go to `cargo test`,
                              for instance a part of a test's name
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["check"] => check::check(false),
        ["check", "--fix"] => check::check(true),
        ["test", rest @ ..] => test::test(rest),
        [] | ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            ExitCode::SUCCESS
        }
        _ => {
            eprint!("xtask: cannot read `{}`\n\n{USAGE}", words.join(" "));
            ExitCode::from(2)
        }
    }
}
