//! A published model, indexed.

use std::borrow::Cow;
use std::sync::Arc;

use crate::chat::ChatTemplate;
use crate::hub::HubFiles;
use crate::huggingface::{self, Packed, Refusal, Sidecar, Sidecars};
use crate::metadata::{Metadata, Value};
use crate::names::{NameIndex, closest};
use crate::tokenizer::{Tokenizer, gguf_entries};
use crate::{DType, LoadError, Repository, Source, gguf};

/// Where one tensor lies, and how it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// The published name, such as `blk.0.attn_q.weight`.
    pub name: String,
    /// How the elements are stored.
    pub dtype: DType,
    /// Dimensions, the slowest first: a matrix is `[rows, cols]` in row-major order (GGUF lists them the other way
    /// round). Safetensors may have scalars, whose list is empty, and tensors of no elements.
    pub shape: Vec<u64>,
    /// Which of [`Checkpoint::files`] it lies in.
    pub file: usize,
    /// First byte, from the start of the file.
    pub offset: u64,
    /// Length in bytes; `offset + len` lies within the file.
    ///
    /// A quantised matrix that is stored as several tensors is one here: `file` and `offset` are those of its codes, and `len` is
    /// that of the blocks which [`Checkpoint::read_rows`] makes of them.
    pub len: u64,
    /// Which of the checkpoint's matrices in several tensors it is.
    pub(crate) packed: Option<u32>,
}

impl TensorInfo {
    /// Elements in the tensor.
    pub fn elems(&self) -> u64 {
        self.shape.iter().product()
    }

    /// Bytes of one row: of all elements that differ in the last dimension alone.
    pub fn row_bytes(&self) -> u64 {
        let rows: u64 = self.shape.split_last().map_or(1, |(_, rows)| rows.iter().product());
        self.len / rows.max(1)
    }
}

/// Whose names and settings a checkpoint uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// GGUF: `general.architecture`, `blk.0.attn_q.weight`.
    Gguf,
    /// The `transformers` library: config.json's `model_type`, `model.layers.0.self_attn.q_proj.weight`.
    HuggingFace,
}

/// A model whose headers have been read and checked: metadata and tensor index are in memory, tensor bytes stay in
/// [`Checkpoint::files`].
#[derive(Clone)]
pub struct Checkpoint {
    name: String,
    dialect: Dialect,
    files: Vec<Arc<dyn Source>>,
    metadata: Metadata,
    tensors: Vec<TensorInfo>,
    index: NameIndex,
    packed: Arc<[Packed]>,
    refusal: Option<Refusal>,
    quantisation: Option<String>,
    sidecars: Sidecars,
}

impl Checkpoint {
    /// Reads and checks the header of a model that is one file. The format is told by the content, not by the name.
    ///
    /// Memory in use at any moment stays below eight times the header's bytes plus 1 MiB, whatever the file says.
    ///
    /// # Errors
    /// [`LoadError::Empty`], [`LoadError::UnknownFormat`], [`LoadError::Unsupported`] (a part of a model in several files,
    /// big-endian GGUF, unknown versions and tensor types), [`LoadError::Malformed`], or [`LoadError::Read`] from the source.
    pub async fn open(source: Arc<dyn Source>) -> Result<Self, LoadError> {
        let header = read_gguf(source.as_ref()).await?;
        gguf::refuse_part(&header.metadata)?;
        Ok(Self::of_gguf(vec![source], header))
    }

    /// Reads and checks the header of the file at `path` and, where it is a part of a split GGUF
    /// (`model-00002-of-00003.gguf`), those of the other parts.
    ///
    /// # Errors
    /// Those of [`Checkpoint::open`]; [`LoadError::NotFound`] where there is no such file, [`LoadError::MissingFile`] for an
    /// absent part, [`LoadError::BadValue`] for parts that contradict each other.
    pub async fn open_file_of(repository: &dyn Repository, path: &str) -> Result<Self, LoadError> {
        let not_found = || LoadError::NotFound { file: format!("{}/{path}", repository.name()) };
        let source = repository.open(path).await?.ok_or_else(not_found)?;
        if huggingface::is_safetensors(&first_bytes(source.as_ref()).await?) {
            return Self::open_weights_of(repository, path, source.name()).await;
        }
        let header = read_gguf(source.as_ref()).await?;
        if gguf::part_count(&header.metadata)? == 1 {
            return Ok(Self::of_gguf(vec![source], header));
        }
        let gguf::Parts { files, header } = gguf::open_parts(repository, path, source, header).await?;
        Ok(Self::of_gguf(files, header))
    }

    /// Reads the configuration of a repository as the `transformers` library publishes models, and the headers of its
    /// safetensors files: `config.json` (and `generation_config.json`), `model.safetensors` or `model.safetensors.index.json`
    /// with the shards that it names. Of a model that sees or hears (its `config.json` has a `text_config`) these are the settings and
    /// the tensors of its language model, by the names of one that is published alone.
    ///
    /// Memory in use at any moment stays below eight times the bytes of configuration, index and headers plus 1 MiB.
    ///
    /// # Errors
    /// [`LoadError::MissingFile`]; [`LoadError::Unsupported`] for weights in other formats; [`LoadError::Malformed`] for
    /// files that contradict their format or one another; [`LoadError::Read`] from the repository.
    pub async fn open_repository(repository: &dyn Repository) -> Result<Self, LoadError> {
        let huggingface::Opened { metadata, files, tensors, index, packed, refusal, quantisation, sidecars } =
            huggingface::open(repository).await?;
        Ok(Self {
            name: repository.name().to_owned(),
            dialect: Dialect::HuggingFace,
            files,
            metadata,
            tensors,
            index,
            packed: packed.into(),
            refusal,
            quantisation,
            sidecars,
        })
    }

    /// Opens the model at `path`: a directory, a GGUF file, one of the parts of a split GGUF, or a safetensors file with its
    /// config.json beside it.
    ///
    /// # Errors
    /// Those of [`Checkpoint::open_repository`] and [`Checkpoint::open_file_of`].
    #[cfg(not(target_arch = "wasm32"))]
    pub async fn open_path(path: &std::path::Path) -> Result<Self, LoadError> {
        use crate::{Directory, MappedFile, is_inside};
        if path.is_dir() {
            return Self::open_repository(&Directory::new(path)).await;
        }
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(".".as_ref());
        match path.file_name().and_then(|name| name.to_str()).filter(|name| is_inside(name)) {
            Some(name) if path.is_file() => Self::open_file_of(&Directory::new(directory), name).await,
            // A name that siblings cannot be told from, or no file at all, which opening it tells best.
            _ => Self::open(Arc::new(MappedFile::open(path)?)).await,
        }
    }

    /// The repository whose weights the safetensors file at `path` holds, all or some of them.
    async fn open_weights_of(repository: &dyn Repository, path: &str, name: &str) -> Result<Self, LoadError> {
        if repository.open(huggingface::CONFIG).await?.is_none() {
            return Err(refuse_lone_safetensors(name));
        }
        let checkpoint = Self::open_repository(repository).await?;
        if checkpoint.files.iter().any(|file| file.name() == name) {
            return Ok(checkpoint);
        }
        let found = format!("a safetensors file that is not one of the {} that hold the repository's model", checkpoint.files.len());
        Err(LoadError::Unsupported { file: name.to_owned(), found, advice: format!("leave {path} out: give the directory") })
    }

    /// Gives `build` the repository's files that describe tokens and conversations.
    async fn with_hub_files<T>(&self, build: impl FnOnce(&HubFiles<'_>) -> Result<T, LoadError>) -> Result<T, LoadError> {
        let tokenizer = self.sidecar(Sidecar::Tokenizer).await?;
        let tokenizer_config = self.sidecar(Sidecar::TokenizerConfig).await?;
        let special_tokens_map = self.sidecar(Sidecar::SpecialTokensMap).await?;
        let generation_config = self.sidecar(Sidecar::GenerationConfig).await?;
        let chat_template = self.sidecar(Sidecar::ChatTemplate).await?;
        build(&HubFiles {
            name: &self.name,
            tokenizer_json: tokenizer.as_deref(),
            tokenizer_config: tokenizer_config.as_deref(),
            special_tokens_map: special_tokens_map.as_deref(),
            generation_config: generation_config.as_deref(),
            chat_template: chat_template.as_deref(),
        })
    }

    fn of_gguf(files: Vec<Arc<dyn Source>>, header: gguf::Header) -> Self {
        let gguf::Header { metadata, tensors, index } = header;
        Self {
            name: metadata.file().to_owned(),
            dialect: Dialect::Gguf,
            files,
            metadata,
            tensors,
            index,
            packed: Arc::new([]),
            refusal: None,
            quantisation: None,
            sidecars: Sidecars::default(),
        }
    }

    /// What error messages call the model: its file, the first of its files, or its repository.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whose names and settings it uses.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// How the weights of a repository are quantised, in words for people: `GPTQ, 4 bits`, or what cannot be read of it. `None` where
    /// they are not, and for GGUF, whose tensors say so themselves.
    pub fn quantisation(&self) -> Option<&str> {
        self.quantisation.as_deref()
    }

    /// The files that hold tensors.
    pub fn files(&self) -> &[Arc<dyn Source>] {
        &self.files
    }

    /// `len` bytes of a tensor, as stored, from `offset` within it. Of a matrix that is stored as several tensors, whole rows.
    ///
    /// # Errors
    /// [`LoadError::Read`] where the range is not within the tensor, or from the file.
    pub async fn read(&self, info: &TensorInfo, offset: u64, len: u64) -> Result<Cow<'_, [u8]>, LoadError> {
        let within = offset.checked_add(len).is_some_and(|end| end <= info.len);
        let row = info.row_bytes().max(1);
        if let Some(packed) = info.packed.filter(|_| within && offset.is_multiple_of(row) && len.is_multiple_of(row)) {
            let Some(packed) = self.packed.get(packed as usize) else { return Err(self.outside(info, offset, len)) };
            return packed.read_rows(&self.files, offset / row, len / row).await.map(Cow::Owned);
        }
        let file = self.files.get(info.file).filter(|_| within && info.packed.is_none());
        let at = info.offset.checked_add(offset);
        match (file, at, usize::try_from(len)) {
            (Some(file), Some(at), Ok(len)) => file.read(at, len).await,
            _ => Err(self.outside(info, offset, len)),
        }
    }

    fn outside(&self, info: &TensorInfo, offset: u64, len: u64) -> LoadError {
        let rows = if info.packed.is_some() { format!(" in rows of {}, which are read whole", info.row_bytes()) } else { String::new() };
        let reason = format!("tensor `{}` has {} bytes{rows}", info.name.escape_debug(), info.len);
        LoadError::Read { file: self.name.clone(), offset, len, reason }
    }

    /// Rows `first_row..first_row + rows` of a tensor, one after another in the layout of [`TensorInfo::dtype`].
    ///
    /// # Errors
    /// As [`Checkpoint::read`].
    pub async fn read_rows(&self, info: &TensorInfo, first_row: u64, rows: u64) -> Result<Cow<'_, [u8]>, LoadError> {
        let bytes = info.row_bytes();
        // What overflows lies past any tensor's end, as `read` says.
        self.read(info, first_row.saturating_mul(bytes), rows.saturating_mul(bytes)).await
    }

    /// Says that up to `len` bytes of a tensor from `offset` within it will be read next: see [`Source::will_read`].
    pub fn will_read(&self, info: &TensorInfo, offset: u64, len: u64) {
        let len = len.min(info.len.saturating_sub(offset));
        if let (Some(file), Some(at)) = (self.files.get(info.file).filter(|_| len > 0), info.offset.checked_add(offset)) {
            file.will_read(at, len);
        }
    }

    /// The model family, such as `llama`.
    ///
    /// # Errors
    /// [`LoadError::MissingKey`] or [`LoadError::BadValue`] for `general.architecture`, or config.json's `model_type`.
    pub fn architecture(&self) -> Result<&str, LoadError> {
        self.metadata.str(match self.dialect {
            Dialect::Gguf => "general.architecture",
            Dialect::HuggingFace => "model_type",
        })
    }

    /// The tensor called `name`.
    ///
    /// # Errors
    /// [`LoadError::MissingTensor`] with the names that are spelled most like it; [`LoadError::Unsupported`] where the model is
    /// quantised in a way that cannot be read.
    pub fn tensor(&self, name: &str) -> Result<&TensorInfo, LoadError> {
        let found = self.find_tensor(name);
        let plain = |info: &&TensorInfo| matches!(info.dtype, DType::F32 | DType::F16 | DType::BF16);
        match (found, &self.refusal) {
            (None, Some(refusal)) => Err(refusal.error(&self.name)),
            // Codes without what gives them their values.
            (Some(info), Some(refusal)) if !plain(&info) => Err(refusal.error(&self.name)),
            (Some(info), _) => Ok(info),
            (None, None) => Err(LoadError::MissingTensor {
                file: self.name.clone(),
                name: name.to_owned(),
                closest: closest(name, self.tensors.iter().map(|tensor| tensor.name.as_str()), 3),
            }),
        }
    }

    /// The tensor called `name`, `None` where the model has no such tensor: for tensors that a model may leave out.
    pub fn find_tensor(&self, name: &str) -> Option<&TensorInfo> {
        let at = self.index.find(name, |i| self.tensors[i].name.as_str())?;
        self.tensors.get(at)
    }

    /// All tensors in the order of the files.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = &TensorInfo> {
        self.tensors.iter()
    }

    /// The model's configuration and everything else that its files say of themselves.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The bytes of a file that describes tokens or conversations, read now; `None` where the model is one GGUF or its
    /// repository has no such file.
    ///
    /// # Errors
    /// [`LoadError::Malformed`] for a file over its limit, or from the source.
    pub async fn sidecar(&self, sidecar: Sidecar) -> Result<Option<Cow<'_, [u8]>>, LoadError> {
        self.sidecars.read(sidecar).await
    }

    /// Builds the model's tokenizer: from GGUF metadata, or from `tokenizer.json` and `tokenizer_config.json`, which are read
    /// only now.
    ///
    /// # Errors
    /// See [`Tokenizer::from_metadata`] and [`Tokenizer::from_hub`].
    pub async fn tokenizer(&self) -> Result<Tokenizer, LoadError> {
        match self.dialect {
            Dialect::Gguf => Tokenizer::from_metadata(&self.metadata),
            Dialect::HuggingFace => self.with_hub_files(Tokenizer::from_hub).await,
        }
    }

    /// The tokenizer and the chat template as entries of a GGUF file, for a model whose embedding has `rows` rows.
    ///
    /// # Errors
    /// [`LoadError::BadValue`] for a repository's tokenizer that has no form there: all kinds have one, if their splits and
    /// normalisers are among those that GGUF has words for. Else as [`Checkpoint::tokenizer`].
    pub async fn gguf_tokenizer(&self, rows: u32) -> Result<Vec<(String, Value)>, LoadError> {
        match self.dialect {
            Dialect::Gguf => {
                let entries = self.metadata.iter().filter(|(key, _)| key.starts_with("tokenizer."));
                Ok(entries.map(|(key, value)| (key.to_owned(), value.clone())).collect())
            }
            Dialect::HuggingFace => self.with_hub_files(|files| gguf_entries(files, rows)).await,
        }
    }

    /// Compiles the chat template; `None` where the model has none.
    ///
    /// # Errors
    /// See [`ChatTemplate::from_metadata`] and [`ChatTemplate::from_hub`].
    pub async fn chat_template(&self) -> Result<Option<ChatTemplate>, LoadError> {
        match self.dialect {
            Dialect::Gguf => ChatTemplate::from_metadata(&self.metadata),
            Dialect::HuggingFace => self.with_hub_files(ChatTemplate::from_hub).await,
        }
    }
}

/// The bytes by which formats are told.
async fn first_bytes(source: &dyn Source) -> Result<Cow<'_, [u8]>, LoadError> {
    if source.is_empty() {
        return Err(LoadError::Empty { file: source.name().to_owned() });
    }
    source.read(0, source.len().min(16) as usize).await
}

async fn read_gguf(source: &dyn Source) -> Result<gguf::Header, LoadError> {
    let head = first_bytes(source).await?;
    if gguf::is_gguf(&head) { gguf::read_header(source).await } else { Err(refuse(source.name(), &head)) }
}

/// The error for a file that is no GGUF, by what it is instead.
fn refuse(name: &str, head: &[u8]) -> LoadError {
    if huggingface::is_safetensors(head) {
        return refuse_lone_safetensors(name);
    }
    if head.starts_with(b"PK\x03\x04") {
        let found = "a zip archive (a PyTorch checkpoint?)".to_owned();
        let advice = "use the model's safetensors revision or a GGUF conversion".to_owned();
        return LoadError::Unsupported { file: name.to_owned(), found, advice };
    }
    let shown = &head[..head.len().min(8)];
    LoadError::UnknownFormat { file: name.to_owned(), found: format!("\"{}\"", shown.escape_ascii()) }
}

fn refuse_lone_safetensors(name: &str) -> LoadError {
    LoadError::Unsupported {
        file: name.to_owned(),
        found: "a safetensors file without the config.json of its model".to_owned(),
        advice: "open a directory that holds both".to_owned(),
    }
}
