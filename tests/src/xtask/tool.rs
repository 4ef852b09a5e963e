//! Programs that our commands need and a Rust toolchain does not have: found, or installed under `target/tools`.

use std::path::{Path, PathBuf};

use crate::command::{cargo, executable_name, find_on_path, output_of, program, run, succeeds, target_dir};

/// A program, and the two ways it can be had.
pub(crate) struct Tool<'a> {
    /// The program's name.
    pub(crate) name: &'static str,
    /// The crate that builds it.
    pub(crate) package: &'static str,
    /// The version installed where there is none.
    pub(crate) version: &'a str,
    /// Whether no other version will do.
    pub(crate) exact: bool,
    /// Whether Python's package index has the same version ready built, under the program's name.
    pub(crate) has_wheel: bool,
    /// What to tell `cargo install` about how the crate is built.
    pub(crate) options: &'static [&'static str],
}

pub(crate) const TYPOS: Tool<'_> =
    Tool { name: "typos", package: "typos-cli", version: "1.52.0", exact: false, has_wheel: true, options: &[] };

/// Its wheel is years behind and fails on today's `cargo metadata`. It has little to do: built with optimisations it would take three
/// minutes more.
pub(crate) const CARGO_DENY: Tool<'_> =
    Tool { name: "cargo-deny", package: "cargo-deny", version: "0.20.2", exact: false, has_wheel: false, options: &["--debug"] };

impl Tool<'_> {
    /// The program: the one installed here before, the one on `PATH`, or a fresh installation.
    pub(crate) fn find_or_install(&self) -> Result<PathBuf, String> {
        let folder = tools_dir();
        let installed = folder.join("bin").join(executable_name(self.name));
        if installed.is_file() && self.will_do(&installed) {
            return Ok(installed);
        }
        if let Some(path) = find_on_path(self.name).filter(|path| self.will_do(path)) {
            return Ok(path);
        }
        println!("{} {} is not installed: installing it under {}", self.name, self.version, folder.display());
        if self.has_wheel && install_wheel(self.name, self.version).is_ok() && installed.is_file() {
            return Ok(installed);
        }
        self.build(&folder)?;
        Ok(installed)
    }

    fn will_do(&self, path: &Path) -> bool {
        !self.exact || output_of(&mut program(path, &["--version"])).is_some_and(|text| text.split(' ').any(|word| word == self.version))
    }

    /// Builds the program with its own lock file or, where the registry lacks a version that is named there, without.
    fn build(&self, folder: &Path) -> Result<(), String> {
        let Self { name, package, version, .. } = self;
        let install = |locked: &[&str]| {
            let mut install = cargo(&["install", "--version", version, package, "--root"]);
            install.arg(folder).args(self.options).args(locked);
            // Built in a temporary folder, whatever folder our own outputs go to.
            run(install.env_remove("CARGO_TARGET_DIR"))
        };
        install(&["--locked"])
            .or_else(|_| install(&[]))
            .map_err(|why| format!("{why}; install {name} by hand: `cargo install --locked {package}@{version}`"))
    }
}

/// Where programs are installed.
pub(crate) fn tools_dir() -> PathBuf {
    target_dir().join("tools")
}

/// A Python that has pip.
pub(crate) fn python_with_pip() -> Result<&'static str, String> {
    let mut known = ["python3", "python", "py"].into_iter();
    known.find(|python| succeeds(&mut program(*python, &["-m", "pip", "--version"]))).ok_or_else(|| "no Python with pip".to_owned())
}

/// Unpacks a wheel of Python's package index into the folder of tools.
pub(crate) fn install_wheel(name: &str, version: &str) -> Result<(), String> {
    let mut install = program(python_with_pip()?, &["-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--target"]);
    run(install.arg(tools_dir()).arg(format!("{name}=={version}")))
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
