//! Conversations to prompts, by the template that a model is published with.

use std::io;

use minijinja::Environment;
use minijinja::value::Value;
use serde_json::Map;

use crate::LoadError;
use crate::hub::{Beside, HubFiles, MAX_TEMPLATE, TOKEN_NAMES, Templates};
use crate::metadata::Metadata;
use crate::tokenizer::{control_texts, hub_control_texts};

mod environment;
mod guard;
mod json;
mod limits;
mod time;

pub use time::CivilTime;

use guard::{Guard, Marking};

const TEMPLATE_KEY: &str = "tokenizer.chat_template";
const TOOLS_TEMPLATE_KEY: &str = "tokenizer.chat_template.tool_use";
/// The names under which the environment knows the templates, as its errors print them.
const TEMPLATE_NAME: &str = "chat_template";
const TOOLS_TEMPLATE_NAME: &str = "tool_use";
/// Tokens that templates refer to by name, with the entries that hold their ids.
const NAMED_TOKENS: [(&str, &str); 4] = [
    ("bos_token", "tokenizer.ggml.bos_token_id"),
    ("eos_token", "tokenizer.ggml.eos_token_id"),
    ("pad_token", "tokenizer.ggml.padding_token_id"),
    ("unk_token", "tokenizer.ggml.unknown_token_id"),
];
/// A role's longest name, in bytes.
const MAX_ROLE: usize = 64;

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Who speaks: `system`, `user`, `assistant`, `tool`, or another name that the template knows. Letters, digits,
    /// `_`, `-` and `.` only, because templates write it inside control tokens.
    pub role: String,
    /// What is said. Control tokens in it stay text.
    pub content: String,
    /// Further fields that templates read, such as `tool_calls`, `name` or `reasoning_content`. Control tokens in
    /// their strings stay text too.
    pub extra: Map<String, serde_json::Value>,
}

impl Message {
    /// A turn of plain text.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into(), extra: Map::new() }
    }

    /// A turn of the system.
    pub fn system(content: impl Into<String>) -> Self {
        Self::new("system", content)
    }

    /// A turn of the user.
    pub fn user(content: impl Into<String>) -> Self {
        Self::new("user", content)
    }

    /// A turn of the model.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self::new("assistant", content)
    }
}

/// What a template is rendered with besides the messages.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ChatOptions {
    /// Whether the prompt ends with the start of an answer.
    pub add_generation_prompt: bool,
    /// The time that templates may write into the prompt. Without it the function `strftime_now` is undefined, which
    /// templates test for.
    pub now: Option<CivilTime>,
    /// Variables by the names that templates read, such as `tools`, `documents` or `enable_thinking`. Control tokens
    /// in their strings stay text.
    pub extra: Map<String, serde_json::Value>,
}

/// A rendered conversation that knows which of its characters users wrote.
/// [`crate::Tokenizer::encode_prompt`] turns it into ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    text: String,
    /// Byte offsets of characters that may belong to no control token, ascending.
    user_text: Vec<usize>,
}

impl Prompt {
    /// The text, for people and logs. Not for [`crate::Tokenizer::encode`]: that could not tell control tokens that the
    /// template wrote from those that a user typed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a user wrote a guarded character of the bytes `start..end`.
    pub(crate) fn is_user_text_within(&self, start: usize, end: usize) -> bool {
        let first = self.user_text.partition_point(|&at| at < start);
        self.user_text.get(first).is_some_and(|&at| at < end)
    }
}

/// A compiled chat template: the Jinja dialect of published models, without any way to files, clocks or the network,
/// and with bounded time, memory and output.
pub struct ChatTemplate {
    file: String,
    environment: Environment<'static>,
    has_tools_template: bool,
    guard: Guard,
    /// `bos_token` and its like.
    tokens: Vec<(&'static str, String)>,
}

impl ChatTemplate {
    /// Compiles `tokenizer.chat_template`, and `tokenizer.chat_template.tool_use`, which is taken where tools are given;
    /// `None` where the file has none.
    ///
    /// # Errors
    /// [`LoadError::Template`] with the line of a syntax error; [`LoadError::BadValue`] or [`LoadError::MissingKey`]
    /// for entries of the wrong type and for a file that has a template but no vocabulary.
    pub fn from_metadata(metadata: &Metadata) -> Result<Option<Self>, LoadError> {
        let Some(source) = metadata.optional(TEMPLATE_KEY, Metadata::str)? else {
            return Ok(None);
        };
        let with_tools = metadata.optional(TOOLS_TEMPLATE_KEY, Metadata::str)?;
        let vocabulary = metadata.strings("tokenizer.ggml.tokens")?;
        let mut tokens = Vec::new();
        for (name, key) in NAMED_TOKENS {
            let id = metadata.optional(key, Metadata::u32)?;
            if let Some(text) = id.and_then(|id| vocabulary.get(id as usize)) {
                tokens.push((name, text.to_owned()));
            }
        }
        Self::compile(metadata.file(), source, with_tools, tokens, control_texts(metadata)?).map(Some)
    }

    /// Compiles the chat template of a repository in the layout of the Hugging Face hub: `chat_template.jinja`, or that
    /// of `tokenizer_config.json`, which may be several by name, of which `tool_use` is taken where tools are given and
    /// `default` elsewhere. `None` where there is none.
    ///
    /// # Errors
    /// [`LoadError::Template`] with the line of a syntax error; [`LoadError::BadValue`] for templates that are no UTF-8 or
    /// too long, and lists of templates without a `default`; [`LoadError::MissingFile`] without
    /// a `tokenizer.json`, whose control tokens must stay text where users write them.
    pub fn from_hub(files: &HubFiles<'_>) -> Result<Option<Self>, LoadError> {
        let beside = Beside::read(files)?;
        let Some((file, source, with_tools)) = published(files, &beside.templates)? else {
            return Ok(None);
        };
        let controls = hub_control_texts(files)?;
        let named = TOKEN_NAMES.into_iter().filter_map(|name| Some((name, beside.token(name)?.to_owned())));
        Self::compile(&file, source, with_tools, named.collect(), controls).map(Some)
    }

    /// Compiles `source`, and the template to take where tools are given. `tokens` are the variables such as `bos_token`;
    /// `controls` are the texts of all control tokens, which stay text where a user wrote them.
    fn compile(
        file: &str,
        source: &str,
        with_tools: Option<&str>,
        tokens: Vec<(&'static str, String)>,
        controls: Vec<String>,
    ) -> Result<Self, LoadError> {
        let source = environment::without_generation_tags(source);
        let with_tools = with_tools.map(environment::without_generation_tags);
        let guard = Guard::new(controls, &format!("{source}\n{}", with_tools.as_deref().unwrap_or_default()));
        let has_tools_template = with_tools.is_some();
        let named = [(TEMPLATE_NAME, source)].into_iter().chain(with_tools.map(|source| (TOOLS_TEMPLATE_NAME, source)));
        let named = named.map(|(name, source)| (name, source.into_owned()));
        let environment = environment::build(named).map_err(|error| failed(file, &error))?;
        Ok(Self { file: file.to_owned(), environment, has_tools_template, guard, tokens })
    }

    /// Renders a conversation.
    ///
    /// # Errors
    /// [`LoadError::Template`]: the template refuses the conversation (its own words are in the message), fails, runs
    /// too long or writes too much; or a role has characters other than letters, digits, `_`, `-` and `.`.
    pub fn render(&self, messages: &[Message], options: &ChatOptions) -> Result<Prompt, LoadError> {
        let size = input_size(messages, options);
        let mut marking = self.guard.marking(messages, options);
        let context = self.context(&mut marking, messages, options, size).map_err(|reason| self.error(reason))?;

        let mut environment = self.environment.clone();
        environment.set_fuel(Some(environment::fuel(messages.len(), size)));
        let tools = options.extra.get("tools").is_some_and(|tools| !tools.is_null());
        let name = if tools && self.has_tools_template { TOOLS_TEMPLATE_NAME } else { TEMPLATE_NAME };
        let template = environment.get_template(name).map_err(|error| failed(&self.file, &error))?;
        let mut output = Limited { bytes: Vec::new(), limit: environment::output_limit(size) };
        let rendered = template.render_captured_to(context, &mut output).map(|_| ());
        if output.bytes.len() >= output.limit {
            return Err(self.error(format!("it wrote more than {} bytes for {size} bytes of messages", output.limit)));
        }
        rendered.map_err(|error| failed(&self.file, &error))?;
        let text = String::from_utf8(output.bytes).map_err(|error| self.error(error.to_string()))?;
        let (text, user_text) = marking.restore(&text);
        Ok(Prompt { text, user_text })
    }

    /// The template's variables, with user text marked.
    fn context(&self, marking: &mut Marking<'_>, messages: &[Message], options: &ChatOptions, size: usize) -> Result<Value, String> {
        let mut variables: Vec<(String, Value)> = Vec::new();
        for (name, text) in &self.tokens {
            variables.push(((*name).to_owned(), Value::from(text.as_str())));
        }
        // As `apply_chat_template` has them where there are none.
        for absent in ["tools", "documents"].into_iter().filter(|name| !options.extra.contains_key(*name)) {
            variables.push((absent.to_owned(), Value::from(())));
        }
        for (name, value) in &options.extra {
            variables.push((name.clone(), marking.value(value)?));
        }
        let mut turns = Vec::with_capacity(messages.len());
        for message in messages {
            turns.push(turn(marking, message)?);
        }
        variables.push(("messages".to_owned(), Value::from(turns)));
        variables.push(("add_generation_prompt".to_owned(), Value::from(options.add_generation_prompt)));
        if let Some(now) = options.now {
            variables.push(("strftime_now".to_owned(), environment::strftime_now(now)));
        }
        variables.push((limits::SIZE.to_owned(), Value::from(size)));
        Ok(Value::from_pairs(variables))
    }

    fn error(&self, reason: String) -> LoadError {
        LoadError::Template { file: self.file.clone(), reason }
    }
}

/// The file that has a repository's template, the template, and the one for conversations with tools.
type Published<'a> = (String, &'a str, Option<&'a str>);

/// The chat template of a repository, and the one for conversations with tools.
pub(crate) fn published_templates(files: &HubFiles<'_>, templates: &Templates) -> Result<Option<(String, Option<String>)>, LoadError> {
    let published = published(files, templates)?;
    Ok(published.map(|(_, source, with_tools)| (source.to_owned(), with_tools.map(str::to_owned))))
}

fn published<'a>(files: &HubFiles<'a>, templates: &'a Templates) -> Result<Option<Published<'a>>, LoadError> {
    let config = files.path("tokenizer_config.json");
    let bad = |file: String, expected: String, got: String| LoadError::BadValue { file, key: TEMPLATE_NAME.to_owned(), expected, got };
    if let Some(bytes) = files.chat_template {
        let file = files.path("chat_template.jinja");
        if bytes.len() > MAX_TEMPLATE {
            return Err(bad(file, format!("at most {MAX_TEMPLATE} bytes"), bytes.len().to_string()));
        }
        return match std::str::from_utf8(bytes) {
            Ok(source) => Ok(Some((file, source, None))),
            Err(error) => Err(bad(file, "UTF-8".to_owned(), error.to_string())),
        };
    }
    match templates {
        Templates::None => Ok(None),
        Templates::One(source) => Ok(Some((config, source, None))),
        Templates::Named(list) => {
            let named = |wanted: &str| list.iter().find(|(name, _)| name == wanted).map(|(_, source)| source.as_str());
            match (named("default"), list.as_slice()) {
                (Some(source), _) => Ok(Some((config, source, named("tool_use")))),
                (None, []) => Ok(None),
                (None, [(_, only)]) => Ok(Some((config, only, None))),
                (None, list) => {
                    let names: Vec<&str> = list.iter().take(8).map(|(name, _)| name.as_str()).collect();
                    Err(bad(config, "a list with a template called \"default\"".to_owned(), names.join(", ")))
                }
            }
        }
    }
}

/// A message as templates see it.
fn turn(marking: &mut Marking<'_>, message: &Message) -> Result<Value, String> {
    let role = message.role.as_str();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if role.is_empty() || role.len() > MAX_ROLE || !role.bytes().all(plain) {
        let shown: String = role.chars().take(MAX_ROLE).collect();
        return Err(format!("{shown:?} is no role: expected 1 to {MAX_ROLE} letters, digits, `_`, `-` or `.`"));
    }
    let mut fields = vec![("role".to_owned(), Value::from(role)), ("content".to_owned(), Value::from(marking.text(&message.content)?))];
    for (name, value) in &message.extra {
        if matches!(name.as_str(), "role" | "content") {
            return Err(format!("a message's extra fields have a second `{name}`; set the field of that name instead"));
        }
        fields.push((marking.text(name)?, marking.value(value)?));
    }
    Ok(Value::from_pairs(fields))
}

/// Bytes of text that the template is given: the measure of how long it may run and how much it may write.
fn input_size(messages: &[Message], options: &ChatOptions) -> usize {
    let extra =
        |fields: &Map<String, serde_json::Value>| fields.iter().map(|(name, value)| name.len() + json::text_size(value)).sum::<usize>();
    messages.iter().map(|message| message.role.len() + message.content.len() + extra(&message.extra)).sum::<usize>() + extra(&options.extra)
}

/// The error for what the template engine says, with the causes behind it.
fn failed(file: &str, error: &minijinja::Error) -> LoadError {
    let mut reason = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(behind) = cause {
        reason = format!("{reason}: {behind}");
        cause = behind.source();
    }
    LoadError::Template { file: file.to_owned(), reason }
}

/// Output that stops a template which writes without end.
struct Limited {
    bytes: Vec<u8>,
    limit: usize,
}

impl io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.limit - self.bytes.len();
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if bytes.len() < room { Ok(bytes.len()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
