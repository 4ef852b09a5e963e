//! Files that this crate writes: the same bytes as the gguf Python package writes, and what the reader makes of them.

mod common;

use parhelion_loader::{Array, Checkpoint, DType, GgufLayout, GgufWriteError, GgufWriter, NewTensor, Value};

/// Made by `fixtures/written.py`.
const WRITTEN: &[u8] = include_bytes!("fixtures/written.gguf");

fn layout(entries: &[(&str, Value)], tensors: &[NewTensor]) -> Result<GgufLayout, GgufWriteError> {
    GgufLayout::new(entries.iter().map(|(key, value)| (*key, value)), tensors.iter().cloned())
}

fn tensor(name: &str, dtype: DType, shape: &[u64]) -> NewTensor {
    NewTensor { name: name.into(), dtype, shape: shape.to_vec() }
}

/// Writes `checkpoint`, which is `bytes`, again, in pieces of `piece` bytes.
fn rewrite(checkpoint: &Checkpoint, bytes: &[u8], piece: usize) -> Result<Vec<u8>, GgufWriteError> {
    let layout = GgufLayout::new(checkpoint.metadata().iter(), checkpoint.tensors().map(NewTensor::from))?;
    let total = layout.total_bytes();
    let mut writer = GgufWriter::new(Vec::new(), layout)?;
    for tensor in checkpoint.tensors() {
        let data = &bytes[tensor.offset as usize..(tensor.offset + tensor.len) as usize];
        for chunk in data.chunks(piece) {
            writer.write(&tensor.name, chunk)?;
        }
    }
    let out = writer.finish()?;
    assert_eq!(out.len() as u64, total);
    Ok(out)
}

#[test]
fn a_file_of_the_python_package_is_written_again_byte_for_byte() {
    let checkpoint = common::open(WRITTEN.to_vec()).unwrap();
    assert_eq!(checkpoint.metadata().iter().len(), 25);
    for piece in [1, 7, 4096] {
        assert!(rewrite(&checkpoint, WRITTEN, piece).unwrap() == WRITTEN, "pieces of {piece} bytes");
    }
}

#[test]
fn alignment_empty_arrays_and_nested_ones_come_back() {
    let nested = Array::Array(vec![Array::Array(vec![Array::U8(vec![1, 2])]), Array::Array(vec![])]);
    let entries =
        [("general.alignment", Value::U32(128)), ("empty", Value::Array(Array::F32(vec![]))), ("nested", Value::Array(nested.clone()))];
    let tensors = [tensor("a", DType::I8, &[5]), tensor("b", DType::I8, &[1, 1, 1, 3])];
    let mut writer = GgufWriter::new(Vec::new(), layout(&entries, &tensors).unwrap()).unwrap();
    writer.write("a", &[1, 2, 3, 4, 5]).unwrap();
    writer.write("b", &[6, 7, 8]).unwrap();
    let bytes = writer.finish().unwrap();
    let checkpoint = common::open(bytes.clone()).unwrap();
    assert_eq!(checkpoint.metadata().get("nested"), Some(&Value::Array(nested)));
    assert_eq!(checkpoint.metadata().get("empty"), Some(&Value::Array(Array::F32(vec![]))));
    let b = checkpoint.tensor("b").unwrap();
    assert_eq!((b.shape.as_slice(), b.offset % 128), (&[1, 1, 1, 3][..], 0));
    assert_eq!(&bytes[b.offset as usize..][..3], [6, 7, 8]);
}

#[test]
fn what_readers_would_refuse_is_not_written() {
    let deep = (0..4).fold(Array::U8(vec![1]), |inner, _| Array::Array(vec![inner]));
    let entries: [(&[(&str, Value)], &str); 5] = [
        (&[("", Value::Bool(true))], "key of 1 to 65535 bytes"),
        (&[("a", Value::U8(1)), ("a", Value::U8(2))], "each key once"),
        (&[("general.alignment", Value::U32(48))], "power of two"),
        (&[("general.alignment", Value::U64(32))], "power of two"),
        (&[("deep", Value::Array(deep))], "nested at most 4 deep"),
    ];
    for (entries, expected) in entries {
        let error = layout(entries, &[]).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let tensors: [(&[NewTensor], &str); 7] = [
        (&[tensor("", DType::F32, &[1])], "name of 1 to 65535 bytes"),
        (&[tensor("a", DType::F32, &[])], "1 to 4 dimensions"),
        (&[tensor("a", DType::F32, &[1, 1, 1, 1, 1])], "1 to 4 dimensions"),
        (&[tensor("a", DType::F32, &[0])], "1 to 4 dimensions"),
        (&[tensor("a", DType::Q8_0, &[32, 33])], "whole Q8_0 blocks of 32"),
        (&[tensor("a", DType::F32, &[1 << 62, 4])], "fit 64 bits"),
        (&[tensor("a", DType::F32, &[1]), tensor("a", DType::F32, &[1])], "each name once"),
    ];
    for (tensors, expected) in tensors {
        let error = layout(&[], tensors).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn data_must_be_the_tensors_in_their_order() {
    let tensors = [tensor("a", DType::F32, &[2]), tensor("b", DType::F32, &[1])];
    let writer = || GgufWriter::new(Vec::new(), layout(&[], &tensors).unwrap()).unwrap();
    let error = writer().write("b", &[0; 4]).unwrap_err().to_string();
    assert!(error.contains("`a`") && error.contains("`b`"), "{error}");
    assert!(matches!(writer().write("a", &[0; 9]), Err(GgufWriteError::Length { expected: 8, got: 9, .. })));
    let mut half = writer();
    half.write("a", &[0; 8]).unwrap();
    assert!(half.write("a", &[0]).is_err());
    assert!(matches!(half.finish(), Err(GgufWriteError::Length { expected: 4, got: 0, .. })));
}
