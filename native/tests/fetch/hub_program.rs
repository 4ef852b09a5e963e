//! The program and the hub: its commands, and what is left when it is killed or the disk is full.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::hub_server::{Asked, COMMIT, Hub};
use super::server::Reply;
use super::{sha256, weights};

const GGUF: &str = "m-Q4_0.gguf";

/// The program with its caches in `home`, asking `hub`.
fn program(hub: &Hub, home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_parhelion"));
    configure(&mut command, hub, home);
    command
}

fn configure(command: &mut Command, hub: &Hub, home: &Path) {
    for variable in ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN", "HF_TOKEN_PATH", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"] {
        command.env_remove(variable);
    }
    command.env("HF_ENDPOINT", hub.hub.address()).env("HF_HOME", home.join("hf")).env("PARHELION_CACHE", home.join("own"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
}

fn run(hub: &Hub, home: &Path, arguments: &[&str]) -> (i32, String, String) {
    told(program(hub, home).args(arguments).output().unwrap())
}

fn told(output: Output) -> (i32, String, String) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn the_commands_understand_the_hub() {
    let hub = Hub::start(&[(GGUF, weights(1, 100_000)), ("m-Q8_0.gguf", weights(2, 200_000))]);
    let home = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| run(&hub, home.path(), arguments);
    let (code, _, error) = run(&["models", "path", "o/n"]);
    assert!(code == 1 && error.contains("models pull o/n"), "{error}");
    let (code, path, error) = run(&["models", "pull", "o/n:Q8_0"]);
    assert_eq!(code, 0, "{error}");
    assert!(path.trim().ends_with("m-Q8_0.gguf") && error.contains("o/n:Q8_0 is here"), "{path} {error}");
    let pulled = json(&run(&["models", "pull", "o/n", "--json"]).1);
    assert_eq!(pulled["path"], json(&run(&["models", "path", "o/n", "--json"]).1)["path"]);
    let list = json(&run(&["models", "list", "--json"]).1);
    let repository = &list["repositories"][0];
    assert_eq!((&repository["id"], &repository["bytes"]), (&"o/n".into(), &300_000.into()));
    assert_eq!(repository["snapshots"][0]["commit"], COMMIT);
    assert_eq!(repository["snapshots"][0]["revisions"][0], "main");
    assert!(run(&["models"]).1.contains("o/n  300.0 kB, of the hub, main"));
    assert_eq!(json(&run(&["models", "verify", "o/n", "--json"]).1)["damaged"], serde_json::json!([]));
    std::fs::write(pulled["path"].as_str().unwrap(), weights(3, 100_000)).unwrap();
    let (code, _, error) = run(&["models", "verify", "o/n"]);
    assert!(code == 1 && error.contains(GGUF) && error.contains("models pull o/n"), "{error}");
    assert_eq!(json(&run(&["models", "remove", "o/n", "--json"]).1)["removed_bytes"], 200_000);
    // What cannot be a model is told as such once it is here; before that, offline says that it is not.
    let (code, _, error) = run(&["--offline", "run", "--model", "o/n", "x"]);
    assert!(code == 1 && error.contains("--offline"), "{error}");
    let (code, _, error) = run(&["run", "--model", &format!("{}/o/n/tree/main", hub.hub.address()), "x"]);
    assert!(code == 1 && error.contains("fetching") | error.contains(GGUF), "{error}");
    assert_eq!(json(&run(&["models", "list", "--json"]).1)["repositories"][0]["bytes"], 100_000, "it was fetched");
}

/// Killed twenty times where chance has it, the download loses next to nothing and ends in the right file.
#[test]
fn a_killed_download_goes_on_where_it_was() {
    const SIZE: usize = 24 << 20;
    const MOST_AGAIN: usize = 8 << 20;
    let body = weights(7, SIZE);
    let served = body.clone();
    let hub = Hub::with_faults(&[(GGUF, body.clone())], move |asked, request, _| {
        (asked == Asked::Store).then(|| Reply::correct(request, &served, "\"v\"").pace(64 << 10, Duration::from_micros(1500)))
    });
    let home = tempfile::tempdir().unwrap();
    let part = home.path().join("hf/hub/models--o--n/blobs").join(format!("{}.incomplete", sha256(&body)));
    let have = || part.metadata().map_or(0, |part| part.len() as usize);
    let mut chance = 12345_u32;
    for kill in 0..20 {
        let before = have();
        chance = chance.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let further = (chance >> 12) as usize % (SIZE / 20) + 1;
        let mut child = program(&hub, home.path()).args(["models", "pull", "o/n"]).spawn().unwrap();
        let start = Instant::now();
        while have() < before + further && start.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_micros(300));
        }
        child.kill().unwrap();
        assert!(!child.wait().unwrap().success(), "kill {kill} came too late");
    }
    let (code, path, error) = run(&hub, home.path(), &["models", "pull", "o/n"]);
    assert_eq!(code, 0, "{error}");
    assert_eq!(sha256(&std::fs::read(path.trim()).unwrap()), sha256(&body));
    let requests = hub.store.requests();
    assert_eq!(requests.len(), 21);
    for (index, pair) in requests.windows(2).enumerate() {
        let reached = pair[0].range_start().unwrap_or(0) + hub.store.sent(index);
        let again = reached.saturating_sub(pair[1].range_start().unwrap_or(0));
        assert!(again <= MOST_AGAIN, "kill {index}: {again} bytes were sent again");
    }
}

/// The system refuses to write on: told with what to do, and gone on from when there is room.
#[test]
fn a_disk_that_fills_up_is_told_and_gone_on_from() {
    let body = weights(8, 3_000_000);
    let hub = Hub::start(&[(GGUF, body.clone())]);
    let home = tempfile::tempdir().unwrap();
    let mut limited = Command::new("sh");
    // With the signal ignored, a file beyond the limit fails to grow as on a full disk.
    limited.args(["-c", "trap '' XFSZ; ulimit -f 2000; exec \"$0\" models pull o/n", env!("CARGO_BIN_EXE_parhelion")]);
    configure(&mut limited, &hub, home.path());
    let (code, _, error) = told(limited.output().unwrap());
    assert_eq!(code, 1, "{error}");
    assert!(error.contains("make room") && error.contains("HF_HOME"), "{error}");
    let (code, path, error) = run(&hub, home.path(), &["models", "pull", "o/n"]);
    assert_eq!(code, 0, "{error}");
    assert_eq!(std::fs::read(path.trim()).unwrap(), body);
    assert!(hub.store.requests()[1].range_start().is_some_and(|start| start > 500_000), "what was written is kept");
}

/// Files on a small disk of their own, where the test may make one.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new(megabytes: u32) -> Option<Self> {
        let home = tempfile::tempdir().unwrap();
        let size = format!("size={megabytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(home.path()).stderr(Stdio::null()).status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(home))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

/// The whole set is weighed before its first byte, and a disk that others fill meanwhile is told too.
#[test]
fn a_small_disk_is_noticed_before_and_in_the_middle() {
    let Some(disk) = SmallDisk::new(24) else { return parhelion_tests::skip("no file system can be mounted here") };
    let home = disk.0.path();
    let body = weights(9, 5_000_000);
    let parts = ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"];
    let hub = Hub::start(&[(parts[0], body.clone()), (parts[1], weights(10, 5_000_000))]);
    let (code, _, error) = run(&hub, home, &["models", "pull", "o/n"]);
    assert!(code == 1 && error.contains("needs 10.0 MB more") && error.contains("make room"), "{error}");
    assert!(hub.store.requests().is_empty(), "nothing was asked for");
    let home = &home.join("other");
    let served = body.clone();
    let slow = Hub::with_faults(&[(GGUF, body.clone())], move |asked, request, index| {
        let reply = Reply::correct(request, &served, "\"v\"");
        (asked == Asked::Store && index == 0).then(|| reply.pace(50_000, Duration::from_millis(10)))
    });
    let child = program(&slow, home).args(["models", "pull", "o/n"]).spawn().unwrap();
    let start = Instant::now();
    while slow.store.sent(0) < 500_000 && start.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(2));
    }
    let filler = disk.0.path().join("filler");
    let filled = std::io::copy(&mut std::io::repeat(1), &mut std::fs::File::create(&filler).unwrap());
    assert!(filled.is_err(), "the disk is full");
    let (code, _, error) = told(child.wait_with_output().unwrap());
    assert!(code == 1 && error.contains("make room and run the same command again"), "{error}");
    std::fs::remove_file(filler).unwrap();
    let (code, path, error) = run(&slow, home, &["models", "pull", "o/n"]);
    assert_eq!(code, 0, "{error}");
    assert_eq!(std::fs::read(path.trim()).unwrap(), body);
    assert!(slow.store.requests()[1].range_start().is_some_and(|start| start >= 400_000), "what was written is kept");
}
