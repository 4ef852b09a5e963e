//! Programs that `check` needs and a Rust toolchain does not have: found, or installed under `target/tools`.

use std::path::PathBuf;

use crate::command::{cargo, executable_name, find_on_path, output_of, program, run, succeeds, target_dir};

/// A program, and the two ways it can be had.
pub(crate) struct Tool {
    /// The program's name.
    pub(crate) name: &'static str,
    /// The crate that builds it.
    pub(crate) package: &'static str,
    /// The version installed where there is none.
    pub(crate) version: &'static str,
    /// Whether Python's package index has the same version ready built, under the program's name.
    pub(crate) has_wheel: bool,
}

pub(crate) const TYPOS: Tool = Tool { name: "typos", package: "typos-cli", version: "1.52.0", has_wheel: true };

/// Its wheel is years behind and fails on today's `cargo metadata`; building it takes about three minutes on two cores.
pub(crate) const CARGO_DENY: Tool = Tool { name: "cargo-deny", package: "cargo-deny", version: "0.20.2", has_wheel: false };

impl Tool {
    /// The program: the one installed here before, the one on `PATH`, or a fresh installation.
    pub(crate) fn find_or_install(&self) -> Result<PathBuf, String> {
        let folder = target_dir().join("tools");
        let installed = folder.join("bin").join(executable_name(self.name));
        if installed.is_file() {
            return Ok(installed);
        }
        if let Some(path) = find_on_path(self.name) {
            return Ok(path);
        }
        println!("{} is not installed: installing {} under {}", self.name, self.version, folder.display());
        let folder = folder.to_string_lossy().into_owned();
        if self.has_wheel && self.install_wheel(&folder).is_ok() && installed.is_file() {
            return Ok(installed);
        }
        let Self { name, package, version, .. } = self;
        let mut install = cargo(&["install", "--locked", "--root", &folder, "--version", version, package]);
        // Built in a temporary folder, whatever folder our own outputs go to.
        run(install.env_remove("CARGO_TARGET_DIR"))
            .map_err(|why| format!("{why}; install {name} by hand: `cargo install --locked {package}@{version}`"))?;
        Ok(installed)
    }

    fn install_wheel(&self, folder: &str) -> Result<(), String> {
        let python = ["python3", "python", "py"]
            .into_iter()
            .find(|python| succeeds(&mut program(*python, &["-m", "pip", "--version"])))
            .ok_or_else(|| "no Python with pip".to_owned())?;
        let wheel = format!("{}=={}", self.name, self.version);
        let args = ["-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--target", folder, &wheel];
        run(&mut program(python, &args))
    }
}

/// Makes sure that a component of the Rust toolchain is there; `probe` is the `cargo` subcommand it brings.
pub(crate) fn need_component(component: &str, probe: &str) -> Result<(), String> {
    if succeeds(&mut cargo(&[probe, "--version"])) {
        return Ok(());
    }
    run(&mut program("rustup", &["component", "add", component]))
        .map_err(|why| format!("{why}; install the toolchain's `{component}` component"))
}

/// Makes sure that the toolchain can compile for `target`.
pub(crate) fn need_target(target: &str) -> Result<(), String> {
    let libraries = output_of(&mut program("rustc", &["--print", "target-libdir", "--target", target]));
    if libraries.is_some_and(|folder| PathBuf::from(folder).is_dir()) {
        return Ok(());
    }
    run(&mut program("rustup", &["target", "add", target])).map_err(|why| format!("{why}; install the standard library of {target}"))
}
