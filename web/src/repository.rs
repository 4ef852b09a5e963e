//! Models whose files JavaScript opens: those of one address, of a hub's repository, or that the user picked.

use std::{cell::RefCell, future::Future, pin::Pin, sync::Arc};

use js_sys::Promise;
use parhelion_loader::{Checkpoint as Index, LoadError, Repository, Sidecar, Source, is_inside};
use wasm_bindgen::{JsCast, JsValue, prelude::wasm_bindgen};
use wasm_bindgen_futures::JsFuture;

use crate::{
    error,
    source::{ByteSource, JsSource, Rejection, told},
};

#[wasm_bindgen(typescript_custom_section)]
const BYTE_REPOSITORY: &str = "
/** Files that belong together, by their paths. */
export interface ByteRepository {
  readonly name: string;
  /** The file at `path`; null where there is no such file. */
  open(path: string): Promise<ByteSource | null>;
}
";

#[wasm_bindgen]
extern "C" {
    /// What JavaScript opens files with.
    #[wasm_bindgen(typescript_type = "ByteRepository")]
    pub type ByteRepository;

    #[wasm_bindgen(method, getter)]
    fn name(this: &ByteRepository) -> String;

    #[wasm_bindgen(method, catch)]
    fn open(this: &ByteRepository, path: &str) -> Result<Promise, JsValue>;
}

/// A [`ByteRepository`] as the loader opens files in it.
struct JsRepository {
    repository: ByteRepository,
    name: String,
    /// Of all its files too.
    rejection: Rejection,
}

impl JsRepository {
    async fn open_source(&self, path: &str) -> Result<Option<Arc<dyn Source>>, LoadError> {
        if !is_inside(path) {
            return Err(LoadError::BadPath { file: self.name.clone(), path: path.chars().take(100).collect() });
        }
        let answer = match self.repository.open(path) {
            Ok(promise) => JsFuture::from(promise).await,
            Err(thrown) => Err(thrown),
        };
        let failed = |reason: String| LoadError::Read { file: format!("{}/{path}", self.name), offset: 0, len: 0, reason };
        let opened = answer.map_err(|rejected| failed(self.rejection.keep(rejected)))?;
        if opened.is_null() || opened.is_undefined() {
            return Ok(None);
        }
        let source = JsSource::new(opened.unchecked_into::<ByteSource>(), self.rejection.clone());
        let source = source.ok_or_else(|| failed("the size is no whole number of bytes".to_owned()))?;
        #[expect(clippy::arc_with_non_send_sync, reason = "sources of other hosts are shared between threads")]
        let source = Arc::new(source);
        Ok(Some(source))
    }

    /// Opens the model: the file at `path`, or the repository itself.
    async fn open_model(&self, path: Option<&str>) -> Result<Index, LoadError> {
        if path.is_none_or(|path| path.ends_with(".safetensors")) {
            self.open_small_files().await?;
        }
        match path {
            Some(path) => Index::open_file_of(self, path).await,
            None => Index::open_repository(self).await,
        }
    }

    /// Finds out what is missing or wrong before the weights are opened, which in a browser is to download them. JavaScript keeps
    /// what is opened here for when the loader opens it.
    async fn open_small_files(&self) -> Result<(), LoadError> {
        const CONFIG: &str = "it says what model the weights are of (of a model that is a GGUF file, give that file)";
        const TOKENIZER: &str = "it makes tokens of text, and a tokenizer.model alone is not read";
        for (path, why) in [("config.json", CONFIG), (Sidecar::Tokenizer.path(), TOKENIZER)] {
            if self.open_source(path).await?.is_none() {
                return Err(LoadError::MissingFile { file: self.name.clone(), path: path.to_owned(), why: why.to_owned() });
            }
        }
        for sidecar in [Sidecar::GenerationConfig, Sidecar::TokenizerConfig, Sidecar::SpecialTokensMap, Sidecar::ChatTemplate] {
            self.open_source(sidecar.path()).await?;
        }
        Ok(())
    }
}

impl Repository for JsRepository {
    fn name(&self) -> &str {
        &self.name
    }

    fn open<'a>(&'a self, path: &'a str) -> Pin<Box<dyn Future<Output = Result<Option<Arc<dyn Source>>, LoadError>> + 'a>> {
        Box::pin(self.open_source(path))
    }
}

/// A model whose files are open and whose headers have been read, before it is on a device.
#[wasm_bindgen]
pub struct Checkpoint {
    /// Empty once a model was loaded from it.
    index: RefCell<Option<Index>>,
    rejection: Rejection,
}

#[wasm_bindgen]
impl Checkpoint {
    /// Opens the model at `path` in a repository (a GGUF file, a part of a split one, a safetensors file), or the repository as a whole.
    pub async fn open(repository: ByteRepository, path: Option<String>) -> Result<Checkpoint, JsValue> {
        let rejection = Rejection::default();
        let repository = JsRepository { name: repository.name(), repository, rejection: rejection.clone() };
        let opened = repository.open_model(path.as_deref()).await;
        let index = opened.map_err(|failure| told(&rejection, &failure.into()))?;
        Ok(Self { index: RefCell::new(Some(index)), rejection })
    }

    /// What was opened, once, and where rejections of its reads are kept.
    pub(crate) fn take(&self) -> Result<(Index, Rejection), JsValue> {
        let taken = self.index.borrow_mut().take();
        let index = taken.ok_or_else(|| error::error("internal", "a model was loaded from this checkpoint before: open another one"))?;
        Ok((index, self.rejection.clone()))
    }
}
