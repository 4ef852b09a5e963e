//! Reads published model files into a [`Checkpoint`]: an index of the tensors, the model's configuration, its tokenizer
//! and its chat template. No tensor bytes are held and no GPU is needed; the same code runs natively and in a browser.
//!
//! ```no_run
//! # async fn example() -> Result<(), parhelion_loader::LoadError> {
//! use std::path::Path;
//! use parhelion_loader::Checkpoint;
//!
//! let checkpoint = Checkpoint::open_path(Path::new("model.gguf")).await?;
//! println!("{}: {} tensors", checkpoint.architecture()?, checkpoint.tensors().count());
//! # Ok(())
//! # }
//! ```

pub mod catalogue;
pub mod chat;
mod checkpoint;
mod dtype;
mod error;
mod gguf;
mod hub;
mod huggingface;
mod metadata;
mod names;
mod repository;
mod source;
pub mod tokenizer;

pub use chat::{ChatOptions, ChatTemplate, Message, Prompt};
pub use checkpoint::{Checkpoint, Dialect, TensorInfo};
pub use dtype::DType;
pub use error::LoadError;
pub use gguf::{GgufLayout, GgufWriteError, GgufWriter, NewTensor};
pub use hub::HubFiles;
pub use huggingface::{NF4_VALUES, Sidecar};
pub use metadata::{Array, Metadata, Strings, Value};
pub use names::closest;
#[cfg(not(target_arch = "wasm32"))]
pub use repository::Directory;
pub use repository::{MemoryRepository, Repository, is_inside};
#[cfg(not(target_arch = "wasm32"))]
pub use source::MappedFile;
pub use source::{MaybeSendSync, MemorySource, Source};
pub use tokenizer::{Decoder, Specials, Tokenizer};
