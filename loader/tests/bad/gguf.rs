//! GGUF headers that break off, lie or contradict themselves.

use super::Bad;
use crate::common::{Gguf, array, string};

pub(crate) const F32: u32 = 0;
pub(crate) const Q4_0: u32 = 2;

/// A file with one tensor record and data for it.
fn with_tensor(name: &str, dims: &[u64], kind: u32, offset: u64) -> Vec<u8> {
    Gguf::default().tensor(name, dims, kind, offset).data(4096).bytes()
}

/// The first `len` bytes of a sound file with one entry and one tensor.
fn cut(len: usize) -> Vec<u8> {
    let mut bytes = Gguf::default().u32("a.b", 7).tensor("t", &[8], F32, 0).bytes();
    bytes.truncate(len);
    bytes
}

/// The first `len` bytes of a sound file with one entry, whose key has 17 bytes.
fn cut_entry(len: usize) -> Vec<u8> {
    let mut bytes = Gguf::default().u32("llama.block_count", 7).bytes();
    bytes.truncate(len);
    bytes
}

/// Arrays of arrays, `depth` of them, the innermost empty.
pub(crate) fn nested(depth: usize) -> Vec<u8> {
    (1..depth).fold(array(0, 0, &[]), |inner, _| array(9, 1, &inner))
}

pub(super) fn start() -> Vec<Bad> {
    let sized = |tensors, entries| Gguf { tensor_count: tensors, entry_count: entries, ..Gguf::default() };
    vec![
        Bad("no bytes", vec![], &["model.gguf: the file is empty"]),
        Bad("one byte", b"G".to_vec(), &["not a model file", "\"G\""]),
        Bad("text", b"Once upon a time".to_vec(), &["not a model file: it begins with \"Once upo\""]),
        Bad(
            "safetensors",
            b"\x40\0\0\0\0\0\0\0{\"a\":{}}".to_vec(),
            &["a safetensors file without the config.json", "a directory that holds both"],
        ),
        Bad("zip", b"PK\x03\x04rest of an archive".to_vec(), &["a zip archive", "not supported"]),
        Bad("magic alone", cut(4), &["version, before byte 4", "expected 4 more bytes", "the end of the file after 0"]),
        Bad("half a version", cut(6), &["version", "the end of the file after 2"]),
        Bad("version 1", Gguf { version: 1, ..Gguf::default() }.bytes(), &["GGUF version 1", "convert the model again"]),
        Bad("version 9", Gguf { version: 9, ..Gguf::default() }.bytes(), &["GGUF version 9", "versions 2 and 3"]),
        Bad("big-endian", Gguf { version: 3_u32.swap_bytes(), ..Gguf::default() }.bytes(), &["big-endian GGUF", "little-endian"]),
        Bad("half a tensor count", cut(11), &["tensor count", "expected 8 more bytes"]),
        Bad("half an entry count", cut_entry(20), &["metadata entry count", "expected 8 more bytes"]),
        Bad("2^64 - 1 tensors", sized(Some(u64::MAX), None).bytes(), &["tensor count", "got 18446744073709551615"]),
        Bad("more tensors than fit", sized(Some(40), None).data(64).bytes(), &["tensor count", "expected at most", "got 40"]),
        Bad("2^40 entries", sized(None, Some(1 << 40)).data(64).bytes(), &["metadata entry count", "got 1099511627776"]),
    ]
}

pub(super) fn entries() -> Vec<Bad> {
    let good = Gguf::default;
    let raw = |bytes: Vec<u8>| Gguf::default().raw_entry(bytes).data(64).bytes();
    let value = |kind, bytes: &[u8]| Gguf::default().entry("a.b", kind, bytes).data(64).bytes();
    vec![
        Bad(
            "half a key",
            cut_entry(45),
            &["key of metadata entry 0, before byte 32", "expected 17 more bytes", "the end of the file after 13"],
        ),
        Bad("half a value", cut_entry(55), &["metadata `llama.block_count`", "expected 4 more bytes"]),
        Bad(
            "a key of 2^64 - 1 bytes",
            raw([u64::MAX.to_le_bytes().as_slice(), b"abc"].concat()),
            &["key of metadata entry 0", "at most 65535 bytes"],
        ),
        Bad(
            "a key longer than the file",
            raw([60_000_u64.to_le_bytes().as_slice(), b"abc"].concat()),
            &["key of metadata entry 0", "expected 60000 more bytes"],
        ),
        Bad("an empty key", good().u32("", 1).bytes(), &["key of metadata entry 0", "expected a key, got an empty string"]),
        Bad(
            "a key that is not UTF-8",
            raw([2_u64.to_le_bytes().as_slice(), b"a\xFFxxxxxxxxxxxxxx"].concat()),
            &["key of metadata entry 0", "expected UTF-8 text, got an invalid byte at 1 of 2"],
        ),
        Bad(
            "a value that is not UTF-8",
            value(8, &[1_u64.to_le_bytes().as_slice(), b"\xC0"].concat()),
            &["metadata `a.b`", "expected UTF-8 text"],
        ),
        Bad("a value of unknown type", value(13, &[0; 8]), &["metadata `a.b`", "a value type from 0 to 12, got 13"]),
        Bad("a bool of 2", value(7, &[2]), &["metadata `a.b`", "a bool, 0 or 1, got 2"]),
        Bad(
            "a string longer than the file",
            value(8, &(1_u64 << 50).to_le_bytes()),
            &["metadata `a.b`", "expected 1125899906842624 more bytes"],
        ),
        Bad(
            "an array whose size overflows",
            value(9, &array(10, u64::MAX / 4, &[])),
            &["metadata `a.b`", "4611686018427387903 elements of 8"],
        ),
        Bad("an array longer than the file", value(9, &array(0, 1 << 40, &[])), &["metadata `a.b`", "1099511627776 elements of 1"]),
        Bad("more strings than fit", value(9, &array(8, 1 << 40, &[])), &["metadata `a.b`", "elements of 8 or more bytes"]),
        Bad(
            "strings that break off",
            good().entry("a.b", 9, &array(8, 2, &[string("x"), 99_u64.to_le_bytes().to_vec()].concat())).bytes(),
            &["metadata `a.b`", "expected 99 more bytes"],
        ),
        Bad("an array of bad bools", value(9, &array(7, 3, &[0, 1, 9])), &["metadata `a.b`", "a bool, 0 or 1, got 9"]),
        Bad("an array of unknown type", value(9, &array(99, 1, &[0; 8])), &["metadata `a.b`", "got 99"]),
        Bad("arrays nested too deep", value(9, &nested(6)), &["metadata `a.b`", "nested at most 4 deep"]),
        Bad("a key twice", good().u32("a.b", 1).u32("c", 2).u32("a.b", 1).bytes(), &["metadata `a.b`", "each key once"]),
        Bad("alignment 0", good().u32("general.alignment", 0).bytes(), &["`general.alignment`", "a power of two, got 0"]),
        Bad("alignment 48", good().u32("general.alignment", 48).bytes(), &["`general.alignment`", "a power of two, got 48"]),
        Bad(
            "alignment as text",
            good().str("general.alignment", "32").bytes(),
            &["`general.alignment`", "a whole number", "got string \"32\""],
        ),
    ]
}

pub(super) fn tensors() -> Vec<Bad> {
    let twice =
        |a: (&str, u64), b: (&str, u64)| Gguf::default().tensor(a.0, &[32], F32, a.1).tensor(b.0, &[32], F32, b.1).data(4096).bytes();
    let mut long_name = Gguf::default().tensor(&"n".repeat(40), &[8], F32, 0).bytes();
    long_name.truncate(24 + 8 + 36);
    let bad_name = [2_u64.to_le_bytes().as_slice(), b"\xED\xA0", &[0; 40]].concat();
    vec![
        Bad("half a tensor's name", long_name, &["name of tensor 0", "expected 40 more bytes", "the end of the file after 36"]),
        Bad("half a shape", cut(43 + 9 + 4 + 3), &["shape of tensor `t`", "expected 8 more bytes"]),
        Bad("half a type", cut(43 + 9 + 4 + 8 + 1), &["type of tensor `t`", "expected 4 more bytes"]),
        Bad("half an offset", cut(43 + 9 + 4 + 8 + 4 + 7), &["offset of tensor `t`", "expected 8 more bytes"]),
        Bad("a tensor without a name", with_tensor("", &[8], F32, 0), &["name of tensor 0", "got an empty string"]),
        Bad(
            "a name that is not UTF-8",
            Gguf { tensors: vec![bad_name], ..Gguf::default() }.bytes(),
            &["name of tensor 0", "expected UTF-8 text"],
        ),
        Bad("rank 0", with_tensor("t", &[], F32, 0), &["rank of tensor `t`", "1 to 4 dimensions, got 0"]),
        Bad("rank 5", with_tensor("t", &[1; 5], F32, 0), &["rank of tensor `t`", "1 to 4 dimensions, got 5"]),
        Bad("a dimension of 0", with_tensor("t", &[8, 0], F32, 0), &["shape of tensor `t`", "dimensions over 0", "[0, 8]"]),
        Bad("a shape that overflows", with_tensor("t", &[1 << 32, 1 << 32], F32, 0), &["shape of tensor `t`", "fits 64 bits"]),
        Bad("bytes that overflow", with_tensor("t", &[1 << 62], F32, 0), &["shape of tensor `t`", "fit 64 bits"]),
        Bad("half a block a row", with_tensor("t", &[48, 2], Q4_0, 0), &["shape of tensor `t`", "whole Q4_0 blocks of 32", "[2, 48]"]),
        Bad("a withdrawn type", with_tensor("t", &[32], 4, 0), &["tensor type 4 (of `t`)", "not supported"]),
        Bad("an unknown type", with_tensor("t", &[32], 70_000, 0), &["tensor type 70000 (of `t`)"]),
        Bad("an offset between places", with_tensor("t", &[8], F32, 16), &["offset of tensor `t`", "a multiple of 32, got 16"]),
        Bad("an offset past the end", with_tensor("t", &[8], F32, 4096), &["data of tensor `t`", "within the file's"]),
        Bad("an offset that overflows", with_tensor("t", &[8], F32, u64::MAX - 31), &["data of tensor `t`", "within the file's"]),
        Bad("data longer than the file", with_tensor("t", &[1 << 40], F32, 0), &["data of tensor `t`", "4398046511104 bytes"]),
        Bad("no data", Gguf::default().tensor("t", &[8], F32, 0).bytes(), &["data of tensor `t`"]),
        Bad("one tensor inside another", twice(("a", 0), ("b", 64)), &["data of tensor `b`", "inside `a`"]),
        Bad("two tensors at one place", twice(("a", 128), ("b", 128)), &["a start past the tensor before it"]),
        Bad("a tensor twice", twice(("a", 0), ("a", 128)), &["name of tensor `a`", "each tensor once"]),
    ]
}
