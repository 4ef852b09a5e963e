//! `parhelion chat`: a conversation.

mod input;

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

use clap::Args;
use parhelion::loader::Message;
use parhelion::session::FinishReason;

use self::input::{Input, Lines};
use super::loaded::{Loaded, Purpose, show_on_stdout};
use super::options::{ModelOptions, SamplingOptions};
use super::run::say_finish;
use super::{CommandError, Context, say_error};

const EXAMPLES: &str = "\
Examples:
  parhelion chat                                  the default model, fetched once
  parhelion chat --model model.gguf --system \"Answer in one sentence.\"
  echo \"Why is the sky blue?\" | parhelion chat     each line is a turn

Ctrl-C stops an answer; a second Ctrl-C ends the program. /help lists what else there is.";

const HELP: &str = "\
/help         this list
/reset        forget the conversation
/save FILE    write the conversation to a new file: JSON if it ends in .json,
              else text
/system TEXT  set the system message; without TEXT, the model's own
/quit         end (or Ctrl-D)
//...         a message that starts with /";

/// Talk with a model
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ChatOptions {
    /// The system message
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    #[command(flatten)]
    model: ModelOptions,
    #[command(flatten)]
    sampling: SamplingOptions,
}

pub(super) fn run(context: &Context, options: &ChatOptions) -> Result<(), CommandError> {
    options.sampling.validate()?;
    let loaded = Loaded::new(context, &options.model, Purpose::Text)?;
    let mut lines = Lines::new()?;
    if lines.interactive() {
        context.notice("/help lists commands; Ctrl-C stops an answer");
    }
    let conversation = Conversation { system: options.system.clone(), messages: Vec::new() };
    let mut chat = Chat { context, loaded, options, conversation, turns: 0 };
    let mut interrupted = false;
    loop {
        context.interrupt.clear();
        match lines.next()? {
            Input::End => return Ok(()),
            Input::Interrupted if interrupted => return Err(CommandError::Interrupted),
            Input::Interrupted => {
                interrupted = true;
                context.notice("Ctrl-C again to quit");
            }
            Input::Line(line) => match chat.line(&line) {
                Ok(Next::Quit) => return Ok(()),
                Ok(Next::Line) => interrupted = false,
                Ok(Next::AfterInterrupt) => {
                    interrupted = true;
                    // A pipe has no one to type the second Ctrl-C.
                    if !lines.interactive() {
                        return Err(CommandError::Interrupted);
                    }
                }
                // One bad turn does not end a conversation that someone sits at.
                Err(error) if lines.interactive() && error.is_worth_printing() => {
                    interrupted = false;
                    say_error(&error);
                }
                Err(error) => return Err(error),
            },
        }
    }
}

/// What to do after a line.
enum Next {
    Line,
    AfterInterrupt,
    Quit,
}

/// What was said so far.
#[derive(Debug, Default)]
struct Conversation {
    system: Option<String>,
    messages: Vec<Message>,
}

struct Chat<'a> {
    context: &'a Context,
    loaded: Loaded,
    options: &'a ChatOptions,
    conversation: Conversation,
    turns: u64,
}

/// What a line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Line<'a> {
    Nothing,
    Help,
    Reset,
    Quit,
    Save(&'a str),
    System(&'a str),
    Unknown(&'a str),
    Message(&'a str),
}

fn parse(line: &str) -> Line<'_> {
    let line = line.trim();
    if line.is_empty() {
        return Line::Nothing;
    }
    let Some(command) = line.strip_prefix('/') else { return Line::Message(line) };
    if command.starts_with('/') {
        return Line::Message(command);
    }
    let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    match name {
        "help" => Line::Help,
        "reset" => Line::Reset,
        "quit" | "exit" => Line::Quit,
        "save" => Line::Save(rest.trim()),
        "system" => Line::System(rest.trim()),
        _ => Line::Unknown(name),
    }
}

impl Chat<'_> {
    fn line(&mut self, line: &str) -> Result<Next, CommandError> {
        match parse(line) {
            Line::Nothing => {}
            Line::Quit => return Ok(Next::Quit),
            Line::Help => writeln!(io::stdout(), "{HELP}")?,
            Line::Reset => {
                self.conversation.messages.clear();
                self.context.notice("the conversation is forgotten");
            }
            Line::System(text) => {
                self.conversation.system = Some(text.to_owned()).filter(|text| !text.is_empty());
                self.context.notice(if text.is_empty() { "the model's own system message" } else { "the system message is set" });
            }
            Line::Save("") => self.context.notice("/save needs the name of a file"),
            Line::Save(path) => {
                self.conversation.save(Path::new(path))?;
                self.context.notice(&format!("{} messages are in {path}", self.conversation.messages.len()));
            }
            Line::Unknown(name) => self.context.notice(&format!("there is no /{name}; /help lists what there is")),
            Line::Message(text) => return self.turn(text),
        }
        Ok(Next::Line)
    }

    /// Sends a message and shows the answer. A turn that fails leaves the conversation as it was.
    fn turn(&mut self, text: &str) -> Result<Next, CommandError> {
        self.conversation.messages.push(Message::user(text));
        let answered = self.answer();
        if answered.is_err() {
            self.conversation.messages.pop();
        }
        answered
    }

    fn answer(&mut self) -> Result<Next, CommandError> {
        let prompt = self.loaded.chat_tokens(&self.conversation.all())?;
        let mut options = self.options.sampling.generate(self.loaded.sampling);
        options.sampling.seed = options.sampling.seed.wrapping_add(self.turns);
        self.turns += 1;
        let answer = self.loaded.answer(self.context, &prompt, options, &mut show_on_stdout())?;
        if !answer.text.ends_with('\n') {
            writeln!(io::stdout())?;
        }
        let cancelled = answer.finish == Some(FinishReason::Cancelled);
        if cancelled {
            self.context.notice("stopped; Ctrl-C again to quit");
        }
        say_finish(self.context, &self.loaded, answer.finish);
        self.loaded.say_timings(self.context, &answer.timings);
        self.conversation.messages.push(Message::assistant(answer.text));
        Ok(if cancelled { Next::AfterInterrupt } else { Next::Line })
    }
}

impl Conversation {
    /// All messages, the system's first.
    fn all(&self) -> Vec<Message> {
        let system = self.system.iter().map(|text| Message::system(text.as_str()));
        system.chain(self.messages.iter().cloned()).collect()
    }

    /// Writes the conversation to a file that must not exist yet.
    fn save(&self, path: &Path) -> Result<(), CommandError> {
        let failed = |source| CommandError::Save { path: path.to_path_buf(), source };
        let json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
        let text = if json { self.as_json().map_err(io::Error::from).map_err(failed)? } else { self.as_text() };
        let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)
    }

    fn as_json(&self) -> serde_json::Result<String> {
        let messages: Vec<_> =
            self.all().into_iter().map(|message| serde_json::json!({ "role": message.role, "content": message.content })).collect();
        Ok(serde_json::to_string_pretty(&messages)? + "\n")
    }

    fn as_text(&self) -> String {
        self.all().iter().map(|message| format!("{}:\n{}\n\n", message.role, message.content.trim_end())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_messages_or_commands() {
        assert_eq!(parse("  "), Line::Nothing);
        assert_eq!(parse(" hello /help "), Line::Message("hello /help"));
        assert_eq!(parse("/help"), Line::Help);
        assert_eq!(parse("/reset now"), Line::Reset);
        assert_eq!(parse("/exit"), Line::Quit);
        assert_eq!(parse("/save  a b.txt "), Line::Save("a b.txt"));
        assert_eq!(parse("/save"), Line::Save(""));
        assert_eq!(parse("/system Be brief."), Line::System("Be brief."));
        assert_eq!(parse("/"), Line::Unknown(""));
        assert_eq!(parse("/etc/passwd"), Line::Unknown("etc/passwd"));
        assert_eq!(parse("//etc"), Line::Message("/etc"));
    }

    #[test]
    fn conversations_are_saved_once_in_the_form_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let conversation =
            Conversation { system: Some("Be brief.".to_owned()), messages: vec![Message::user("Hi"), Message::assistant("Hello!\n")] };
        let text = directory.path().join("talk.md");
        conversation.save(&text).unwrap();
        assert_eq!(std::fs::read_to_string(&text).unwrap(), "system:\nBe brief.\n\nuser:\nHi\n\nassistant:\nHello!\n\n");
        let error = conversation.save(&text).unwrap_err();
        assert!(matches!(error, CommandError::Save { .. }), "an existing file is left alone: {error}");
        let json = directory.path().join("talk.json");
        conversation.save(&json).unwrap();
        let saved: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
        assert_eq!(saved[0]["role"], "system");
        assert_eq!(saved[2]["content"], "Hello!\n");
    }
}
