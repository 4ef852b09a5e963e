//! Repositories of models that see or hear: config.json has the language model's settings in an object of their own, and its tensors
//! have a prefix. The language model alone is what a checkpoint then has, by the names of a repository that holds nothing else.

use crate::TensorInfo;
use crate::metadata::Value;

/// The object with the language model's settings, as the beginning of their paths.
const SETTINGS: &str = "text_config.";
const KIND: &str = "text_config.model_type";
/// Beginnings of the language model's tensors, newer and older, and what they are without it.
const PREFIXES: [(&str, &str); 4] = [
    ("model.language_model.", "model."),
    ("language_model.model.", "model."),
    ("language_model.lm_head.", "lm_head."),
    ("lm_head.", "lm_head."),
];

/// Puts the settings of the language model in the place of those around them; whether there are any.
pub(super) fn promote_settings(entries: &mut Vec<(String, Value)>) -> bool {
    if !entries.iter().any(|(key, _)| key == KIND) {
        return false;
    }
    let plain = |i: u32| entries.get(i as usize).and_then(|(key, _)| key.strip_prefix(SETTINGS)).unwrap_or_default();
    let mut own: Vec<u32> = (0..entries.len() as u32).filter(|&i| !plain(i).is_empty()).collect();
    own.sort_unstable_by_key(|&i| plain(i));
    let replaced: Vec<bool> = entries.iter().map(|(key, _)| own.binary_search_by(|&i| plain(i).cmp(key)).is_ok()).collect();
    let mut replaced = replaced.into_iter();
    entries.retain(|_| !replaced.next().unwrap_or(false));
    for (key, _) in entries.iter_mut().filter(|(key, _)| key.starts_with(SETTINGS)) {
        key.drain(..SETTINGS.len());
    }
    true
}

/// Keeps the language model's tensors under their plain names. All stay as they are where none has a prefix.
pub(super) fn keep_language_model(tensors: &mut Vec<TensorInfo>) {
    let nested = |info: &TensorInfo| PREFIXES[..2].iter().any(|(prefix, _)| info.name.starts_with(prefix));
    if !tensors.iter().any(nested) {
        return;
    }
    tensors.retain_mut(|info| {
        let found = PREFIXES.iter().find(|(prefix, _)| info.name.starts_with(prefix));
        if let Some((prefix, plain)) = found {
            info.name.replace_range(..prefix.len(), plain);
        }
        found.is_some()
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str, value: u32) -> (String, Value) {
        (key.to_owned(), Value::U32(value))
    }

    #[test]
    fn settings_of_the_language_model_take_the_place_of_others() {
        let kind = |key: &str, value: &str| (key.to_owned(), Value::String(value.to_owned()));
        let mut entries = vec![
            kind("model_type", "seeing"),
            entry("image_token_id", 7),
            kind(KIND, "seeing_text"),
            entry("text_config.hidden_size", 32),
            entry("text_config.rope_parameters.rope_theta", 5),
            entry("vision_config.hidden_size", 64),
        ];
        assert!(promote_settings(&mut entries));
        let expected = vec![
            entry("image_token_id", 7),
            kind("model_type", "seeing_text"),
            entry("hidden_size", 32),
            entry("rope_parameters.rope_theta", 5),
            entry("vision_config.hidden_size", 64),
        ];
        assert_eq!(entries, expected);
        assert!(!promote_settings(&mut entries), "they are where they belong");
        assert_eq!(entries, expected);
    }
}
