//! `cargo xtask check`: everything that can be said of the sources without running them.

use std::process::{Command, ExitCode};

use crate::budget;
use crate::command::{cargo, program, root, run, succeeds, target_dir};
use crate::fuzz;
use crate::node::Node;
use crate::report::{Outcome, Report};
use crate::source;
use crate::tool::{CARGO_DENY, TYPOS, need_component, need_target};
use crate::web::{self, WASM};

/// Packages that must compile for the browser.
const WASM_PACKAGES: [&str; 4] = ["parhelion-shaders", "parhelion-loader", "parhelion", "parhelion-web"];

/// Runs every check; `fix` lets those tools that can repair the sources do so.
pub(crate) fn check(fix: bool) -> ExitCode {
    let mut report = Report::new("cargo xtask check");
    report.step("format", || format(fix).into());
    report.step("clippy, native", || clippy_native(fix).into());
    report.step("clippy, fuzz targets", || clippy_fuzz().into());
    report.step("clippy, wasm32", || clippy_wasm().into());
    report.step("WGSL", || validate_wgsl().into());
    report.step("TypeScript", || typescript().into());
    report.step("budgets", budgets);
    report.step("spelling", || spelling(fix).into());
    report.step("dependencies", || dependencies().into());
    report.step("advisories", advisories);
    report.finish()
}

fn format(fix: bool) -> Result<(), String> {
    need_component("rustfmt", "fmt")?;
    let check: &[&str] = if fix { &[] } else { &["--check"] };
    let packages = [&["--all"][..], &["--manifest-path", fuzz::MANIFEST]];
    packages.iter().try_for_each(|which| {
        run(cargo(&["fmt"]).args(*which).args(check)).map_err(|why| format!("{why}; `cargo xtask check --fix` formats"))
    })
}

fn clippy_native(fix: bool) -> Result<(), String> {
    need_component("clippy", "clippy")?;
    let fix: &[&str] = if fix { &["--fix", "--allow-dirty", "--allow-staged"] } else { &[] };
    run(cargo(&["clippy", "--workspace", "--all-targets", "--keep-going"]).args(fix).args(["--", "-D", "warnings"]))
}

/// Without libFuzzer itself, which would have to be compiled for it.
fn clippy_fuzz() -> Result<(), String> {
    fuzz::lock()?;
    let args = ["clippy", "--manifest-path", fuzz::MANIFEST, "--all-targets", "--no-default-features", "--", "-D", "warnings"];
    run(cargo(&args).env("CARGO_TARGET_DIR", target_dir()))
}

fn clippy_wasm() -> Result<(), String> {
    need_component("clippy", "clippy")?;
    need_target(WASM)?;
    let mut command = cargo(&["clippy", "--keep-going", "--target", WASM]);
    for package in WASM_PACKAGES {
        command.args(["-p", package]);
    }
    run(command.args(["--", "-D", "warnings"]))
}

/// The shaders' build script runs naga's validation over every kernel and variant and fails with its messages.
fn validate_wgsl() -> Result<(), String> {
    run(&mut cargo(&["check", "-p", "parhelion-shaders"]))
}

/// The npm package, strictly. Its types of the wasm module are its own, so that nothing needs to be built first.
fn typescript() -> Result<(), String> {
    let node = Node::find_or_install()?;
    node.install(web::PACKAGE)?;
    run(&mut node.npm(web::PACKAGE, &["run", "check"]))
}

fn budgets() -> Outcome {
    let files = match source::read_all(&root()) {
        Ok(files) => files,
        Err(why) => return Outcome::Failed(why),
    };
    let findings: Vec<_> = files.iter().flat_map(budget::check_file).collect();
    for finding in &findings {
        println!("{finding}");
    }
    let errors = findings.iter().filter(|finding| finding.fails).count();
    let note = format!("{} files, {errors} errors, {} warnings", files.len(), findings.len() - errors);
    if errors == 0 { Outcome::Passed(note) } else { Outcome::Failed(note) }
}

fn spelling(fix: bool) -> Result<(), String> {
    let fix: &[&str] = if fix { &["--write-changes"] } else { &[] };
    run(program(TYPOS.find_or_install()?, &["--config", ".typos.toml"]).args(fix))
}

fn deny(args: &[&str]) -> Result<Command, String> {
    let mut command = program(CARGO_DENY.find_or_install()?, &["--config", ".deny.toml", "--log-level", "error"]);
    command.args(args);
    Ok(command)
}

fn dependencies() -> Result<(), String> {
    run(&mut deny(&["check", "--hide-inclusion-graph", "bans", "licenses", "sources"])?)
}

/// Known vulnerabilities come from a database on the network, without which nothing can be said.
fn advisories() -> Outcome {
    let fetched = deny(&["fetch", "db"]).map(|mut fetch| succeeds(&mut fetch));
    match fetched {
        Ok(true) => deny(&["check", "advisories"]).and_then(|mut check| run(&mut check)).into(),
        Ok(false) => Outcome::Skipped("the advisory database cannot be reached".into()),
        Err(why) => Outcome::Failed(why),
    }
}
