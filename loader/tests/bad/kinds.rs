//! The kinds of handcrafted file in llama.cpp's tests/test-gguf.cpp that must fail, under its names for them.

use super::gguf::{F32, Q4_0};
use super::{Case, Model};
use crate::common::{Gguf, array};

pub(crate) fn cases() -> Vec<Case> {
    let rows = header().into_iter().chain(entries()).chain(tensors()).chain(data());
    rows.map(|(name, file, says)| Case { name, model: Model::Header(file.bytes()), says }).collect()
}

type Row = (&'static str, Gguf, &'static [&'static str]);

fn header() -> Vec<Row> {
    let sized = |tensors, entries| Gguf { tensor_count: tensors, entry_count: entries, ..Gguf::default() };
    vec![
        ("HEADER_BAD_MAGIC", Gguf { magic: *b"FUGG", ..Gguf::default() }, &["not a model file", "FUGG"]),
        ("HEADER_BAD_VERSION_0", Gguf { version: 0, ..Gguf::default() }, &["GGUF version 0"]),
        ("HEADER_BAD_VERSION_1", Gguf { version: 1, ..Gguf::default() }, &["GGUF version 1"]),
        ("HEADER_BAD_VERSION_FUTURE", Gguf { version: 4, ..Gguf::default() }, &["GGUF version 4"]),
        ("HEADER_BAD_ENDIANNESS", Gguf { version: 3 << 24, ..Gguf::default() }, &["big-endian"]),
        ("HEADER_BAD_N_TENSORS", sized(Some(u64::MAX), None), &["tensor count"]),
        ("HEADER_BAD_N_KV", sized(None, Some(u64::MAX)), &["metadata entry count"]),
    ]
}

fn entries() -> Vec<Row> {
    let bad_key = [u64::MAX.to_le_bytes().as_slice(), &[0; 16]].concat();
    let bad_values = array(4, u64::MAX, &[0; 16]);
    vec![
        ("KV_BAD_KEY_SIZE", Gguf::default().raw_entry(bad_key), &["key of metadata entry 0", "at most 65535"]),
        ("KV_BAD_TYPE", Gguf::default().entry("a", u32::MAX, &[0; 16]), &["metadata `a`", "got 4294967295"]),
        ("KV_BAD_VALUE_SIZE", Gguf::default().entry("a", 9, &bad_values), &["metadata `a`", "18446744073709551615 elements"]),
        ("KV_DUPLICATE_KEY", Gguf::default().u32("a", 1).u32("a", 1), &["metadata `a`", "each key once"]),
        ("KV_BAD_ALIGN", Gguf::default().u32("general.alignment", 13), &["a power of two, got 13"]),
    ]
}

fn tensors() -> Vec<Row> {
    let tensor = |dims: &[u64], kind, offset| Gguf::default().tensor("t", dims, kind, offset).data(4096);
    let bad_name = [u64::MAX.to_le_bytes().as_slice(), &[0; 64]].concat();
    vec![
        ("TENSORS_BAD_NAME_SIZE", Gguf { tensors: vec![bad_name], ..Gguf::default() }, &["name of tensor 0", "at most 65535"]),
        ("TENSORS_BAD_N_DIMS", tensor(&[1; 6], F32, 0), &["rank of tensor `t`", "got 6"]),
        ("TENSORS_BAD_SHAPE", tensor(&[u64::MAX, 1], F32, 0), &["shape of tensor `t`"]),
        ("TENSORS_NE_TOO_BIG", tensor(&[1 << 62, 4], 24, 0), &["shape of tensor `t`", "64 bits"]),
        ("TENSORS_NBYTES_TOO_BIG", tensor(&[1 << 61], 28, 0), &["shape of tensor `t`", "64 bits"]),
        ("TENSORS_BAD_TYPE", tensor(&[32], u32::MAX, 0), &["tensor type 4294967295"]),
        ("TENSORS_BAD_OFFSET", tensor(&[32], F32, 7), &["offset of tensor `t`", "a multiple of 32"]),
        ("TENSORS_DUPLICATE_NAME", tensor(&[8], F32, 0).tensor("t", &[8], F32, 32), &["each tensor once"]),
        ("TENSORS_BAD_ALIGN", tensor(&[8], F32, 0).u32("general.alignment", 3), &["a power of two, got 3"]),
        ("TENSORS_INCONSISTENT_ALIGN", tensor(&[8], F32, 32).u32("general.alignment", 64), &["a multiple of 64, got 32"]),
    ]
}

fn data() -> Vec<Row> {
    let data = |file: Gguf, len| file.tensor("t", &[1024], Q4_0, 0).data(len);
    vec![
        ("DATA_NOT_ENOUGH_DATA", data(Gguf::default(), 575), &["data of tensor `t`", "576 bytes"]),
        ("DATA_BAD_ALIGN", data(Gguf::default().u32("general.alignment", 5), 576), &["a power of two, got 5"]),
        ("DATA_INCONSISTENT_ALIGN", data(Gguf::default().u32("general.alignment", 512), 576), &["data of tensor `t`"]),
    ]
}
