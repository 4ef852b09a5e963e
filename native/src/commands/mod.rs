//! The commands of the program, one file each, and what they share.

mod chat;
mod doctor;
mod embed;
mod error;
mod inspect;
mod kv;
mod loaded;
mod models;
mod options;
mod quantize;
mod run;
mod score;
mod serve_web;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};

pub use self::error::CommandError;
use crate::cache::Cache;
use crate::fetch::{Fetcher, Settings};
use crate::interrupt::Interrupt;
use crate::model::{ModelName, NameError};
use crate::progress::{Progress, Silent, Stderr};

const EXAMPLES: &str = "\
Examples:
  parhelion chat                           talk to the default model
  parhelion run \"Why is the sky blue?\"     one answer
  parhelion run -m owner/name \"Hello\"     a model of the hub
  parhelion inspect model.gguf             what a file holds
  parhelion doctor                         what this machine can do";

/// Runs open language models straight from their published files, on the GPU or without one.
#[derive(Debug, Parser)]
#[command(name = "parhelion", version, after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: GlobalOptions,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub struct GlobalOptions {
    /// Say only what was asked for: no progress, notices or timings
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Ask nothing of any network; also HF_HUB_OFFLINE=1
    #[arg(long, global = true)]
    pub offline: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Chat(Box<chat::ChatOptions>),
    Run(Box<run::RunOptions>),
    Score(Box<score::ScoreOptions>),
    Embed(Box<embed::EmbedOptions>),
    Inspect(inspect::InspectOptions),
    Quantize(Box<quantize::QuantizeOptions>),
    Doctor(Box<doctor::DoctorOptions>),
    Models(models::ModelsOptions),
    ServeWeb(serve_web::ServeWebOptions),
}

/// What every command is given.
pub struct Context {
    /// The options of every command.
    pub global: GlobalOptions,
    /// Raised by Ctrl-C.
    pub interrupt: Interrupt,
    progress: Box<dyn Progress>,
    settings: Settings,
}

impl Context {
    fn new(global: GlobalOptions, interrupt: Interrupt) -> Self {
        let progress: Box<dyn Progress> = if global.quiet { Box::new(Silent) } else { Box::new(Stderr::new()) };
        let mut settings = Settings::of_user();
        settings.hub.offline |= global.offline;
        Self { global, interrupt, progress, settings }
    }

    /// Says something on standard error, unless the user wants quiet.
    pub fn notice(&self, line: &str) {
        self.progress.note(line);
    }

    /// Ends a command between its steps where Ctrl-C asked for it.
    ///
    /// # Errors
    /// [`CommandError::Interrupted`].
    pub fn stop_if_interrupted(&self) -> Result<(), CommandError> {
        if self.interrupt.is_raised() { Err(CommandError::Interrupted) } else { Ok(()) }
    }

    /// Who is told how long steps go.
    pub fn progress(&self) -> &dyn Progress {
        self.progress.as_ref()
    }

    /// A fetcher into `cache`.
    pub fn fetcher<'a>(&'a self, cache: &'a Cache) -> Fetcher<'a> {
        Fetcher { cache, settings: &self.settings, progress: self.progress(), interrupt: &self.interrupt }
    }

    /// What the user means by `name`; the default model where there is none.
    ///
    /// # Errors
    /// Where the name means nothing.
    pub fn model_name(&self, name: Option<&str>) -> Result<ModelName, NameError> {
        ModelName::parse(name, &self.settings.hub.endpoint)
    }

    /// The file or directory of the model called `name`, or of the default model; fetched where it is not here yet.
    ///
    /// # Errors
    /// Where the name means nothing or the model cannot be had.
    pub fn model_path(&self, name: Option<&str>) -> Result<PathBuf, CommandError> {
        match self.model_name(name)? {
            ModelName::Path(path) => Ok(path),
            name => Ok(name.fetch(&self.fetcher(&Cache::of_user()?))?),
        }
    }
}

/// Runs the program on this process's arguments.
pub fn main() -> ExitCode {
    exit_code(run(std::env::args_os()))
}

fn run(arguments: impl Iterator<Item = OsString>) -> Result<(), CommandError> {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let usage = !matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            let _ = error.print();
            return if usage { Err(CommandError::UsageShown) } else { Ok(()) };
        }
    };
    let interrupt = Interrupt::on_ctrl_c().map_err(CommandError::Signal)?;
    let context = Context::new(cli.global, interrupt);
    match cli.command {
        Command::Chat(options) => chat::run(&context, &options),
        Command::Run(options) => run::run(&context, &options),
        Command::Score(options) => score::run(&context, &options),
        Command::Embed(options) => embed::run(&context, &options),
        Command::Inspect(options) => inspect::run(&context, &options),
        Command::Quantize(options) => quantize::run(&context, &options),
        Command::Doctor(options) => doctor::run(&context, &options),
        Command::Models(options) => models::run(&context, options),
        Command::ServeWeb(options) => serve_web::run(&context, &options),
    }
}

/// Tells an error on standard error, which even the quiet want to know of. To be stopped by the user is none.
fn say_error(error: &CommandError) {
    let prefix = if error.is_interruption() { "" } else { "error: " };
    let _ = writeln!(io::stderr(), "{prefix}{error}");
}

fn exit_code(result: Result<(), CommandError>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    if error.is_worth_printing() {
        say_error(&error);
    }
    ExitCode::from(error.exit_code())
}

/// Writes `value` as one JSON object on one line of standard output.
fn print_json(value: &impl serde::Serialize) -> Result<(), CommandError> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, value).map_err(io::Error::from)?;
    writeln!(out)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// Every command explains itself and shows how it is used.
    #[test]
    fn every_command_has_help_and_examples() {
        for command in Cli::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{} says nothing of itself", command.get_name());
            let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(examples.contains("parhelion "), "{} has no examples", command.get_name());
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {} has no help", command.get_name(), argument.get_id());
            }
        }
    }
}
