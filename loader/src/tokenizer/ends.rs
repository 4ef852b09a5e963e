//! Which tokens end an answer.

use super::vocabulary::{TokenKind, Vocabulary};

/// Tokens that end an answer by their published meaning. Files often name only one of a model's several, so llama.cpp
/// goes by the texts too, and this is its list.
const END_TEXTS: [&str; 25] = [
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<|fim_pad|>",
    "<|fim_repo|>",
    "<|repo_name|>",
    "<reponame>",
    "<|file_sep|>",
];

/// The tokens that end an answer, ascending: those that the files name, and those of `vocabulary` that are known to.
pub(super) fn end_tokens(vocabulary: &Vocabulary, named: Vec<u32>) -> Vec<u32> {
    let mut ends: Vec<(u32, &str)> = vocabulary
        .of_kind(TokenKind::Control)
        .chain(vocabulary.of_kind(TokenKind::UserDefined))
        .filter(|(_, text)| END_TEXTS.contains(text))
        .collect();
    let has = |text: &str| ends.iter().any(|(_, end)| *end == text);
    // In the harmony format and its kin `<|end|>` ends one message of an answer, not the answer; and where tool
    // responses have a token, `</s>` is ordinary text.
    let ends_a_message = (has("<|return|>") && has("<|call|>")) || (has("<|flush|>") && (has("<|call|>") || has("<|calls|>")));
    let is_text = has("<|tool_response>");
    ends.retain(|&(_, text)| match text {
        "<|end|>" => !ends_a_message,
        "</s>" => !is_text,
        _ => true,
    });
    let mut ids: Vec<u32> = ends.into_iter().map(|(id, _)| id).chain(named).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}
