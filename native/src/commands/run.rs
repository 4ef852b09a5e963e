//! `parhelion run`: one prompt, one answer.

use std::io::{self, IsTerminal, Read, Write};

use clap::Args;
use parhelion::loader::Message;
use parhelion::session::{FinishReason, GenerateOptions, Token};
use serde::Serialize;

use super::loaded::{Answer, Loaded, Purpose, TimingsOutput, show_on_stdout};
use super::options::{ModelOptions, SamplingOptions};
use super::{CommandError, Context, print_json};

const EXAMPLES: &str = "\
Examples:
  parhelion run \"Why is the sky blue?\"
  parhelion run \"Summarise this:\" - < notes.txt
  parhelion run --raw --temperature 0 --max-tokens 20 \"Once upon a time\"
  parhelion run --model model.gguf --json \"Hello\" | jq .timings";

/// The longest prompt read from standard input, in bytes: far past any context.
const MOST_INPUT: u64 = 64 << 20;

/// Answer one prompt
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct RunOptions {
    /// The prompt; `-` stands for standard input, which is also read where there is no prompt
    prompt: Vec<String>,
    /// Continue the prompt as plain text, without the model's chat template
    #[arg(long, conflicts_with = "system")]
    raw: bool,
    /// The system message
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// Print one JSON object at the end: text, tokens, prompt_tokens, finish_reason, timings
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    model: ModelOptions,
    #[command(flatten)]
    sampling: SamplingOptions,
}

pub(super) fn run(context: &Context, options: &RunOptions) -> Result<(), CommandError> {
    let prompt = prompt(&options.prompt)?;
    options.sampling.validate()?;
    let mut loaded = Loaded::new(context, &options.model, Purpose::Text)?;
    let generate = GenerateOptions { continues_text: options.raw, ..options.sampling.generate(loaded.sampling) };
    let seed = generate.sampling.seed;
    let tokens = if options.raw {
        loaded.text_tokens(&prompt)?
    } else {
        let system = options.system.iter().map(Message::system);
        let messages: Vec<_> = system.chain([Message::user(prompt)]).collect();
        loaded.chat_tokens(&messages)?
    };
    let answer = if options.json {
        loaded.answer(context, &tokens, generate, &mut |_| Ok(()))?
    } else {
        loaded.answer(context, &tokens, generate, &mut show_on_stdout())?
    };
    if options.json {
        print_json(&Output::new(&loaded, &tokens, &answer, seed))?;
    } else if !answer.text.ends_with('\n') {
        writeln!(io::stdout())?;
    }
    say_finish(context, &loaded, answer.finish);
    loaded.say_timings(context, &answer.timings);
    match answer.finish {
        Some(FinishReason::Cancelled) => Err(CommandError::Interrupted),
        _ => Ok(()),
    }
}

/// Says why an answer ended where that is not plain from the answer.
pub(super) fn say_finish(context: &Context, loaded: &Loaded, finish: Option<FinishReason>) {
    if finish == Some(FinishReason::Context) {
        let size = loaded.session.info().context;
        context.notice(&format!("the context of {size} tokens is full; --context N makes it larger"));
    }
}

/// The prompt of the arguments, `-` replaced by standard input; parts are joined by line ends.
fn prompt(arguments: &[String]) -> Result<String, CommandError> {
    if arguments.is_empty() {
        if io::stdin().is_terminal() {
            return Err(CommandError::Usage("there is no prompt: give it as an argument or on standard input".to_owned()));
        }
        return read_stdin();
    }
    let mut parts = Vec::new();
    let mut stdin_read = false;
    for argument in arguments {
        match argument.as_str() {
            "-" if stdin_read => return Err(CommandError::Usage("standard input can be read once only".to_owned())),
            "-" => {
                stdin_read = true;
                parts.push(read_stdin()?);
            }
            text => parts.push(text.to_owned()),
        }
    }
    Ok(parts.join("\n"))
}

/// All of standard input, without the line end that editors and `echo` leave.
pub(super) fn read_stdin() -> Result<String, CommandError> {
    let mut bytes = Vec::new();
    io::stdin().lock().take(MOST_INPUT + 1).read_to_end(&mut bytes).map_err(CommandError::Input)?;
    if bytes.len() as u64 > MOST_INPUT {
        let limit = crate::progress::bytes(MOST_INPUT);
        return Err(CommandError::Usage(format!("standard input is longer than {limit}, which fits no context")));
    }
    let text = String::from_utf8(bytes).map_err(|_| CommandError::Usage("standard input is not UTF-8 text".to_owned()))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

/// An answer as programs read it.
#[derive(Serialize)]
struct Output<'a> {
    text: &'a str,
    tokens: Vec<OutputToken>,
    prompt_tokens: &'a [u32],
    finish_reason: Option<&'static str>,
    /// Gives the same answer again with `--seed`.
    seed: u64,
    timings: TimingsOutput,
}

#[derive(Serialize)]
struct OutputToken {
    id: u32,
    text: Option<String>,
    logprob: f32,
}

impl<'a> Output<'a> {
    fn new(loaded: &Loaded, prompt: &'a [u32], answer: &'a Answer, seed: u64) -> Self {
        let tokenizer = loaded.session.tokenizer();
        let token = |token: &Token| OutputToken { id: token.id, text: tokenizer.token_text(token.id), logprob: token.logprob };
        Self {
            text: &answer.text,
            tokens: answer.tokens.iter().map(token).collect(),
            prompt_tokens: prompt,
            finish_reason: answer.finish.map(FinishReason::name),
            seed,
            timings: TimingsOutput::new(loaded.session.info().load, &answer.timings),
        }
    }
}
