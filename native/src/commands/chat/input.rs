//! Where a conversation's lines come from: an editor on a terminal, plain lines from a pipe.

use std::io::{self, BufRead, IsTerminal};

use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{Config, Editor};

use crate::commands::CommandError;

/// What came.
#[derive(Debug)]
pub(super) enum Input {
    /// A line, without its end.
    Line(String),
    /// Ctrl-C at the prompt.
    Interrupted,
    /// Ctrl-D, or the end of the pipe.
    End,
}

/// Lines of a conversation.
pub(super) enum Lines {
    /// Edited on a terminal; earlier lines come back with the arrow keys, and are forgotten with the program.
    Editor(Box<Editor<(), MemHistory>>),
    /// Read as they are.
    Pipe,
}

impl Lines {
    /// Lines from whatever standard input is.
    pub(super) fn new() -> Result<Self, CommandError> {
        if !io::stdin().is_terminal() {
            return Ok(Self::Pipe);
        }
        let config = Config::builder().auto_add_history(true).build();
        let history = MemHistory::with_config(&config);
        let editor = Editor::with_history(config, history).map_err(failed)?;
        Ok(Self::Editor(Box::new(editor)))
    }

    /// Whether someone sits there.
    pub(super) fn interactive(&self) -> bool {
        matches!(self, Self::Editor(_))
    }

    /// The next line.
    pub(super) fn next(&mut self) -> Result<Input, CommandError> {
        match self {
            Self::Editor(editor) => match editor.readline("> ") {
                Ok(line) => Ok(Input::Line(line)),
                Err(ReadlineError::Interrupted) => Ok(Input::Interrupted),
                Err(ReadlineError::Eof) => Ok(Input::End),
                Err(error) => Err(failed(error)),
            },
            Self::Pipe => {
                let mut line = String::new();
                match io::stdin().lock().read_line(&mut line).map_err(CommandError::Input)? {
                    0 => Ok(Input::End),
                    _ => Ok(Input::Line(line.trim_end_matches(['\r', '\n']).to_owned())),
                }
            }
        }
    }
}

fn failed(error: ReadlineError) -> CommandError {
    CommandError::Input(match error {
        ReadlineError::Io(error) => error,
        other => io::Error::other(other),
    })
}
