//! `cargo xtask fuzz`: builds the targets of tests/fuzz and runs them from the corpus that is committed there.
//!
//! libFuzzer needs code that counts which branches run. The compiler's own passes do that on a stable toolchain; only
//! the flags must go to the crates that read files and to no other, because counters of the standard library's and
//! every dependency's branches cost more than all the rest. So this program is also the wrapper through which cargo
//! calls the compiler.

use std::env;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use crate::command::{cargo, executable_name, program, root, run, target_dir};
use crate::report::{Outcome, Report};
use crate::web::empty_folder;

/// The targets, with the longest input that each is given: long enough for several records, short enough to be fast.
const TARGETS: [(&str, u32); 5] = [("gguf", 512), ("safetensors", 512), ("config", 256), ("tokenizer", 256), ("chat_template", 256)];
/// The package of the targets.
pub(crate) const MANIFEST: &str = "tests/fuzz/Cargo.toml";
/// How long each target runs unless the command says otherwise.
const SECONDS: u32 = 60;
/// Targets that run at the same time: what two cores can do.
const AT_ONCE: usize = 2;

/// Crates whose branches guide the fuzzer.
const GUIDES: [&str; 3] = ["parhelion_loader", "minijinja", "minijinja_contrib"];
/// What makes the compiler count branches for libFuzzer.
const COUNT: [&str; 4] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=3",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
];
/// Set where cargo calls this program in place of the compiler.
const AS_COMPILER: &str = "PARHELION_FUZZ_COMPILER";

/// Runs the compiler with flags for the crate it compiles, if that is what cargo wants.
pub(crate) fn compile() -> Option<ExitCode> {
    env::var_os(AS_COMPILER)?;
    let words: Vec<_> = env::args_os().skip(1).collect();
    let (compiler, args) = words.split_first()?;
    let guides = args.windows(2).any(|pair| pair[0] == "--crate-name" && GUIDES.iter().any(|name| pair[1] == *name));
    let flags: &[&str] = if guides { &COUNT } else { &[] };
    let status = Command::new(compiler).args(args).args(flags).status();
    Some(if status.is_ok_and(|status| status.success()) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs the targets that `args` name, all where it names none; `--seconds N` for so long, `--minimise` to put what was
/// found since into the committed corpus.
pub(crate) fn fuzz(args: &[&str]) -> ExitCode {
    let mut report = Report::new("cargo xtask fuzz");
    let plan = match Plan::read(args) {
        Ok(plan) => plan,
        Err(why) => {
            report.step("arguments", || Outcome::Failed(why));
            return report.finish();
        }
    };
    if report.step("build", || build().into()) {
        if plan.minimise {
            for target in &plan.targets {
                report.step(target.name, || target.minimise().into());
            }
            return report.finish();
        }
        for group in plan.targets.chunks(AT_ONCE) {
            let began = Instant::now();
            let started: Vec<_> = group.iter().map(|target| (target, target.start(plan.seconds))).collect();
            for (target, started) in started {
                report.step(target.name, || target.finish(started, began));
            }
        }
    }
    report.finish()
}

/// What to do.
struct Plan {
    targets: Vec<Target>,
    seconds: u32,
    minimise: bool,
}

impl Plan {
    fn read(args: &[&str]) -> Result<Self, String> {
        let mut plan = Self { targets: Vec::new(), seconds: SECONDS, minimise: false };
        let mut args = args.iter();
        while let Some(&arg) = args.next() {
            match arg {
                "--minimise" => plan.minimise = true,
                "--seconds" => {
                    let number = args.next().and_then(|text| text.parse().ok()).filter(|&number| number > 0);
                    plan.seconds = number.ok_or("--seconds needs a whole number over 0")?;
                }
                name => plan.targets.push(Target::find(name)?),
            }
        }
        if plan.targets.is_empty() {
            plan.targets = TARGETS.iter().map(|&(name, longest)| Target { name, longest }).collect();
        }
        Ok(plan)
    }
}

/// Compiles the targets.
fn build() -> Result<(), String> {
    lock()?;
    let wrapper = env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let mut build = cargo(&["build", "--release", "--manifest-path", MANIFEST]);
    build.env("CARGO_TARGET_DIR", outputs()).env("RUSTC_WRAPPER", wrapper).env(AS_COMPILER, "1").env_remove("RUSTFLAGS");
    run(&mut build)
}

/// Gives the package, which is a workspace of its own, the project's versions of all crates that both have.
pub(crate) fn lock() -> Result<(), String> {
    let to = root().join(MANIFEST).with_file_name("Cargo.lock");
    fs::copy(root().join("Cargo.lock"), to).map(drop).map_err(|error| format!("cannot copy Cargo.lock: {error}"))
}

/// Where everything goes: programs, what the fuzzer finds, logs.
fn outputs() -> PathBuf {
    target_dir().join("fuzz")
}

struct Target {
    name: &'static str,
    longest: u32,
}

impl Target {
    fn find(name: &str) -> Result<Self, String> {
        let known = || TARGETS.map(|(name, _)| name).join(", ");
        let found = TARGETS.iter().find(|(known, _)| *known == name);
        found.map(|&(name, longest)| Self { name, longest }).ok_or_else(|| format!("no target `{name}`; there are {}", known()))
    }

    /// The inputs that are committed: one a line, in hexadecimal.
    fn corpus(&self) -> PathBuf {
        root().join("tests/fuzz/corpus").join(format!("{}.hex", self.name))
    }

    /// The committed inputs as files, in a folder of their own.
    fn unpack(&self) -> Result<PathBuf, String> {
        let failed = |why: String| format!("cannot unpack {}: {why}", self.corpus().display());
        let text = fs::read_to_string(self.corpus()).map_err(|error| failed(error.to_string()))?;
        let folder = empty_folder(&outputs().join("seeds").join(self.name))?;
        for (number, line) in text.lines().enumerate() {
            let bytes = from_hex(line).ok_or_else(|| failed(format!("line {} is no hexadecimal", number + 1)))?;
            fs::write(folder.join(number.to_string()), bytes).map_err(|error| failed(error.to_string()))?;
        }
        Ok(folder)
    }

    /// The inputs found on this machine.
    fn found(&self) -> PathBuf {
        outputs().join("corpus").join(self.name)
    }

    fn log(&self) -> PathBuf {
        outputs().join(format!("{}.log", self.name))
    }

    fn program(&self) -> Command {
        let mut command = program(outputs().join("release").join(executable_name(self.name)), &[]);
        command.arg(format!("-max_len={}", self.longest));
        let words = root().join("tests/fuzz/dictionaries").join(format!("{}.dict", self.name));
        if words.is_file() {
            command.arg(format!("-dict={}", words.display()));
        }
        command
    }

    /// Starts the fuzzer. The target itself sees to the one second that an input may take, on the processor's clock;
    /// libFuzzer's own limit is for what never ends.
    fn start(&self, seconds: u32) -> Result<std::process::Child, String> {
        let failed = |error| format!("cannot start {}: {error}", self.name);
        fs::create_dir_all(self.found()).map_err(failed)?;
        let log = File::create(self.log()).map_err(failed)?;
        let mut command = self.program();
        command.args(["-timeout=60", "-print_final_stats=1"]).arg(format!("-max_total_time={seconds}"));
        command.arg(format!("-artifact_prefix={}", outputs().join(format!("{}-", self.name)).display()));
        // New inputs go into the first folder.
        command.arg(self.found()).arg(self.unpack()?);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().map_err(failed)
    }

    fn finish(&self, started: Result<std::process::Child, String>, began: Instant) -> Outcome {
        let status = match started.and_then(|mut child| child.wait().map_err(|error| error.to_string())) {
            Ok(status) => status,
            Err(why) => return Outcome::Failed(why),
        };
        let log = fs::read(self.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        if status.success() {
            return Outcome::Passed(summary(&log, began.elapsed().as_secs()));
        }
        let last: Vec<&str> = log.lines().rev().take(40).collect();
        last.iter().rev().for_each(|line| println!("{line}"));
        let input = log.lines().find_map(|line| line.split_once("Test unit written to ")).map(|(_, path)| path);
        Outcome::Failed(match input {
            Some(path) => format!("the input is in {path}; `{} {path}` runs it again", self.program().get_program().display()),
            None => format!("{status}; see {}", self.log().display()),
        })
    }

    /// Makes the committed inputs anew: the fewest, of them and those found, that reach all branches.
    fn minimise(&self) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("cannot write {}: {error}", self.corpus().display());
        fs::create_dir_all(self.found()).map_err(failed)?;
        let kept = empty_folder(&outputs().join("kept").join(self.name))?;
        let mut merge = self.program();
        // Branches, not how often each is taken: a tenth of the inputs.
        run(merge.args(["-set_cover_merge=1", "-use_counters=0"]).args([&kept, &self.unpack()?, &self.found()]))?;
        let mut lines = Vec::new();
        for entry in kept.read_dir().map_err(failed)? {
            let bytes = entry.and_then(|entry| fs::read(entry.path())).map_err(failed)?;
            lines.push(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n");
        }
        lines.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
        fs::write(self.corpus(), lines.concat()).map_err(failed)
    }
}

/// The bytes that pairs of hexadecimal digits spell.
fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|&[high, low]| Some((digit(high)? << 4 | digit(low)?) as u8)).collect();
    if rest.is_empty() { bytes } else { None }
}

/// What libFuzzer's log says of a run: executions, branches reached.
fn summary(log: &str, seconds: u64) -> String {
    let runs =
        log.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units: ")).and_then(|text| text.trim().parse::<u64>().ok());
    let after = |word: &str| log.lines().rev().find_map(|line| line.split_once(word)).and_then(|(_, rest)| rest.split(' ').next());
    let runs = runs.unwrap_or(0);
    format!(
        "{runs} runs, {} a second; {} branches, {} features",
        runs / seconds.max(1),
        after(" cov: ").unwrap_or("no"),
        after(" ft: ").unwrap_or("no")
    )
}

#[cfg(test)]
mod tests {
    use super::{MANIFEST, Plan, SECONDS, TARGETS, Target, from_hex, summary};
    use crate::command::root;

    #[test]
    fn arguments_are_read_and_misspelt_ones_refused() {
        let all = Plan::read(&[]).unwrap();
        assert_eq!((all.targets.len(), all.seconds, all.minimise), (TARGETS.len(), SECONDS, false));
        let one = Plan::read(&["gguf", "--seconds", "5"]).unwrap();
        assert_eq!((one.targets.len(), one.targets[0].name, one.seconds), (1, "gguf", 5));
        for args in [&["ggml"][..], &["--seconds"], &["--seconds", "x"], &["--seconds", "0"]] {
            assert!(Plan::read(args).is_err(), "{args:?}");
        }
    }

    #[test]
    fn every_target_is_built_and_has_a_corpus() {
        let manifest = std::fs::read_to_string(root().join(MANIFEST)).unwrap();
        assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len());
        for (name, _) in TARGETS {
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
            let corpus = std::fs::read_to_string(Target::find(name).unwrap().corpus()).unwrap();
            assert!(corpus.lines().count() > 0 && corpus.lines().all(|line| from_hex(line).is_some()), "{name}");
        }
    }

    #[test]
    fn hexadecimal_is_read() {
        assert_eq!(from_hex("00fF7a"), Some(vec![0, 255, 0x7A]));
        assert_eq!((from_hex(""), from_hex("0"), from_hex("0g")), (Some(vec![]), None, None));
    }

    #[test]
    fn logs_are_summed_up() {
        let log = "#1\tNEW    cov: 5 ft: 6 corp: 1/1b\n#9\tpulse  cov: 12 ft: 34 corp: 2/9b lim: 4\nstat::number_of_executed_units: 90\n";
        assert_eq!(summary(log, 3), "90 runs, 30 a second; 12 branches, 34 features");
        assert_eq!(summary("", 0), "0 runs, 0 a second; no branches, no features");
    }
}
