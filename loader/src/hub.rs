//! The files of a repository that say how text becomes tokens.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::LoadError;

/// The longest chat template, in bytes; published ones have under 40,000.
pub(crate) const MAX_TEMPLATE: usize = 1 << 20;
/// The longest entry that names a special token, in bytes.
const MAX_TOKEN: usize = 4096;

/// What a repository has of the files that a tokenizer and a chat template are read from.
#[derive(Debug, Clone, Copy, Default)]
pub struct HubFiles<'a> {
    /// The repository's name, for errors.
    pub name: &'a str,
    /// `tokenizer.json`: the tokenizer itself.
    pub tokenizer_json: Option<&'a [u8]>,
    /// `tokenizer_config.json`: special tokens by name, and in many repositories the chat template.
    pub tokenizer_config: Option<&'a [u8]>,
    /// `special_tokens_map.json`: special tokens by name, where `tokenizer_config.json` has none.
    pub special_tokens_map: Option<&'a [u8]>,
    /// `generation_config.json`: the tokens that end an answer.
    pub generation_config: Option<&'a [u8]>,
    /// `chat_template.jinja`: the chat template, which goes before that of `tokenizer_config.json`.
    pub chat_template: Option<&'a [u8]>,
}

impl HubFiles<'_> {
    /// The path of one of the files, for errors.
    pub(crate) fn path(&self, file: &str) -> String {
        format!("{}/{file}", self.name)
    }
}

/// What the files beside `tokenizer.json` say.
#[derive(Default)]
pub(crate) struct Beside {
    /// The texts of `bos_token` and its like.
    tokens: Vec<(&'static str, String)>,
    /// Whether `tokenizer_config.json` asks for a beginning-of-sequence token.
    pub(crate) add_bos: Option<bool>,
    /// Ids that `generation_config.json` names as ends of an answer.
    pub(crate) end_ids: Vec<u32>,
    /// The chat templates of `tokenizer_config.json`.
    pub(crate) templates: Templates,
}

/// A chat template, or several by name.
#[derive(Default)]
pub(crate) enum Templates {
    #[default]
    None,
    One(String),
    /// Names and templates.
    Named(Vec<(String, String)>),
}

/// The names of special tokens that the files give.
pub(crate) const TOKEN_NAMES: [&str; 7] = ["bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token"];

impl Beside {
    pub(crate) fn read(files: &HubFiles<'_>) -> Result<Self, LoadError> {
        let mut beside = Self::default();
        const CONFIG: &str = "tokenizer_config.json";
        for (file, bytes) in [("special_tokens_map.json", files.special_tokens_map), (CONFIG, files.tokenizer_config)] {
            let reading = Reading { files, file };
            let Some(config) = reading.parse::<Config<'_>>(bytes)? else {
                continue;
            };
            beside.add_bos = config.add_bos_token.or(beside.add_bos);
            for (name, value) in config.tokens() {
                let text = value.map(|value| reading.token(name, value)).transpose()?.flatten();
                beside.tokens.extend(text.map(|text| (name, text)));
            }
            if let Some(template) = config.chat_template.filter(|_| file == CONFIG) {
                beside.templates = reading.templates(template)?;
            }
        }
        let reading = Reading { files, file: "generation_config.json" };
        let config = reading.parse::<GenerationConfig<'_>>(files.generation_config)?;
        if let Some(ids) = config.and_then(|config| config.eos_token_id) {
            beside.end_ids = reading.ids("eos_token_id", ids)?;
        }
        Ok(beside)
    }

    /// The text of the token called `name`, such as `bos_token`.
    pub(crate) fn token(&self, name: &str) -> Option<&str> {
        self.tokens.iter().rev().find(|(known, _)| *known == name).map(|(_, text)| text.as_str())
    }
}

/// One of the files while it is read. Values of several shapes are told apart by their first character, so that a file
/// is never held as a tree.
struct Reading<'r, 'a> {
    files: &'r HubFiles<'a>,
    file: &'r str,
}

impl Reading<'_, '_> {
    fn bad(&self, key: &str, expected: impl Into<String>, got: impl Into<String>) -> LoadError {
        LoadError::BadValue { file: self.files.path(self.file), key: key.to_owned(), expected: expected.into(), got: got.into() }
    }

    fn parse<'a, T: Deserialize<'a>>(&self, bytes: Option<&'a [u8]>) -> Result<Option<T>, LoadError> {
        let parsed = bytes.map(serde_json::from_slice).transpose();
        parsed.map_err(|error| self.bad("(the whole file)", "a JSON object with entries of the published types", error.to_string()))
    }

    fn value<'a, T: Deserialize<'a>>(&self, key: &str, value: &'a RawValue, expected: &str) -> Result<T, LoadError> {
        serde_json::from_str(value.get()).map_err(|error| self.bad(key, expected, error.to_string()))
    }

    /// A token's text, given plainly or with how it is found, which `tokenizer.json` says too.
    fn token(&self, key: &str, value: &RawValue) -> Result<Option<String>, LoadError> {
        const EXPECTED: &str = "a token's text, or an object with its `content`";
        if value.get().len() > MAX_TOKEN {
            return Err(self.bad(key, format!("{EXPECTED}, of at most {MAX_TOKEN} bytes"), value.get().len().to_string()));
        }
        match value.get().as_bytes().first() {
            Some(b'{') => self.value::<TokenObject>(key, value, EXPECTED).map(|token| Some(token.content)),
            _ => self.value(key, value, EXPECTED),
        }
    }

    fn ids(&self, key: &str, value: &RawValue) -> Result<Vec<u32>, LoadError> {
        const EXPECTED: &str = "a token's id, or a list of ids";
        match value.get().as_bytes().first() {
            Some(b'[') => self.value(key, value, EXPECTED),
            _ => Ok(self.value::<Option<u32>>(key, value, EXPECTED)?.into_iter().collect()),
        }
    }

    fn templates(&self, value: &RawValue) -> Result<Templates, LoadError> {
        const KEY: &str = "chat_template";
        const EXPECTED: &str = "a template, or a list of templates with names";
        if value.get().len() > MAX_TEMPLATE {
            return Err(self.bad(KEY, format!("at most {MAX_TEMPLATE} bytes"), value.get().len().to_string()));
        }
        Ok(match value.get().as_bytes().first() {
            Some(b'[') => {
                let list: Vec<NamedTemplate> = self.value(KEY, value, EXPECTED)?;
                Templates::Named(list.into_iter().map(|one| (one.name, one.template)).collect())
            }
            _ => self.value::<Option<String>>(KEY, value, EXPECTED)?.map_or(Templates::None, Templates::One),
        })
    }
}

/// `tokenizer_config.json`, and `special_tokens_map.json`, which has a part of it.
#[derive(Deserialize)]
struct Config<'a> {
    #[serde(borrow, default)]
    bos_token: Option<&'a RawValue>,
    #[serde(borrow, default)]
    eos_token: Option<&'a RawValue>,
    #[serde(borrow, default)]
    unk_token: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pad_token: Option<&'a RawValue>,
    #[serde(borrow, default)]
    sep_token: Option<&'a RawValue>,
    #[serde(borrow, default)]
    cls_token: Option<&'a RawValue>,
    #[serde(borrow, default)]
    mask_token: Option<&'a RawValue>,
    #[serde(default)]
    add_bos_token: Option<bool>,
    #[serde(borrow, default)]
    chat_template: Option<&'a RawValue>,
}

impl<'a> Config<'a> {
    fn tokens(&self) -> impl Iterator<Item = (&'static str, Option<&'a RawValue>)> {
        let values = [self.bos_token, self.eos_token, self.unk_token, self.pad_token, self.sep_token, self.cls_token, self.mask_token];
        TOKEN_NAMES.into_iter().zip(values)
    }
}

#[derive(Deserialize)]
struct GenerationConfig<'a> {
    #[serde(borrow, default)]
    eos_token_id: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct TokenObject {
    content: String,
}

#[derive(Deserialize)]
struct NamedTemplate {
    name: String,
    template: String,
}
