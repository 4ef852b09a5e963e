//! Packages of the operating system, installed where we may, named where we may not.

use crate::command::{find_on_path, output_of, program, run, succeeds};

/// A package manager, the command with which it installs something, and whether we run it ourselves.
pub(crate) type Installer = (&'static str, &'static str, bool);

/// Runs the first installer whose package manager is there. The caller looks whether it worked.
///
/// # Errors
/// What to do by hand, where nothing was run.
pub(crate) fn install(what: &str, installers: &[Installer]) -> Result<(), String> {
    let Some((_, command, automatic)) = installers.iter().find(|(name, ..)| find_on_path(name).is_some()) else {
        return Err(format!("install {what}"));
    };
    let Some(prefix) = as_root().filter(|_| *automatic) else {
        return Err(format!("install {what}: `{command}` as root"));
    };
    for command in ["apt-get update", command] {
        let words: Vec<&str> = prefix.iter().copied().chain(command.split(' ')).collect();
        if let Err(why) = run(&mut program(words[0], &words[1..])) {
            println!("{why}");
        }
    }
    Ok(())
}

/// The words to put before a command so that it runs as root; `None` if that would need a password.
fn as_root() -> Option<&'static [&'static str]> {
    const SUDO: &[&str] = &["sudo", "-n"];
    if output_of(&mut program("id", &["-u"])).as_deref() == Some("0") {
        return Some(&[]);
    }
    succeeds(&mut program("sudo", &["-n", "true"])).then_some(SUDO)
}
