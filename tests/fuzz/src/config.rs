//! `config.json` and `generation_config.json`: a NUL byte between them, bytes from 0x80 for [`SNIPPETS`].

use parhelion_loader::{Checkpoint, MemoryRepository};

use crate::bounds::within;
use crate::build::expand;
use crate::gguf::use_all;

/// A configuration that goes with any weights.
pub(crate) const SOUND: &str = r#"{"model_type": "llama", "hidden_size": 8}"#;
/// A file of no tensors.
const NO_TENSORS: &[u8] = b"\x02\0\0\0\0\0\0\0{}";

const SNIPPETS: [&str; 40] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\":",
    "null",
    "true",
    "false",
    "{\"a\":",
    "\"model_type\":\"llama\",",
    "\"architectures\":[\"LlamaForCausalLM\"],",
    "\"hidden_size\":",
    "\"num_hidden_layers\":",
    "\"rope_scaling\":{\"factor\":8.0,\"rope_type\":\"llama3\"},",
    "\"eos_token_id\":[1,2],",
    "\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":128},",
    "\"layer_types\":[\"full_attention\",\"sliding_attention\"],",
    "[1,2.5,",
    "[1,\"a\",",
    "[[1],[2]],",
    "[{\"a\":1},{\"a\":2}],",
    "[[[[[[[[",
    "]]]]]]]]",
    "{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":",
    "}}}}}}",
    "-0",
    "1e999",
    "-1e-999",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "1.7976931348623157e308",
    "\\u0000",
    "\\ud800",
    "\\ud83d\\ude00",
    "\u{e9}\u{4e2d}\u{1f600}",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];

/// Opens a repository with the configuration that the input spells.
pub fn run(input: &[u8]) {
    let mut parts = input.split(|&byte| byte == 0);
    let config = expand(parts.next().unwrap_or_default(), &SNIPPETS);
    let mut size = config.len();
    let mut repository = MemoryRepository::new("model").with("model.safetensors", NO_TENSORS).with("config.json", config);
    if let Some(generation) = parts.next() {
        let generation = expand(generation, &SNIPPETS);
        size += generation.len();
        repository = repository.with("generation_config.json", generation);
    }
    let opened =
        within(8 * size + (1 << 20), || pollster::block_on(Checkpoint::open_repository(&repository)).map_err(|error| error.to_string()));
    match opened {
        Ok(checkpoint) => within(64 * size + (1 << 20), || use_all(&checkpoint)),
        Err(text) => assert!(text.starts_with("model/"), "an error that does not name the file: {text}"),
    }
}
