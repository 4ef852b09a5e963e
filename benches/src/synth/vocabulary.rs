//! The tokenizer and chat template of a synthetic model.

use super::Writer;

/// Metadata entries that [`metadata`] writes.
pub(super) const ENTRIES: u64 = 7;

/// ChatML, as most small models have it.
const TEMPLATE: &str = "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}\
                        {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// The last tokens of the vocabulary; the very last ends an answer.
const CONTROLS: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];

/// Words that become tokens, each through the tokens of its beginnings. A space belongs to the word after it.
const WORDS: &str = "the of and to in is that it was for on are as with his they at be this have from or one had by word but not what all \
                     were we when your can said there use an each which she do how their if will up other about out many then them these so \
                     some her would make like him into time has look two more write go see number no way could people my than first water \
                     been call who oil its now find long down day did get come made may part";

/// Writes the tokenizer of a vocabulary of `size` tokens: the 256 bytes, as many merges as fit, names without meaning that no text
/// is encoded to, and the control tokens.
pub(super) fn metadata(out: &mut Writer, size: u32) {
    let plain = size as usize - CONTROLS.len();
    let mut tokens: Vec<String> = byte_symbols().collect();
    let mut merges = Vec::new();
    for (left, right) in beginnings() {
        let joined = format!("{left}{right}");
        if tokens.len() < plain && !tokens.contains(&joined) {
            merges.push(format!("{left} {right}"));
            tokens.push(joined);
        }
    }
    tokens.extend((tokens.len()..plain).map(|i| format!("tok{i}")));
    tokens.extend(CONTROLS.map(String::from));
    out.text("tokenizer.ggml.model", "gpt2");
    out.text("tokenizer.ggml.pre", "default");
    out.number("tokenizer.ggml.eos_token_id", size - 1);
    out.strings("tokenizer.ggml.tokens", &tokens);
    out.strings("tokenizer.ggml.merges", &merges);
    out.array("tokenizer.ggml.token_type", (0..size).map(|id| if (id as usize) < plain { NORMAL } else { CONTROL }));
    out.text("tokenizer.chat_template", TEMPLATE);
}

/// GGUF's numbers for kinds of tokens.
const NORMAL: u32 = 1;
const CONTROL: u32 = 3;

/// Each beginning of each word and the character that follows it, shortest first, as merges need them.
fn beginnings() -> impl Iterator<Item = (String, char)> {
    WORDS.split_whitespace().flat_map(|word| {
        let spelled = format!("{SPACE}{word}");
        let ends: Vec<_> = spelled.char_indices().skip(1).collect();
        ends.into_iter().map(move |(at, next)| (spelled[..at].to_owned(), next))
    })
}

/// How byte-level BPE writes a space.
const SPACE: char = '\u{120}';

/// The characters that byte-level BPE writes bytes as: printable ones as themselves, the rest from U+0100 on.
fn byte_symbols() -> impl Iterator<Item = String> {
    let printable = |b: &u32| (33..127).contains(b) || (161..173).contains(b) || (174..256).contains(b);
    let own = (0..256).filter(printable);
    let moved = (0..256_u32).filter(move |b| !printable(b)).enumerate().map(|(i, _)| 256 + i as u32);
    own.chain(moved).filter_map(char::from_u32).map(String::from)
}
