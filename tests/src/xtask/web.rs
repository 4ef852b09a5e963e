//! `cargo xtask web`: the engine compiled for the browser, its JavaScript bindings, the npm package and the page, all
//! under `web/dist`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::command::{cargo, output_of, program, root, run, target_dir};
use crate::node::Node;
use crate::report::{Outcome, Report};
use crate::tool::{Tool, need_target};

/// The target of every crate that runs in browsers.
pub(crate) const WASM: &str = "wasm32-unknown-unknown";
/// The npm package's folder.
pub(crate) const PACKAGE: &str = "web";
/// The most that the engine may weigh as servers send it, in bytes.
const LARGEST: u64 = 3 << 20;

/// Prints the bytes of a file: as it is, by `gzip -9`, by `brotli -9` (its best takes twenty times as long).
const MEASURE: &str = "\
    const { readFileSync } = require('node:fs'); const zlib = require('node:zlib'); const file = readFileSync(process.argv[1]); \
    const params = { [zlib.constants.BROTLI_PARAM_QUALITY]: 9 }; \
    console.log(file.length, zlib.gzipSync(file, { level: 9 }).length, zlib.brotliCompressSync(file, { params }).length)";

/// Builds everything and sums up.
pub(crate) fn web() -> ExitCode {
    let mut report = Report::new("cargo xtask web");
    build(&mut report);
    report.finish()
}

/// The steps of the build; a step that fails ends it. Whether none failed.
pub(crate) fn build(report: &mut Report) -> bool {
    let dist = root().join(PACKAGE).join("dist");
    let mut node = None;
    report.step("Node.js", || find_node(&mut node))
        && report.step("wasm", || compile().into())
        && report.step("bindings", || bind(&dist).into())
        && node.is_some_and(|node| report.step("size", || size(&node, &dist)) && report.step("package and page", || package(&node).into()))
}

fn find_node(found: &mut Option<Node>) -> Outcome {
    match Node::find_or_install() {
        Ok(node) => {
            let version = output_of(&mut node.node(&["--version"])).unwrap_or_default();
            *found = Some(node);
            Outcome::Passed(version)
        }
        Err(why) => Outcome::Failed(why),
    }
}

fn compile() -> Result<(), String> {
    need_target(WASM)?;
    run(&mut cargo(&["build", "--release", "--target", WASM, "-p", "parhelion-web", "--lib"]))
}

/// The JavaScript that loads the wasm module and calls it. It must be of the library's own version.
fn bind(dist: &Path) -> Result<(), String> {
    let lock = fs::read_to_string(root().join("Cargo.lock")).map_err(|error| format!("cannot read Cargo.lock: {error}"))?;
    let version = locked_version(&lock, "wasm-bindgen").ok_or("Cargo.lock has no wasm-bindgen: does `web` still depend on it?")?;
    // Without its default features the program's test runner cannot fetch browsers, which we do not use it for.
    let options = &["--no-default-features"];
    let tool = Tool { name: "wasm-bindgen", package: "wasm-bindgen-cli", version, exact: true, has_wheel: false, options };
    let module = target_dir().join(WASM).join("release/parhelion_web.wasm");
    let mut command = program(tool.find_or_install()?, &["--target", "web", "--remove-name-section", "--remove-producers-section"]);
    command.arg("--out-dir").arg(empty_folder(dist)?.join("wasm")).arg(module);
    run(&mut command)
}

/// Makes the folder anew, so that nothing of an earlier build stays.
pub(crate) fn empty_folder(folder: &Path) -> Result<PathBuf, String> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(format!("cannot empty {}: {error}", folder.display())),
        _ => fs::create_dir_all(folder).map(|()| folder.to_owned()).map_err(|error| format!("cannot make {}: {error}", folder.display())),
    }
}

/// The version of `package` in the text of a `Cargo.lock`.
fn locked_version<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let name = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != name);
    lines.nth(1)?.strip_prefix("version = \"")?.strip_suffix('"')
}

fn size(node: &Node, dist: &Path) -> Outcome {
    let mut measure = node.node(&["-e", MEASURE]);
    let printed = output_of(measure.arg(dist.join("wasm/parhelion_web_bg.wasm"))).unwrap_or_default();
    let sizes: Vec<u64> = printed.split(' ').filter_map(|number| number.parse().ok()).collect();
    let [raw, gzip, brotli] = sizes[..] else { return Outcome::Failed("the wasm module cannot be measured".into()) };
    let mib = |bytes: u64| format!("{}.{:02} MiB", bytes >> 20, ((bytes & 0xf_ffff) * 100) >> 20);
    let note = format!("{raw} bytes ({}); gzip {gzip} ({}), brotli {brotli} ({})", mib(raw), mib(gzip), mib(brotli));
    if gzip <= LARGEST { Outcome::Passed(note) } else { Outcome::Failed(format!("{note}: over {} compressed", mib(LARGEST))) }
}

fn package(node: &Node) -> Result<(), String> {
    node.install(PACKAGE)?;
    run(&mut node.npm(PACKAGE, &["run", "build"]))
}

#[cfg(test)]
mod tests {
    use super::locked_version;

    const LOCK: &str =
        "[[package]]\nname = \"wasm-bindgen-futures\"\nversion = \"0.4.1\"\n\n[[package]]\nname = \"wasm-bindgen\"\nversion = \"0.2.9\"\n";

    #[test]
    fn versions_of_the_lock_file_are_found_by_the_whole_name() {
        assert_eq!(locked_version(LOCK, "wasm-bindgen"), Some("0.2.9"));
        assert_eq!(locked_version(LOCK, "wasm"), None);
        assert_eq!(locked_version("name = \"wasm\"", "wasm"), None);
    }
}
