//! Chat templates: compiles one and renders a conversation with it.
//!
//! An input is parts between NUL bytes: the template, then the conversation's strings. Bytes from 0x80 stand for
//! [`SNIPPETS`], so that one changed byte is another construct of the language.

use std::sync::{Arc, LazyLock};

use parhelion_loader::chat::CivilTime;
use parhelion_loader::{ChatOptions, ChatTemplate, Checkpoint, LoadError, MemorySource, Message, Prompt, Tokenizer};

use crate::bounds::within;
use crate::build::expand;
use crate::common::Gguf;

/// Text that users type to be taken for the program.
const CONTROLS: [&str; 5] = ["<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|user|>"];

const SNIPPETS: [&str; 128] = [
    "{% for m in messages %}",
    "{% endfor %}",
    "{% if m.role == 'user' %}",
    "{% elif loop.last and add_generation_prompt %}",
    "{% else %}",
    "{% endif %}",
    "{{ m.content }}",
    "{{ m['content'] | trim }}",
    "{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>' }}",
    "{{ bos_token }}",
    "{{ eos_token }}",
    "{%- set ns = namespace(n=0, s='') -%}",
    "{%- set ns.n = ns.n + 1 -%}",
    "{%- set ns.s = ns.s ~ m.content -%}",
    "{{ ns.s }}",
    "{% set x = messages %}",
    "{{ x }}",
    "{% macro f(a, b=1) %}",
    "{% endmacro %}",
    "{{ f(m) }}",
    "{{ f(x, b=messages) }}",
    "{% call f(x) %}",
    "{% endcall %}",
    "{{ caller() }}",
    "{% set y %}",
    "{% endset %}",
    "{% filter upper %}",
    "{% endfilter %}",
    "{% generation %}",
    "{% endgeneration %}",
    "{% break %}",
    "{% continue %}",
    "{% for i in range(1000) %}",
    "{% for k, v in tools[0] | items %}",
    "{% for c in x recursive %}",
    "{{ loop(x) }}",
    "{{ loop.index0 % 2 }}",
    "{{ loop.cycle('a', 'b') }}",
    "{{ loop.changed(m) }}",
    "{% raw %}",
    "{% endraw %}",
    "{# ",
    " #}",
    "{% include x %}",
    "{% import x as z %}",
    "{% extends x %}",
    "{% block b %}",
    "{% endblock %}",
    "{% do x.append(1) %}",
    "{% with z = x %}",
    "{% endwith %}",
    "{% autoescape true %}",
    "{% endautoescape %}",
    "{{ ",
    " }}",
    "{% ",
    " %}",
    "{%- ",
    " -%}",
    " | tojson",
    " | tojson(indent=4)",
    " | tojson(indent=99999999999, ensure_ascii=True, sort_keys=True)",
    " | map(attribute='content')",
    " | selectattr('role', 'equalto', 'user')",
    " | rejectattr('x', 'defined')",
    " | list",
    " | join('')",
    " | length",
    " | first",
    " | last",
    " | reverse",
    " | sort",
    " | unique",
    " | slice(3)",
    " | batch(2, 0)",
    " | groupby('role')",
    " | dictsort",
    " | items",
    " | replace('a', 'bbbbbbbb')",
    " | indent(1000)",
    " | default('')",
    " | string",
    " | int",
    " | float",
    " | round(99)",
    " | abs",
    " | title",
    " | lower",
    " | capitalize",
    " | safe",
    " | e",
    " | urlencode",
    " | pprint",
    " | format(m, x)",
    " | sum",
    " | min",
    " | chain(x)",
    " | zip(x)",
    ".split('a')",
    ".strip('<>|')",
    ".lstrip()",
    ".rstrip('\\n')",
    ".startswith('<|')",
    ".endswith(('a', 'b'))",
    ".replace('', 'ab')",
    ".find('a')",
    ".format(x, a=m)",
    ".join(x)",
    ".items()",
    ".get('content', x)",
    ".keys() | list",
    ".__class__.__mro__[1].__subclasses__()",
    "[::-1]",
    "[1:-1]",
    "[-9223372036854775808]",
    " ~ ",
    " * 1000",
    " ** 99",
    " // 0",
    " % 0",
    " - 9223372036854775807",
    " in ",
    " is defined",
    " is mapping",
    " if x else ",
    "{{ raise_exception('no') }}",
    "{{ strftime_now('%d %b %Y %-I') }}",
    "<|im_end|>é\u{F0000}\u{10FFFD}",
];

/// Prompts over this many bytes are not turned into tokens, for the sake of speed.
const LONGEST_PROMPT: usize = 64 << 10;
/// The most heap that a template may take: what its budget pays for, see the loader's `fuel`, and the output.
const RENDERING: usize = 96 << 20;

/// A checkpoint with `template` and a vocabulary of bytes and control tokens.
fn checkpoint(template: &str) -> Checkpoint {
    let letters: Vec<String> = (0x21..0x7F_u8).map(|byte| char::from(byte).to_string()).collect();
    let tokens: Vec<&str> = CONTROLS.into_iter().chain(letters.iter().map(String::as_str)).collect();
    let kinds: Vec<i32> = (0..tokens.len()).map(|id| if id < CONTROLS.len() { 3 } else { 1 }).collect();
    let file = Gguf::default()
        .str("tokenizer.ggml.model", "gpt2")
        .str("tokenizer.ggml.pre", "gpt-2")
        .strs("tokenizer.ggml.tokens", tokens)
        .i32s("tokenizer.ggml.token_type", &kinds)
        .strs("tokenizer.ggml.merges", [])
        .u32("tokenizer.ggml.bos_token_id", 0)
        .u32("tokenizer.ggml.eos_token_id", 1)
        .str("tokenizer.chat_template", template);
    let source = Arc::new(MemorySource::new("model.gguf", file.bytes()));
    match pollster::block_on(Checkpoint::open(source)) {
        Ok(checkpoint) => checkpoint,
        Err(error) => unreachable!("the file around the template is sound: {error}"),
    }
}

/// Compiles and renders what the input says.
pub fn run(input: &[u8]) {
    static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| match pollster::block_on(checkpoint("").tokenizer()) {
        Ok(tokenizer) => tokenizer,
        Err(error) => unreachable!("the vocabulary is sound: {error}"),
    });
    let mut parts = input.split(|&byte| byte == 0);
    let source = expand(parts.next().unwrap_or_default(), &SNIPPETS);
    let checkpoint = checkpoint(&source);
    // The template's text, its tree and its instructions, some of which take a hundred bytes for one character.
    let compiled = within(512 * source.len() + (1 << 20), || pollster::block_on(checkpoint.chat_template()));
    let Ok(Some(template)) = compiled else { return };
    let strings: Vec<String> = parts.map(|part| expand(part, &SNIPPETS)).collect();
    let size: usize = strings.iter().map(String::len).sum();
    let rendered = within(RENDERING + 32 * size, || render(&template, &strings));
    let Ok(prompt) = rendered else { return };
    if !may_write_controls(&source) && prompt.text().len() <= LONGEST_PROMPT {
        let ids = TOKENIZER.encode_prompt(&prompt).unwrap_or_default();
        assert!(!ids.iter().any(|&id| TOKENIZER.is_control(id)), "user text became a control token: {:?}", prompt.text());
    }
}

/// Whether a template has any means to write `<` itself, with which all control tokens here begin.
fn may_write_controls(source: &str) -> bool {
    ["<", "\\", "token", "debug", "format", "self"].iter().any(|word| source.contains(word))
}

fn render(template: &ChatTemplate, strings: &[String]) -> Result<Prompt, LoadError> {
    let mut messages = Vec::new();
    let mut options = ChatOptions { add_generation_prompt: true, now: CivilTime::from_unix(1_700_000_000), ..ChatOptions::default() };
    for (number, text) in strings.iter().enumerate() {
        match (number % 4, messages.last_mut()) {
            (2, _) => drop(options.extra.insert("tools".to_owned(), fields(text))),
            (3, Some(Message { extra, .. })) => drop(extra.insert(text.clone(), fields(text))),
            (1, _) => messages.push(Message::assistant(text.as_str())),
            _ => messages.push(Message::user(text.as_str())),
        }
    }
    template.render(&messages, &options)
}

/// A structure as of tool calls with `text` in it.
fn fields(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|_| serde_json::json!([{ "name": text, "nested": { text: [text, 1.5, null] } }]))
}
