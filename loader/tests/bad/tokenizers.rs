//! Sound headers whose tokenizer or chat template is not.

use super::Bad;
use crate::common::Gguf;

const MODEL: &str = "tokenizer.ggml.model";
const PRE: &str = "tokenizer.ggml.pre";
pub(crate) const TOKENS: &str = "tokenizer.ggml.tokens";
pub(crate) const TYPES: &str = "tokenizer.ggml.token_type";
const MERGES: &str = "tokenizer.ggml.merges";
const EOS: &str = "tokenizer.ggml.eos_token_id";
const TEMPLATE: &str = "tokenizer.chat_template";

/// A vocabulary of the 256 bytes and `ab`, sound but for what `change` does.
pub(crate) fn tokenizer_file(change: impl Fn(Gguf, &str) -> Option<Gguf>) -> Vec<u8> {
    let bytes: Vec<String> = (0..256_u32).map(|byte| char::from_u32(0x100 + byte).unwrap().to_string()).collect();
    let tokens = || bytes.iter().map(String::as_str).chain(["a", "b", "ab", "<end>"]);
    let parts: [(&str, &dyn Fn(Gguf) -> Gguf); 6] = [
        ("tokenizer.ggml.model", &|file| file.str("tokenizer.ggml.model", "gpt2")),
        ("tokenizer.ggml.pre", &|file| file.str("tokenizer.ggml.pre", "gpt-2")),
        ("tokenizer.ggml.tokens", &|file| file.strs("tokenizer.ggml.tokens", tokens())),
        ("tokenizer.ggml.token_type", &|file| {
            let kinds: Vec<i32> = tokens().map(|text| if text == "<end>" { 3 } else { 1 }).collect();
            file.i32s("tokenizer.ggml.token_type", &kinds)
        }),
        ("tokenizer.ggml.merges", &|file| file.strs("tokenizer.ggml.merges", ["a b"])),
        ("tokenizer.ggml.eos_token_id", &|file| file.u32("tokenizer.ggml.eos_token_id", 259)),
    ];
    let file = parts.iter().fold(Gguf::default(), |file, (key, part)| match change(file.clone(), key) {
        Some(changed) => changed,
        None => part(file),
    });
    file.bytes()
}

/// A tokenizer file with another entry under `key`.
pub(crate) fn replaced(key: &'static str, part: impl Fn(Gguf) -> Gguf) -> Vec<u8> {
    tokenizer_file(|file, at| (at == key).then(|| part(file)))
}

/// A tokenizer file with `line` among the merges.
pub(crate) fn with_merge(line: &'static str) -> Vec<u8> {
    replaced(MERGES, move |file| file.strs(MERGES, ["a b", line]))
}

/// A tokenizer file with a chat template.
pub(crate) fn with_template(source: &str) -> Vec<u8> {
    let source = source.to_owned();
    tokenizer_file(move |file, at| (at == EOS).then(|| file.str(TEMPLATE, &source)))
}

pub(super) fn tokenizers() -> Vec<Bad> {
    vec![
        Bad("no model", replaced(MODEL, |file| file), &["metadata has no `tokenizer.ggml.model`"]),
        Bad("another model", replaced(MODEL, |file| file.str(MODEL, "rwkv")), &["`tokenizer.ggml.model`", "\"gpt2\"", "got \"rwkv\""]),
        Bad("a model that is a number", replaced(MODEL, |file| file.u32(MODEL, 2)), &["expected a string, got u32 2"]),
        Bad("no rules", replaced(PRE, |file| file), &["metadata has no `tokenizer.ggml.pre`"]),
        Bad(
            "unknown rules",
            replaced(PRE, |file| file.str(PRE, "superbpe")),
            &["`tokenizer.ggml.pre`", "\"smollm\", ", "\"qwen2\", ", "got \"superbpe\""],
        ),
        Bad("no tokens", replaced(TOKENS, |file| file), &["metadata has no `tokenizer.ggml.tokens`"]),
        Bad("an empty vocabulary", replaced(TOKENS, |file| file.strs(TOKENS, [])), &["`tokenizer.ggml.tokens`", "got 0"]),
        Bad(
            "tokens that are numbers",
            replaced(TOKENS, |file| file.i32s(TOKENS, &[1])),
            &["an array of strings, got array of 1 i32 values"],
        ),
        Bad("too few types", replaced(TYPES, |file| file.i32s(TYPES, &[1; 9])), &["`tokenizer.ggml.token_type`", "260 values", "got 9"]),
        Bad("an unknown type", replaced(TYPES, |file| file.i32s(TYPES, &[7; 260])), &["token types from 0 to 6, got 7 for token 0"]),
        Bad("no merges", replaced(MERGES, |file| file), &["metadata has no `tokenizer.ggml.merges`"]),
        Bad("a merge of one", with_merge("ab"), &["`tokenizer.ggml.merges`", "got \"ab\" as merge 1"]),
        Bad("a merge of three", with_merge("a b a"), &["\"a b a\" as merge 1"]),
        Bad("a merge with nothing", with_merge(" ab"), &["\" ab\" as merge 1"]),
        Bad("a merge of strangers", with_merge("x y"), &["\"x y\" as merge 1"]),
        Bad("an end outside", replaced(EOS, |file| file.u32(EOS, 260)), &["`tokenizer.ggml.eos_token_id`", "one of 260 tokens, got 260"]),
        Bad("an end that is text", replaced(EOS, |file| file.str(EOS, "<end>")), &["`tokenizer.ggml.eos_token_id`", "a whole number"]),
    ]
}

pub(super) fn templates() -> Vec<Bad> {
    vec![
        Bad("a block without an end", with_template("line\n{% if x %}"), &["chat template: syntax error", "chat_template:2"]),
        Bad("an unknown tag", with_template("{% launch 'rocket' %}"), &["chat template: syntax error", "launch"]),
        Bad("a template that is a number", Gguf::default().u32(TEMPLATE, 1).bytes(), &["`tokenizer.chat_template`", "expected a string"]),
        Bad("a template alone", Gguf::default().str(TEMPLATE, "{{ 1 }}").bytes(), &["metadata has no `tokenizer.ggml.tokens`"]),
    ]
}
