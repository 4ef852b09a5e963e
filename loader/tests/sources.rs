//! Files on disk, and what is read from metadata.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is amiss")]

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{Gguf, array};
use parhelion_loader::{
    Array, ChatTemplate, Checkpoint, DType, Decoder, LoadError, MappedFile, MemorySource, Metadata, Source, Tokenizer, Value,
};

/// A directory of this test's own, removed when the value goes.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("parhelion-loader-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn refusal(path: &Path) -> LoadError {
    MappedFile::open(path).map(|_| ()).unwrap_err()
}

#[test]
fn paths_that_are_no_files_are_refused() {
    let scratch = Scratch::new("paths");
    let missing = scratch.0.join("missing.gguf");
    assert!(matches!(refusal(&missing), LoadError::NotFound { file } if file == missing.display().to_string()));
    assert!(matches!(refusal(&scratch.0), LoadError::NotAFile { .. }));
    let empty = scratch.0.join("empty.gguf");
    std::fs::write(&empty, b"").unwrap();
    assert!(matches!(refusal(&empty), LoadError::Empty { .. }));
    // A file taken for a directory.
    assert!(matches!(refusal(&empty.join("model.gguf")), LoadError::NotFound { .. } | LoadError::Read { .. }));
}

#[test]
fn a_mapped_file_is_read_like_one_in_memory() {
    let scratch = Scratch::new("mapped");
    let path = scratch.0.join("model.gguf");
    let mut file = Gguf::default().str("general.architecture", "llama").tensor("t", &[4, 2], 0, 0).data(32);
    file.data = (0..32).collect();
    std::fs::write(&path, file.bytes()).unwrap();
    let checkpoint = pollster::block_on(Checkpoint::open(Arc::new(MappedFile::open(&path).unwrap()))).unwrap();
    let tensor = checkpoint.tensor("t").unwrap();
    assert_eq!((tensor.shape.as_slice(), tensor.dtype, tensor.len, tensor.elems()), (&[2, 4][..], DType::F32, 32, 8));
    let bytes = pollster::block_on(checkpoint.read(tensor, 0, tensor.len)).unwrap();
    assert_eq!(*bytes, file.data);
}

#[test]
fn reads_past_the_end_are_errors() {
    let source = MemorySource::new("m", [1, 2, 3]);
    assert_eq!(*pollster::block_on(source.read(1, 2)).unwrap(), [2, 3]);
    assert!(pollster::block_on(source.read(3, 0)).unwrap().is_empty());
    for (offset, len) in [(1, 3), (4, 0), (u64::MAX, 1), (1, usize::MAX)] {
        let error = pollster::block_on(source.read(offset, len)).unwrap_err().to_string();
        assert!(error.contains(&format!("reading {len} bytes at offset {offset}: the file ends at byte 3")), "{error}");
    }
}

fn metadata() -> Metadata {
    let floats: Vec<u8> = [0.5_f32, -2.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    let file = Gguf::default()
        .u32("count", 7)
        .entry("wide", 10, &(1_u64 << 40).to_le_bytes())
        .entry("negative", 11, &(-3_i64).to_le_bytes())
        .entry("byte", 0, &[200])
        .entry("half", 6, &0.5_f32.to_le_bytes())
        .entry("infinite", 6, &f32::INFINITY.to_le_bytes())
        .entry("double", 12, &0.25_f64.to_le_bytes())
        .bool("flag", true)
        .str("name", "a model")
        .entry("floats", 9, &array(6, 2, &floats))
        .i32s("signed", &[3, -1])
        .entry("bytes", 9, &array(0, 3, &[1, 2, 3]))
        .strs("words", ["a", "", "ü"]);
    file.open().unwrap().metadata().clone()
}

#[test]
fn getters_read_what_fits() {
    let metadata = metadata();
    assert_eq!((metadata.u32("count").unwrap(), metadata.u64("count").unwrap(), metadata.i64("count").unwrap()), (7, 7, 7));
    assert_eq!((metadata.u64("wide").unwrap(), metadata.i64("negative").unwrap(), metadata.u32("byte").unwrap()), (1 << 40, -3, 200));
    assert_eq!((metadata.f32("half").unwrap(), metadata.f32("double").unwrap()), (0.5, 0.25));
    assert_eq!((metadata.bool("flag").unwrap(), metadata.str("name").unwrap()), (true, "a model"));
    assert_eq!(metadata.f32s("floats").unwrap(), [0.5, -2.0]);
    assert_eq!((metadata.i32s("signed").unwrap(), metadata.u32s("bytes").unwrap()), (vec![3, -1], vec![1, 2, 3]));
    assert_eq!(metadata.strings("words").unwrap().iter().collect::<Vec<_>>(), ["a", "", "ü"]);
    assert_eq!(metadata.array("bytes").unwrap(), &Array::U8(vec![1, 2, 3]));
    assert_eq!(metadata.optional("absent", Metadata::u32).unwrap(), None);
    assert_eq!(metadata.optional("count", Metadata::u32).unwrap(), Some(7));
    assert_eq!(metadata.iter().next(), Some(("count", &Value::U32(7))));
    assert_eq!((metadata.iter().len(), metadata.contains("flag"), metadata.contains("flags")), (13, true, false));
    assert_eq!(metadata.get("words").unwrap().to_string(), "array of 3 string values");
}

#[test]
fn getters_name_the_key_what_was_expected_and_what_is_there() {
    let metadata = metadata();
    let errors = [
        (metadata.u32("absent").unwrap_err(), "model.gguf: metadata has no `absent`"),
        (metadata.u32("wide").unwrap_err(), "metadata `wide`: expected a whole number that fits u32, got u64 1099511627776"),
        (metadata.u64("negative").unwrap_err(), "metadata `negative`: expected a whole number that fits u64, got i64 -3"),
        (metadata.u32("half").unwrap_err(), "got f32 0.5"),
        (metadata.f32("count").unwrap_err(), "expected a finite f32, got u32 7"),
        (metadata.f32("infinite").unwrap_err(), "expected a finite f32, got f32 inf"),
        (metadata.bool("count").unwrap_err(), "expected a bool, got u32 7"),
        (metadata.str("flag").unwrap_err(), "expected a string, got bool true"),
        (metadata.strings("floats").unwrap_err(), "expected an array of strings, got array of 2 f32 values"),
        (metadata.f32s("name").unwrap_err(), "expected an array of f32, got string \"a model\""),
        (metadata.u32s("signed").unwrap_err(), "expected an array of whole numbers that fit u32, got -1 at index 1"),
        (metadata.u32s("floats").unwrap_err(), "got array of 2 f32 values"),
        (metadata.array("count").unwrap_err(), "expected an array, got u32 7"),
        (metadata.optional("name", Metadata::u32).map(|_| ()).unwrap_err(), "got string \"a model\""),
    ];
    for (error, expected) in errors {
        assert!(error.to_string().contains(expected), "`{expected}` is not in: {error}");
    }
}

#[test]
fn what_is_loaded_may_move_between_threads() {
    fn moves<T: Send + Sync>() {}
    moves::<Checkpoint>();
    moves::<Tokenizer>();
    moves::<Decoder>();
    moves::<ChatTemplate>();
    moves::<LoadError>();
}
