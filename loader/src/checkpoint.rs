//! One model file, indexed.

use std::sync::Arc;

use crate::chat::ChatTemplate;
use crate::metadata::Metadata;
use crate::names::{NameIndex, closest};
use crate::tokenizer::Tokenizer;
use crate::{DType, LoadError, Source, gguf};

/// Where one tensor lies in its file, and how it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// The name in the file, such as `blk.0.attn_q.weight`.
    pub name: String,
    /// How the elements are stored.
    pub dtype: DType,
    /// Dimensions, the slowest first: a matrix is `[rows, cols]` in row-major order (GGUF lists them the other way
    /// round). Never empty; no dimension is zero.
    pub shape: Vec<u64>,
    /// First byte, from the start of the file.
    pub offset: u64,
    /// Length in bytes; `offset + len` lies within the file.
    pub len: u64,
}

impl TensorInfo {
    /// Elements in the tensor.
    pub fn elems(&self) -> u64 {
        self.shape.iter().product()
    }
}

/// A model file whose header has been read and checked: metadata and tensor index are in memory, tensor bytes stay in
/// [`Checkpoint::source`].
#[derive(Clone)]
pub struct Checkpoint {
    source: Arc<dyn Source>,
    metadata: Metadata,
    tensors: Vec<TensorInfo>,
    index: NameIndex,
}

impl Checkpoint {
    /// Reads and checks the header of `source`. The format is told by the content, not by the name.
    ///
    /// Memory in use at any moment stays below eight times the header's bytes plus 1 MiB, whatever the file says.
    ///
    /// # Errors
    /// [`LoadError::Empty`], [`LoadError::UnknownFormat`], [`LoadError::Unsupported`] (safetensors, big-endian GGUF,
    /// unknown versions and tensor types), [`LoadError::Malformed`], or [`LoadError::Read`] from the source.
    pub async fn open(source: Arc<dyn Source>) -> Result<Self, LoadError> {
        if source.is_empty() {
            return Err(LoadError::Empty { file: source.name().to_owned() });
        }
        let head = source.read(0, source.len().min(16) as usize).await?.into_owned();
        if !gguf::is_gguf(&head) {
            return Err(refuse(source.name(), &head));
        }
        let gguf::Header { metadata, tensors, index } = gguf::read_header(source.as_ref()).await?;
        Ok(Self { source, metadata, tensors, index })
    }

    /// The file the tensors' bytes are read from.
    pub fn source(&self) -> &Arc<dyn Source> {
        &self.source
    }

    /// The model family, such as `llama`.
    ///
    /// # Errors
    /// [`LoadError::MissingKey`] or [`LoadError::BadValue`] for `general.architecture`.
    pub fn architecture(&self) -> Result<&str, LoadError> {
        self.metadata.str("general.architecture")
    }

    /// The tensor called `name`.
    ///
    /// # Errors
    /// [`LoadError::MissingTensor`] with the names that are spelled most like it.
    pub fn tensor(&self, name: &str) -> Result<&TensorInfo, LoadError> {
        self.find_tensor(name).ok_or_else(|| LoadError::MissingTensor {
            file: self.source.name().to_owned(),
            name: name.to_owned(),
            closest: closest(name, self.tensors.iter().map(|tensor| tensor.name.as_str()), 3),
        })
    }

    /// The tensor called `name`, `None` where the file has no such tensor: for tensors that a model may leave out.
    pub fn find_tensor(&self, name: &str) -> Option<&TensorInfo> {
        let at = self.index.find(name, |i| self.tensors[i].name.as_str())?;
        self.tensors.get(at)
    }

    /// All tensors in the order of the file.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = &TensorInfo> {
        self.tensors.iter()
    }

    /// The model's configuration and everything else that the file says of itself.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Builds the tokenizer that the metadata describes.
    ///
    /// # Errors
    /// See [`Tokenizer::from_metadata`].
    pub fn tokenizer(&self) -> Result<Tokenizer, LoadError> {
        Tokenizer::from_metadata(&self.metadata)
    }

    /// Compiles the chat template; `None` where the file has none.
    ///
    /// # Errors
    /// See [`ChatTemplate::from_metadata`].
    pub fn chat_template(&self) -> Result<Option<ChatTemplate>, LoadError> {
        ChatTemplate::from_metadata(&self.metadata)
    }
}

/// The error for a file that is no GGUF, by what it is instead.
fn refuse(name: &str, head: &[u8]) -> LoadError {
    let unsupported =
        |found: &str, advice: &str| LoadError::Unsupported { file: name.to_owned(), found: found.to_owned(), advice: advice.to_owned() };
    // safetensors: the header's length as u64, then the header's JSON.
    if head.get(8) == Some(&b'{') {
        return unsupported("the safetensors format", "use a GGUF conversion of the model");
    }
    if head.starts_with(b"PK\x03\x04") {
        return unsupported("a zip archive (a PyTorch checkpoint?)", "use a GGUF conversion of the model");
    }
    let shown = &head[..head.len().min(8)];
    LoadError::UnknownFormat { file: name.to_owned(), found: format!("\"{}\"", shown.escape_ascii()) }
}
