//! The project's own commands, the same on every system and in CI:
//!
//! - `cargo xtask check [--fix]`: format, lints for native and wasm32, WGSL, TypeScript, budgets, spelling, dependencies;
//! - `cargo xtask test [ARGS]`: gets what the tests need, then runs every one of them, in the browser too;
//! - `cargo xtask fuzz [TARGET]`: runs the fuzz targets of tests/fuzz;
//! - `cargo xtask web`: builds the engine for the browser, the npm package and the page.
//!
//! The program has no dependencies, so that it compiles in a second or two.

mod browser;
mod budget;
mod check;
mod command;
mod fuzz;
mod node;
mod report;
mod source;
mod system;
mod test;
mod tool;
mod vulkan;
mod web;

use std::process::ExitCode;

use crate::test::Which;

const USAGE: &str = "\
The project's own commands.

Usage:
  cargo xtask check [--fix]   format, clippy (native and wasm32), WGSL, TypeScript, budgets, spelling,
                              dependencies;
                              --fix repairs what can be repaired by machine
  cargo xtask test            get what the tests need, then run every test, those in the browser too
  cargo xtask test ARGS       run the native tests alone; ARGS go to `cargo test`, for instance a part of a
                              test's name
  cargo xtask test --no-browser [ARGS]
                              the same, all of them where no ARGS are given
  cargo xtask test --browser [NAMES]
                              run the suites of tests/browser alone, those whose names contain one of NAMES
  cargo xtask fuzz [TARGETS] [--seconds N]
                              run the fuzz targets, 60 seconds each, from the corpus in tests/fuzz
  cargo xtask fuzz [TARGETS] --minimise
                              make that corpus anew from its inputs and those found since
  cargo xtask web             build the engine for the browser, the npm package and the page into web/dist
";

fn main() -> ExitCode {
    if let Some(code) = fuzz::compile() {
        return code;
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["check"] => check::check(false),
        ["check", "--fix"] => check::check(true),
        ["test"] => test::test(Which { native: Some(&[]), browser: Some(&[]) }),
        ["test", "--browser", names @ ..] => test::test(Which { native: None, browser: Some(names) }),
        ["test", "--no-browser", args @ ..] | ["test", args @ ..] => test::test(Which { native: Some(args), browser: None }),
        ["fuzz", args @ ..] => fuzz::fuzz(args),
        ["web"] => web::web(),
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
