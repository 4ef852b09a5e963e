//! Tokenizers, of both sources: builds one, then encodes and decodes a text with it.
//!
//! An input that begins with a byte from 0x80 spells `tokenizer.json`, `tokenizer_config.json` and the text, NUL bytes between
//! them, in [`SNIPPETS`]; any other is instructions for GGUF entries. Few of those ask for rules that compile large patterns,
//! which takes milliseconds.

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use parhelion_loader::{HubFiles, Specials, Tokenizer};

use crate::bounds::within;
use crate::build::{expand, number, text};
use crate::common::{Gguf, array};

/// What a tokenizer may take beside its input: compiled patterns, each of which may have megabytes, and their caches.
const BUILDING: usize = 48 << 20;
/// What encoding may take beside the text: caches of patterns.
const ENCODING: usize = 16 << 20;

const SNIPPETS: [&str; 64] = [
    "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"\u{2581}\":3},\"merges\":[\"a b\"]",
    "{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"<unk>\",0.0],[\"a\",-1.5],[\"\u{2581}a\",-2.0]]",
    "{\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\"vocab\":{\"[UNK]\":0,\"a\":1,\"##b\":2}",
    "{\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":0}",
    "},\"added_tokens\":[",
    "],\"normalizer\":",
    ",\"pre_tokenizer\":",
    ",\"post_processor\":",
    ",\"decoder\":",
    "{\"id\":0,\"content\":\"<s>\",\"special\":true}",
    "{\"id\":9,\"content\":\"</s>\",\"special\":true,\"lstrip\":true,\"rstrip\":true}",
    "{\"id\":10,\"content\":\"<think>\",\"normalized\":true,\"single_word\":true}",
    "{\"id\":4294967295,\"content\":\"\"}",
    "{\"type\":\"Sequence\",\"normalizers\":[",
    "{\"type\":\"Sequence\",\"pretokenizers\":[",
    "{\"type\":\"Sequence\",\"decoders\":[",
    "]}",
    "null",
    "{\"type\":\"NFKC\"}",
    "{\"type\":\"Lowercase\"}",
    "{\"type\":\"StripAccents\"}",
    "{\"type\":\"BertNormalizer\",\"lowercase\":true}",
    "{\"type\":\"Strip\"}",
    "{\"type\":\"Prepend\",\"prepend\":\"\u{2581}\"}",
    "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\u{2581}\"}",
    "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\" {2,}\"},\"content\":\"aaaa\"}",
    "{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AAAA\"}",
    "{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"CAAAAAEAAAACAAAAYQA=\"}",
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"use_regex\":false}",
    "{\"type\":\"Split\",\"pattern\":{\"String\":\"a\"},\"behavior\":\"Isolated\",\"invert\":false}",
    "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[ab]+|c?d{1,3}\"},\"behavior\":\"MergedWithPrevious\",\"invert\":true}",
    "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(a*)*b\"},\"behavior\":\"Removed\",\"invert\":false}",
    "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"",
    "\"},\"behavior\":\"Contiguous\",\"invert\":false}",
    "{\"type\":\"Metaspace\",\"replacement\":\"\u{2581}\",\"prepend_scheme\":\"first\",\"split\":true}",
    "{\"type\":\"CharDelimiterSplit\",\"delimiter\":\"-\"}",
    "{\"type\":\"Fuse\"}",
    "{\"type\":\"ByteFallback\"}",
    "{\"type\":\"BPEDecoder\",\"suffix\":\"</w>\"}",
    "{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true}",
    "{\"type\":\"CTC\"}",
    "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"special_tokens\":{\"<s>\":{\"id\":\"<s>\",\"ids\":[0],\"tokens\":[\"<s>\"]}}}",
    "{\"type\":\"RobertaProcessing\",\"sep\":[\"</s>\",2],\"cls\":[\"<s>\",0]}",
    ",\"byte_fallback\":true",
    ",\"fuse_unk\":true",
    ",\"unk_token\":\"a\"",
    ",\"ignore_merges\":true",
    ",\"dropout\":0.1",
    ",\"end_of_word_suffix\":\"</w>\"",
    ",\"continuing_subword_prefix\":\"##\"",
    ",\"max_input_chars_per_word\":18446744073709551615",
    "{\"eos_token\":\"</s>\",\"bos_token\":{\"content\":\"<s>\"}}",
    "{\"add_bos_token\":true,\"chat_template\":\"{{ messages }}\"}",
    "\\\\p{N}{1,3}",
    "\\\\s+(?!\\\\S)|\\\\s+",
    "(?i:'s|'t)|",
    "{1000}{1000}",
    "<0x41>",
    "<s></s><think>",
    "  \u{2581} a b ab\n\n",
    "\u{e9}\u{301}\u{fb01}\u{1f600}\u{200d}",
    "}",
    ",",
    "\"",
];

/// Builds a tokenizer and uses it.
pub fn run(input: &[u8]) {
    if input.first().is_some_and(|&byte| byte >= 0x80) {
        let parts: Vec<String> = input.split(|&byte| byte == 0).map(|part| expand(part, &SNIPPETS)).collect();
        let part = |number: usize| parts.get(number).map(String::as_bytes);
        let files = HubFiles { name: "model", tokenizer_json: part(0), tokenizer_config: part(1), ..HubFiles::default() };
        let size: usize = parts.iter().map(String::len).sum();
        let built = within(BUILDING + 64 * size, || Tokenizer::from_hub(&files).map_err(|error| error.to_string()));
        check(built, "model/", parts.get(2).map_or("ab <s>", String::as_str));
    } else if let Ok((file, text)) = build(&mut Unstructured::new(input)) {
        let size = file.bytes().len();
        let Ok(checkpoint) = file.open() else { return };
        let built = within(BUILDING + 64 * size, || pollster::block_on(checkpoint.tokenizer()).map_err(|error| error.to_string()));
        check(built, "model.gguf", &text);
    }
}

fn check(built: std::result::Result<Tokenizer, String>, file: &str, text: &str) {
    let tokenizer = match built {
        Ok(tokenizer) => tokenizer,
        Err(error) => return assert!(error.starts_with(file), "an error that does not name the file: {error}"),
    };
    within(ENCODING + 4096 * text.len(), || {
        for specials in [Specials::Text, Specials::Parse] {
            let Ok(ids) = tokenizer.encode(text, specials) else { continue };
            assert!(ids.iter().all(|&id| id < tokenizer.vocab_size()), "{ids:?} of {}", tokenizer.vocab_size());
            let mut decoder = tokenizer.decoder();
            let mut streamed: String = ids.iter().map(|&id| decoder.push(id)).collect();
            streamed.push_str(&decoder.finish());
            assert_eq!(streamed, tokenizer.decode(&ids), "one token at a time gives another text");
        }
        for id in (0..tokenizer.vocab_size().min(300)).chain([u32::MAX]) {
            assert_eq!(tokenizer.token_bytes(id).is_some(), tokenizer.token_text(id).is_some());
        }
        let all = tokenizer.prefix().iter().chain(tokenizer.suffix()).chain(tokenizer.eos());
        assert!(all.copied().chain(tokenizer.bos()).all(|id| id < tokenizer.vocab_size()), "an id outside the vocabulary");
    });
}

/// A file of tokenizer entries, and a text.
fn build(input: &mut Unstructured) -> Result<(Gguf, String)> {
    const COMMON: [&str; 8] = ["<unk>", "<s>", "</s>", "\u{2581}", "a", "b", "ab", "<0x0A>"];
    let mut tokens: Vec<String> = COMMON.map(str::to_owned).to_vec();
    let mut kinds = vec![2, 3, 3, 1, 1, 1, 1, 6];
    let model = ["gpt2", "bert", "t5", "llama", "gemma4", "llama", "gemma4", "t5"][match input.int_in_range(0..=63_usize)? {
        rare @ 0..=1 => rare,
        common => 2 + common % 6,
    }];
    let mut file = Gguf::default().str("tokenizer.ggml.model", model);
    let pre = ["gpt-2", "qwen2", "llama-bpe", "default", "gemma4", "no rules"][input.int_in_range(0..=5_usize)?];
    file = file.str("tokenizer.ggml.pre", if model == "gpt2" { pre } else { "default" });
    if input.ratio(1, 8)? {
        tokens.extend((0..=255_u8).map(|byte| format!("<0x{byte:02X}>")));
        kinds.resize(tokens.len(), 6);
    }
    let (mut merges, mut typed) = (vec!["a b".to_owned()], String::new());
    while !input.is_empty() {
        let token = |input: &mut Unstructured| -> Result<String> { Ok(input.choose(&tokens)?.clone()) };
        match input.int_in_range(0..=9_u8)? {
            0..=1 => {
                let new = if input.ratio(1, 2)? { text(input)? } else { token(input)? + &token(input)? };
                tokens.push(new);
                kinds.push(input.int_in_range(0..=7)?);
            }
            2..=3 => merges.push(format!("{} {}", token(input)?, token(input)?)),
            4..=5 => typed.push_str(&token(input)?),
            6 => typed.push_str(&text(input)?),
            7 => typed.push_str(["  ", "\n", "\u{e9}", "\u{301}", "\u{1f600}", "\u{2581}", "A"][input.int_in_range(0..=6_usize)?]),
            _ => file = setting(file, input)?,
        }
    }
    let count = tokens.len() as u64;
    let scores: Vec<u8> = (0..count).flat_map(|id| (-(id as f32) / 3.0).to_le_bytes()).collect();
    file = file.entry("tokenizer.ggml.scores", 9, &array(6, count, &scores)).i32s("tokenizer.ggml.token_type", &kinds);
    file = file.strs("tokenizer.ggml.tokens", tokens.iter().map(String::as_str));
    Ok((file.strs("tokenizer.ggml.merges", merges.iter().map(String::as_str)), typed))
}

/// One of the entries that a tokenizer may have.
fn setting(file: Gguf, input: &mut Unstructured) -> Result<Gguf> {
    const IDS: [&str; 5] = ["unknown", "bos", "eos", "eot", "seperator"];
    const FLAGS: [&str; 4] = ["add_bos_token", "add_eos_token", "add_space_prefix", "remove_extra_whitespaces"];
    Ok(match input.int_in_range(0..=2_u8)? {
        0 => file.u32(&format!("tokenizer.ggml.{}_token_id", input.choose(&IDS)?), number(input)? as u32),
        1 => file.bool(&format!("tokenizer.ggml.{}", input.choose(&FLAGS)?), input.arbitrary()?),
        _ => {
            let bytes: Vec<u8> = (0..input.int_in_range(0..=32)?).map(|_| input.arbitrary()).collect::<Result<_>>()?;
            file.entry("tokenizer.ggml.precompiled_charsmap", 9, &array(0, bytes.len() as u64, &bytes))
        }
    })
}
