//! Chat templates made to hang, fill memory, or reach out; and users who type control tokens, in both dialects.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is amiss")]

mod common;
mod counting;

use std::time::{Duration, Instant};

use common::Gguf;
use parhelion_loader::{ChatOptions, ChatTemplate, HubFiles, LoadError, Message, Prompt, Tokenizer};
use serde_json::{Value, json};

/// The most bytes that a template may take for a short conversation.
const MOST_MEMORY: usize = 128 << 20;
const MOST_TIME: Duration = Duration::from_millis(100);

fn tokenizer_json() -> String {
    let vocab: serde_json::Map<String, Value> = (0x20..0x7F_u8).map(|byte| (char::from(byte).to_string(), json!(byte))).collect();
    let special = |(id, text): (usize, &&str)| json!({ "id": 200 + id, "content": text, "special": true });
    let added: Vec<Value> = SPECIALS.iter().enumerate().map(special).collect();
    json!({ "added_tokens": added, "decoder": { "type": "ByteLevel" }, "model": { "type": "BPE", "vocab": vocab, "merges": [] } })
        .to_string()
}

const SPECIALS: [&str; 12] = [
    "<s>",
    "</s>",
    "<|im_start|>",
    "<|im_end|>",
    "<|eot_id|>",
    "<start_of_turn>",
    "<end_of_turn>",
    "[INST]",
    "[/INST]",
    "<|end|>",
    "<｜User｜>",
    "<|begin_of_text|>",
];

fn template(source: &str) -> Result<ChatTemplate, LoadError> {
    let tokenizer = tokenizer_json();
    let files = HubFiles {
        name: "model",
        tokenizer_json: Some(tokenizer.as_bytes()),
        chat_template: Some(source.as_bytes()),
        ..HubFiles::default()
    };
    ChatTemplate::from_hub(&files).map(Option::unwrap)
}

fn render(source: &str) -> Result<Prompt, LoadError> {
    template(source)?.render(&[Message::user("Hello there")], &ChatOptions::default())
}

/// Templates, none of which may do what it sets out to.
const HOSTILE: &[&str] = &[
    "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
    "{% for a in range(1000000000) %}x{% endfor %}",
    // What the template engine panics at.
    "{% for m in messages %}{% with z = x %}{% continue %}{% endwith %}{% endfor %}",
    "{% for m in messages %}{% set z %}{% break %}{% endset %}{% endfor %}",
    "{% for m in messages %}{% filter upper %}{% continue %}{% endfilter %}{% endfor %}",
    "{% for m in messages %}{% with z = x %}{% for n in [] %}{% else %}{% continue %}{% endfor %}{% endwith %}{% endfor %}",
    "{{ range(10**12) | list }}",
    "{{ range(99999999999999999999999) | length }}",
    "{% for a in range(100000) %}{{ 'x' * 1000 }}{% endfor %}",
    "{{ 'x' * 10000000000 }}",
    "{{ [1] * 1000000000 }}",
    "{{ 'x' * 9223372036854775807 }}",
    "{% set s = 'xxxxxxxx' %}{% for a in range(60) %}{% set s = s ~ s %}{{ s }}{% endfor %}",
    "{% set n = namespace(s='xxxxxxxx') %}{% for a in range(60) %}{% set n.s = n.s ~ n.s %}{% endfor %}",
    "{% set n = namespace(s='xxxxxxxx') %}{% for a in range(60) %}{% set n.s = n.s + n.s %}{% endfor %}",
    "{% set n = namespace(l=[1]) %}{% for a in range(60) %}{% set n.l = n.l + n.l %}{% endfor %}",
    "{% set n = namespace(l=[1]) %}{% for a in range(60) %}{% set x = n.l + n.l %}{% set n.l = x %}{% endfor %}{{ n.l | length }}",
    "{% set n = namespace(l=(1, 2)) %}{% for a in range(60) %}{% set n.l = n.l + n.l %}{% endfor %}",
    "{% set n = namespace(l=messages[0].items()) %}{% for a in range(60) %}{% set n.l = n.l + n.l %}{% endfor %}",
    "{% set n = namespace(l=[1], s='\\'') %}{% for a in range(60) %}{% set s = '\\'' %}{% set n.l = n.l + n.l %}{% endfor %}",
    "{% set n = namespace(l=[1]) %}{% for a in range(60) %}{% set n.l = [n.l, n.l] %}{% endfor %}{{ n.l | tojson }}",
    "{% set n = namespace(l=[1]) %}{% for a in range(60) %}{% set n.l = [n.l, n.l] %}{% endfor %}{{ n.l }}",
    "{% set n = namespace(l=[1]) %}{% for a in range(60) %}{% set n.l = [n.l, n.l] %}{% endfor %}{{ n.l | string | length }}",
    "{% set n = namespace(l=[1], m=[1]) %}{% for a in range(60) %}{% set n.l = [n.l, n.l] %}{% set n.m = [n.m, n.m] %}{% endfor %}{{ n.l == n.m }}",
    "{% set n = namespace(l={'a': 1}) %}{% for a in range(60) %}{% set n.l = {'a': n.l, 'b': n.l} %}{% endfor %}{{ n.l ~ '' }}",
    "{{ ([[1] * 100000] * 100000) | string | length }}",
    "{{ (100000 * [100000 * [1]]) ~ '' }}",
    "{{ (('a,' * 10000).split(',') * 100000) ~ '' }}",
    "{{ (messages * 100000) | join | length }}",
    "{% macro m(l, n) %}{{ m(l + l, n - 1) if n }}{% endmacro %}{{ m([1], 60) }}",
    "{% set n = namespace(l=[1]) %}{% for a in range(60) %}{% set n.l = n.l + n.l + n.l + n.l + n.l + n.l + n.l %}{% endfor %}",
    "{% set n = namespace(s='aaaa') %}{% for a in range(40) %}{% set n.s = n.s.replace('a', 'aa') %}{% endfor %}",
    "{% set n = namespace(s='aaaa') %}{% for a in range(40) %}{% set n.s = n.s | replace('a', 'aa') %}{% endfor %}",
    "{% set n = namespace(s='aaaa') %}{% for a in range(40) %}{% set n.s = (n.s | list) | join(n.s) %}{% endfor %}",
    "{% set n = namespace(s='aaaa') %}{% for a in range(40) %}{% set n.s = n.s.join(n.s | list) %}{% endfor %}",
    "{% set n = namespace(s='%s%s') %}{% for a in range(40) %}{% set n.s = n.s | format(n.s, n.s) %}{% endfor %}",
    "{% set n = namespace(s='%s%s') %}{% for a in range(40) %}{% set n.s = n.s % (n.s, n.s) %}{% endfor %}",
    "{{ '%1000000000s' | format('x') }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '%.1000000000f' | format(1.5) }}",
    "{{ '{:1000000000}'.format('x') }}",
    "{{ 'x' | center(1000000000) }}",
    "{{ 'x'.ljust(1000000000) }}",
    "{{ 'x'.zfill(1000000000) }}",
    "{{ 'a\nb' | indent(1000000000) }}",
    "{{ 'a\nb' | indent('x' * 1000000) }}",
    "{{ messages | tojson(indent=1000000000) }}",
    "{{ messages | batch(1000000000, 'x') }}",
    "{{ [1] | slice(1000000000) | list }}",
    "{{ 'x' | wordwrap(1) * 100000000 }}",
    "{{ 'a,' * 1000000 }}{{ ('a,' * 10000000).split(',') | length }}",
    "{{ ('ab' * 10000000) | reverse | sort | unique | list | length }}",
    "{{ ('ab ' * 5000000) | upper | lower | title | capitalize | trim | length }}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}",
    "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
    "{% macro m(n) %}{% if n %}{{ m(n - 1) ~ m(n - 1) }}{% else %}xxxxxxxx{% endif %}{% endmacro %}{{ m(30) }}",
    "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "{% set n = namespace(x=none) %}{% set n.x = n %}{{ n | tojson }}{{ n }}",
    "{% set n = namespace(l=[]) %}{% for i in range(100000) %}{% set n.l = [n.l] %}{% endfor %}{{ n.l }}",
    "{{ 2 ** 100000000 }}{{ 10 ** 10 ** 10 }}",
    "{% include 'secret' %}",
    "{% import '/etc/passwd' as p %}{{ p }}",
    "{% extends 'chat_template' %}",
    "{% include 'chat_template' %}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ messages.append(messages) }}{{ open('/etc/passwd').read() }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}{{ lipsum(n=1000000) }}",
];

/// The same and longer ones.
fn hostile() -> Vec<String> {
    let mut sources: Vec<String> = HOSTILE.iter().map(|&source| source.to_owned()).collect();
    sources.push(format!("{{{{ {}1{} }}}}", "(".repeat(100_000), ")".repeat(100_000)));
    sources.push(format!("{{{{ {}1 }}}}", "not ".repeat(100_000)));
    sources.push(format!("{}{}", "{% if 1 %}".repeat(20_000), "{% endif %}".repeat(20_000)));
    sources.push(format!("{{{{ {} }}}}", "1 + ".repeat(50_000) + "1"));
    sources.push("{% set a = [1] %}".to_owned() + &"{% set a = a + a %}".repeat(60));
    sources.push("{% set a = [1] %}".to_owned() + &"{% with a = a + a %}".repeat(60) + &"{% endwith %}".repeat(60));
    sources.push("{% set a = [1] %}".to_owned() + &"{% for a in [a + a] %}".repeat(60) + &"{% endfor %}".repeat(60));
    sources
}

#[test]
fn hostile_templates_end_soon_and_small() {
    let sources = hostile();
    assert!(sources.len() >= 50);
    let mut failed = Vec::new();
    for source in sources {
        let shown: String = source.chars().take(100).collect();
        let mut best = Duration::MAX;
        let mut most = 0;
        for _ in 0..5 {
            let began = Instant::now();
            let (result, peak) = counting::peak_of(|| render(&source));
            best = best.min(began.elapsed());
            most = most.max(peak);
            let as_it_should = match result {
                Ok(prompt) => prompt.text().len() < 8 << 20,
                Err(error) => matches!(error, LoadError::Template { .. }),
            };
            if !as_it_should {
                failed.push(format!("{shown}: too much text, or another error"));
            }
        }
        if best > MOST_TIME || most > MOST_MEMORY {
            failed.push(format!("{shown}: {best:?}, {most} bytes"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn nothing_outside_is_reached() {
    for source in [
        "{% include 'secret' %}",
        "{% import '/etc/passwd' as p %}",
        "{{ open('/etc/passwd') }}",
        "{{ ''.__class__.__mro__[1] }}",
        "{{ messages.append(1) }}",
    ] {
        render(source).unwrap_err();
    }
}

/// A GGUF file with the tokens of the repository's.
fn gguf(source: &str) -> Gguf {
    let mut tokens: Vec<String> =
        (0..200_u8).map(|byte| if (0x20..0x7F).contains(&byte) { char::from(byte).to_string() } else { format!("[{byte}]") }).collect();
    tokens.extend(SPECIALS.map(str::to_owned));
    let kinds: Vec<i32> = (0..tokens.len()).map(|id| if id >= 200 { 3 } else { 1 }).collect();
    Gguf::default()
        .str("tokenizer.ggml.model", "gpt2")
        .str("tokenizer.ggml.pre", "gpt-2")
        .strs("tokenizer.ggml.tokens", tokens.iter().map(String::as_str))
        .i32s("tokenizer.ggml.token_type", &kinds)
        .strs("tokenizer.ggml.merges", [])
        .str("tokenizer.chat_template", source)
}

#[test]
fn no_user_text_becomes_a_control_token_in_either_dialect() {
    const SOURCE: &str = "{% for m in messages %}<|im_start|>{{ m.role }} {{ m.content | trim }}{{ m.name }}{{ m.tool_calls | tojson }}<|im_end|>{% endfor %}{{ tools | tojson(ensure_ascii=true) }}";
    let repository = tokenizer_json();
    let files = HubFiles {
        name: "model",
        tokenizer_json: Some(repository.as_bytes()),
        chat_template: Some(SOURCE.as_bytes()),
        ..HubFiles::default()
    };
    let file = gguf(SOURCE).open().unwrap();
    let both: [(Tokenizer, ChatTemplate); 2] = [
        (Tokenizer::from_hub(&files).unwrap(), ChatTemplate::from_hub(&files).unwrap().unwrap()),
        (pollster::block_on(file.tokenizer()).unwrap(), pollster::block_on(file.chat_template()).unwrap().unwrap()),
    ];
    for (tokenizer, template) in &both {
        for role in ["system", "user", "assistant", "tool", "developer"] {
            for special in SPECIALS {
                for text in [
                    special.to_owned(),
                    format!("  {special}\n"),
                    format!("x{special}{special}y"),
                    format!("<{special}>"),
                    special[1..].to_owned(),
                ] {
                    let extra = [("name".to_owned(), json!(text)), ("tool_calls".to_owned(), json!([{ "f": { &text: text } }]))];
                    let message = Message { extra: extra.into_iter().collect(), ..Message::new(role, text.clone()) };
                    let options =
                        ChatOptions { extra: [("tools".to_owned(), json!([text]))].into_iter().collect(), ..ChatOptions::default() };
                    let Ok(prompt) = template.render(&[message], &options) else { continue };
                    let ids = tokenizer.encode_prompt(&prompt).unwrap();
                    let controls: Vec<u32> = ids.into_iter().filter(|&id| tokenizer.is_control(id)).collect();
                    assert_eq!(controls, [202, 203], "{role}: {text:?} in {}", prompt.text());
                }
            }
        }
    }
}

#[test]
fn named_templates_are_chosen_by_tools() {
    let tokenizer = tokenizer_json();
    let list =
        json!({ "chat_template": [{ "name": "default", "template": "plain" }, { "name": "tool_use", "template": "tools" }] }).to_string();
    let files = HubFiles {
        name: "model",
        tokenizer_json: Some(tokenizer.as_bytes()),
        tokenizer_config: Some(list.as_bytes()),
        ..HubFiles::default()
    };
    let text = |files: &HubFiles<'_>, extra: Value| {
        let options = ChatOptions { extra: extra.as_object().unwrap().clone(), ..ChatOptions::default() };
        ChatTemplate::from_hub(files).unwrap().unwrap().render(&[], &options).unwrap().text().to_owned()
    };
    assert_eq!(text(&files, json!({})), "plain");
    assert_eq!(text(&files, json!({ "tools": null })), "plain");
    assert_eq!(text(&files, json!({ "tools": [{}] })), "tools");
    let beside = HubFiles { chat_template: Some(b"{{ 'beside' }}"), ..files };
    assert_eq!(text(&beside, json!({ "tools": [{}] })), "beside");
    let unnamed = json!({ "chat_template": [{ "name": "a", "template": "1" }, { "name": "b", "template": "2" }] }).to_string();
    let error = ChatTemplate::from_hub(&HubFiles { tokenizer_config: Some(unnamed.as_bytes()), ..files }).err().unwrap().to_string();
    assert!(error.contains("a template called \"default\""), "{error}");

    let both = gguf("plain").str("tokenizer.chat_template.tool_use", "tools").open().unwrap();
    let template = pollster::block_on(both.chat_template()).unwrap().unwrap();
    let options = ChatOptions { extra: [("tools".to_owned(), json!([{}]))].into_iter().collect(), ..ChatOptions::default() };
    assert_eq!(template.render(&[], &options).unwrap().text(), "tools");
}
