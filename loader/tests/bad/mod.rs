//! Bad models, for every test that wants them: each with what its error must say.

#![allow(dead_code, reason = "each test program uses a part")]

use parhelion_loader::{ChatOptions, Checkpoint, LoadError, MemoryRepository, Message};
use pollster::block_on;

use crate::common::{Gguf, open};

pub(crate) mod gguf;
pub(crate) mod kinds;
pub(crate) mod published;
pub(crate) mod tokenizers;

/// One bad file: what is wrong with it, its bytes, what the error says.
pub(crate) struct Bad(pub(crate) &'static str, pub(crate) Vec<u8>, pub(crate) &'static [&'static str]);

/// One bad model.
pub(crate) struct Case {
    /// What is wrong with it.
    pub(crate) name: &'static str,
    pub(crate) model: Model,
    /// What the error says.
    pub(crate) says: &'static [&'static str],
}

/// A model, and how much of it is used.
pub(crate) enum Model {
    /// A GGUF file to open.
    Header(Vec<u8>),
    /// One to ask for its architecture.
    Architecture(Vec<u8>),
    /// One whose number of layers is asked for.
    Layers(Vec<u8>),
    /// One whose tokenizer is built.
    Tokenizer(Vec<u8>),
    /// One whose chat template is compiled.
    Template(Vec<u8>),
    /// One whose chat template is rendered.
    Prompt(Vec<u8>),
    /// Files in a repository, by their paths.
    Repository(Vec<(&'static str, Vec<u8>)>),
}

impl Model {
    /// Uses it.
    pub(crate) fn verdict(&self) -> Result<(), LoadError> {
        match self {
            Self::Header(bytes) => open(bytes.clone()).map(|_| ()),
            Self::Architecture(bytes) => open(bytes.clone())?.architecture().map(|_| ()),
            Self::Layers(bytes) => open(bytes.clone())?.metadata().u32("llama.block_count").map(|_| ()),
            Self::Tokenizer(bytes) => block_on(open(bytes.clone())?.tokenizer()).map(|_| ()),
            Self::Template(bytes) => block_on(open(bytes.clone())?.chat_template()).map(|_| ()),
            Self::Prompt(bytes) => match block_on(open(bytes.clone())?.chat_template())? {
                Some(template) => template.render(&[Message::user("hello")], &ChatOptions::default()).map(|_| ()),
                None => Ok(()),
            },
            Self::Repository(files) => {
                let repository = MemoryRepository::new(self.name());
                let repository = files.iter().fold(repository, |all, (path, bytes)| all.with(path, bytes.clone()));
                block_on(Checkpoint::open_repository(&repository)).map(|_| ())
            }
        }
    }

    /// What errors call it.
    pub(crate) fn name(&self) -> &'static str {
        if matches!(self, Self::Repository(_)) { "repo" } else { "model.gguf: " }
    }

    /// Bytes of all its files.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Repository(files) => files.iter().map(|(_, bytes)| bytes.len()).sum(),
            Self::Header(bytes) | Self::Architecture(bytes) | Self::Layers(bytes) => bytes.len(),
            Self::Tokenizer(bytes) | Self::Template(bytes) | Self::Prompt(bytes) => bytes.len(),
        }
    }

    /// The most heap that using it may take: what reading may, and a copy of the bytes; for templates what their budget pays
    /// for.
    pub(crate) fn allowed(&self) -> usize {
        let rendering = if matches!(self, Self::Prompt(_)) { 96 << 20 } else { 0 };
        9 * self.size() + (1 << 20) + rendering
    }
}

fn cases(bad: Vec<Bad>, model: fn(Vec<u8>) -> Model) -> impl Iterator<Item = Case> {
    bad.into_iter().map(move |Bad(name, bytes, says)| Case { name, model: model(bytes), says })
}

/// GGUF files that cannot be opened.
pub(crate) fn headers() -> Vec<Case> {
    [gguf::start(), gguf::entries(), gguf::tensors()].into_iter().flat_map(|bad| cases(bad, Model::Header)).collect()
}

/// GGUF files that can be opened and hold something unusable.
pub(crate) fn contents() -> Vec<Case> {
    let architectures = vec![
        Bad("no architecture", Gguf::default().bytes(), &["metadata has no `general.architecture`"]),
        Bad("a number for one", Gguf::default().u32("general.architecture", 1).bytes(), &["expected a string, got u32 1"]),
    ];
    let tokenizers = cases(tokenizers::tokenizers(), Model::Tokenizer).chain(cases(tokenizers::templates(), Model::Template));
    tokenizers.chain(cases(architectures, Model::Architecture)).collect()
}

/// What each model here comes to, a line each.
pub(crate) fn verdicts() -> String {
    let all = [headers(), contents(), published::cases(), kinds::cases()].into_iter().flatten();
    let line = |Case { name, model, .. }| match model.verdict() {
        Ok(()) => format!("{name}: ok\n"),
        Err(error) => format!("{name}: {error}\n"),
    };
    all.map(line).collect()
}
