//! One model, or more, for each published class of vulnerability in readers of weights. What each did elsewhere is in its
//! name; "CVE" numbers and issues of the projects are where to read of it. Faults in the prompts' own text (such as
//! GHSA-7rxv-5jhh-j6xx, a prompt too long for a signed count, and llama.cpp#24382, a user's text that became a control
//! token) are in the tests of tokenizers and chat templates; faults in downloads in those of the program.

use super::gguf::{F32, Q4_0};
use super::tokenizers::{TOKENS, TYPES, replaced, with_template};
use super::{Case, Model};
use crate::common::{Gguf, array};

/// Class and origin; the model; what the error says.
type Row = (&'static str, Model, &'static [&'static str]);

pub(crate) fn cases() -> Vec<Case> {
    let rows = counts().into_iter().chain(values()).chain(tensors()).chain(safetensors()).chain(indices()).chain(templates());
    rows.map(|(name, model, says)| Case { name, model, says }).collect()
}

fn file(file: Gguf) -> Model {
    Model::Header(file.bytes())
}

/// Counts that a program multiplies, allocates for or loops over before it looks at the file.
fn counts() -> Vec<Row> {
    let counted = |tensors, entries| file(Gguf { tensor_count: tensors, entry_count: entries, ..Gguf::default() });
    vec![
        ("heap overflow by the count of tensors: CVE-2024-21836", counted(Some(1 << 61), None), &["tensor count", "at most 0"]),
        ("heap overflow by the count of entries: CVE-2024-23605", counted(None, Some(1 << 60)), &["metadata entry count"]),
        ("61 GB for 24 bytes: antonellof/ferrox#24", counted(Some(600_000_000), None), &["tensor count", "got 600000000"]),
        ("gigabytes for under 64 bytes: candle#3533", counted(None, Some(100_000_000)), &["metadata entry count", "got 100000000"]),
        (
            "memory without bound for an array: CVE-2025-0315, ollama#17042",
            file(Gguf::default().entry("a", 9, &array(4, 1 << 33, &[]))),
            &["metadata `a`", "8589934592 elements of 4"],
        ),
        (
            "a hang on an array of 2^63 elements: llama.cpp#27188",
            file(Gguf::default().entry("a", 9, &array(0, 1 << 63, &[]))),
            &["metadata `a`", "9223372036854775808 elements"],
        ),
        (
            "a hang on nested arrays of 2^62 elements: llama.cpp#27188",
            file(Gguf::default().entry("a", 9, &array(9, 1 << 62, &array(9, 1 << 62, &[])))),
            &["metadata `a`", "4611686018427387904 elements of 12"],
        ),
    ]
}

/// Metadata values of the wrong length, type or range.
fn values() -> Vec<Row> {
    let claimed = |len: u64| file(Gguf::default().entry("a", 8, &[len.to_le_bytes().as_slice(), b"text"].concat()));
    let huge_token = array(8, 1, &(1_u64 << 31).to_le_bytes());
    let layers = |value: Gguf| Model::Layers(value.bytes());
    vec![
        (
            "heap overflow by a string of 2^64 - 1 bytes: CVE-2024-23496, llamafile#294",
            claimed(u64::MAX),
            &["expected 18446744073709551615"],
        ),
        (
            "heap overflow by an array of strings: CVE-2024-21825",
            file(Gguf::default().entry("a", 9, &array(8, u64::MAX / 8, &[]))),
            &["elements of 8"],
        ),
        ("strings without bound: llama.cpp#19003", claimed(1 << 40), &["expected 1099511627776 more bytes"]),
        ("a read outside the file: CVE-2024-12055", claimed(5), &["expected 5 more bytes", "the end of the file after 4"]),
        (
            "vocabulary overflow by a long token: CVE-2025-49847",
            file(Gguf::default().entry(TOKENS, 9, &huge_token)),
            &["expected 2147483648 more bytes"],
        ),
        (
            "type of elements unchecked: llama.cpp#26690",
            Model::Tokenizer(replaced(TYPES, |file| file.entry(TYPES, 9, &array(6, 260, &[1; 1040])))),
            &["`tokenizer.ggml.token_type`", "expected an array of"],
        ),
        (
            "tokens that are no strings: llama.cpp#26690",
            Model::Tokenizer(replaced(TOKENS, |file| file.entry(TOKENS, 9, &array(12, 4, &[0; 32])))),
            &["`tokenizer.ggml.tokens`", "an array of strings"],
        ),
        (
            "layers of the wrong type divide by zero: CVE-2024-8063",
            layers(Gguf::default().str("llama.block_count", "0")),
            &["`llama.block_count`", "a whole number"],
        ),
        (
            "layers that are negative: llama.cpp#25821",
            layers(Gguf::default().entry("llama.block_count", 5, &(-1_i32).to_le_bytes())),
            &["`llama.block_count`", "got i32 -1"],
        ),
        (
            "more layers than 32 bits: llama.cpp#25821",
            layers(Gguf::default().entry("llama.block_count", 10, &(1_u64 << 32).to_le_bytes())),
            &["`llama.block_count`", "got u64 4294967296"],
        ),
        (
            "null for what is missing: CVE-2025-0312",
            Model::Architecture(Gguf::default().str("general.name", "x").bytes()),
            &["metadata has no `general.architecture`"],
        ),
        (
            "alignment 0 divides by zero: CVE-2025-0317, candle#3876",
            file(Gguf::default().u32("general.alignment", 0).tensor("t", &[8], F32, 0).data(32)),
            &["a power of two, got 0"],
        ),
    ]
}

/// Shapes and offsets whose sums and products wrap around, or that lie outside the file.
fn tensors() -> Vec<Row> {
    let one = |dims: &[u64], kind, offset| file(Gguf::default().tensor("t", dims, kind, offset).data(4096));
    let two = |first: u64, second: (u64, u64)| {
        file(Gguf::default().tensor("a", &[first], 24, 0).tensor("b", &[second.0], 24, second.1).data(4096))
    };
    vec![
        ("heap overflow by a shape: CVE-2024-21802", one(&[1 << 31, 1 << 31, 1 << 2], F32, 0), &["shape of tensor `t`", "64 bits"]),
        ("a sum of sizes that wraps: CVE-2025-53630", two(u64::MAX - 63, (96, 64)), &["data of tensor `a`", "within the file's"]),
        (
            "the padding after a size that wraps, past the fix: CVE-2026-27940",
            one(&[u64::MAX - 14], 24, 0),
            &["data of tensor `t`", "within the file's"],
        ),
        (
            "an offset that wraps in release builds: candle#3714",
            one(&[64], 24, u64::MAX - 31),
            &["data of tensor `t`", "within the file's"],
        ),
        ("memory leaked from behind the file: CVE-2026-7482", one(&[1 << 20], F32, 0), &["data of tensor `t`", "4194304 bytes"]),
        ("memory leaked by an offset: CVE-2026-7482", one(&[8], F32, 1 << 20), &["data of tensor `t`", "1048576 of the data section"]),
        ("elements cut to 32 bits: CVE-2026-53923", one(&[(1 << 32) + 32], Q4_0, 0), &["data of tensor `t`", "2415919122 bytes"]),
    ]
}

/// The format's promises that implementations have lost. The reference crate's audit found files that were two formats at once.
fn safetensors() -> Vec<Row> {
    let tensor = |name: &str, shape: &str, start: u64, end: u64| {
        format!("\"{name}\":{{\"dtype\":\"F32\",\"shape\":{shape},\"data_offsets\":[{start},{end}]}}")
    };
    let with_length = |length: u64, header: &str, data: usize| {
        let bytes = [length.to_le_bytes().as_slice(), header.as_bytes(), &vec![0; data]].concat();
        Model::Repository(vec![("config.json", b"{}".to_vec()), ("model.safetensors", bytes)])
    };
    let of = |entries: &[String], data| {
        let header = format!("{{{}}}", entries.join(","));
        with_length(header.len() as u64, &header, data)
    };
    let a = || tensor("a", "[1]", 0, 4);
    vec![
        ("a header over the format's limit", with_length(100_000_001, "{}", 0), &["at most 2 bytes", "got a length of 100000001"]),
        ("a header's length that wraps", with_length(u64::MAX, "{}", 0), &["a length of 18446744073709551615"]),
        ("two formats at once, by bytes after the last tensor", of(&[a()], 100), &["the file's 100 bytes after the header, got 4"]),
        ("two formats at once, by a hole", of(&[a(), tensor("b", "[1]", 8, 12)], 12), &["data of tensor `b`", "byte 4"]),
        ("tensors that overlap", of(&[a(), tensor("b", "[1]", 2, 6)], 6), &["data of tensor `b`", "byte 4"]),
        ("a shape larger than its bytes: mlx#3364", of(&[tensor("a", "[1000,1000]", 0, 4)], 4), &["takes 4000000 bytes"]),
        (
            "bytes outside the file: mlx#3364, mlx#3409",
            of(&[tensor("a", "[1000,1000]", 0, 4_000_000)], 4),
            &["the file's 4 bytes", "got 4000000"],
        ),
        ("offsets in the wrong order: mlx#3410", of(&[tensor("a", "[1]", 4, 0)], 4), &["data_offsets are 4 and 0"]),
        ("a shape that wraps", of(&[tensor("a", "[4294967296,4294967296,4]", 0, 0)], 0), &["64 bits"]),
        ("a sum of offsets that wraps", of(&[tensor("a", "[4611686018427387903]", 0, u64::MAX - 3)], 8), &["the file's 8 bytes"]),
        ("a name twice", of(&[a(), tensor("a", "[1]", 4, 8)], 8), &["each tensor once", "`a` a second time"]),
    ]
}

/// Indices that name files elsewhere, or none.
fn indices() -> Vec<Row> {
    let index = |map: &str| {
        let text = format!("{{\"weight_map\":{map}}}");
        Model::Repository(vec![("config.json", b"{}".to_vec()), ("model.safetensors.index.json", text.into_bytes())])
    };
    vec![
        (
            "a path out of the cache: CVE-2024-37032, CVE-2026-7020, huggingface_hub#1429",
            index(r#"{"a":"../../etc/passwd"}"#),
            &["not one inside"],
        ),
        ("an absolute path: huggingface_hub#4540", index(r#"{"a":"/etc/passwd"}"#), &["not one inside"]),
        ("another system's path: huggingface_hub#4828", index(r#"{"a":"..\\..\\x"}"#), &["not one inside"]),
        ("a drive: huggingface_hub#4828", index(r#"{"a":"C:x"}"#), &["not one inside"]),
        ("a list of nothing, indexed: CVE-2025-1975", index("{}"), &["`weight_map` with a tensor"]),
        ("a list where a map should be: CVE-2025-1975", index("[[]]"), &["an object of file names"]),
    ]
}

/// Templates that ran as programs: SGLang CVE-2026-5760, llama-cpp-python CVE-2024-34359.
fn templates() -> Vec<Row> {
    let prompt = |source: &str| Model::Prompt(with_template(source));
    vec![
        (
            "code through an object's class: CVE-2024-34359",
            prompt(
                "{% for c in [].__class__.__base__.__subclasses__() %}{{ c.__init__.__globals__['os'].popen('id').read() }}{% endfor %}",
            ),
            &["chat template", "undefined"],
        ),
        (
            "code through a built-in's globals: CVE-2026-5760",
            prompt("{{ cycler.__init__.__globals__.os.popen('id').read() }}"),
            &["chat template", "undefined"],
        ),
        ("code through a function: CVE-2026-5760", prompt("{{ range.__globals__['sys'].modules }}"), &["chat template", "undefined"]),
        ("code through the engine itself: CVE-2026-5760", prompt("{{ self.__init__.__globals__ }}"), &["chat template", "undefined"]),
        ("a file read", prompt("{% include '/etc/passwd' %}"), &["chat template"]),
        ("a file imported", prompt("{% import 'os' as os %}{{ os.popen('id') }}"), &["chat template"]),
        ("a loop without end", prompt("{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}"), &["fuel"]),
        ("memory without bound", prompt("{{ ('x' * 99999999) * 99999999 }}"), &["chat template"]),
        ("output without bound", prompt("{% set x = 'x' * 4000 %}{% for a in range(100000) %}{{ x }}{% endfor %}"), &["wrote more than"]),
        ("a stack without bound", prompt("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"), &["recursion"]),
        ("a syntax tree without bound", prompt(&"(".repeat(100_000).replacen('(', "{{ (", 1)), &["chat template"]),
    ]
}
