//! Repositories of safetensors files, whole and in shards, and the same verdict on files as the format's reference crate.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is amiss")]

#[path = "common/safetensors.rs"]
mod common;

use common::{file, of, open, repository};
use parhelion_loader::{DType, Dialect, LoadError, MemoryRepository};
use pollster::block_on;
use safetensors::SafeTensors;

/// The message for a repository that is refused.
fn refused(repository: &MemoryRepository) -> String {
    open(repository).err().unwrap().to_string()
}

fn says(what: &str, error: &str, fragments: &[&str]) {
    for fragment in fragments {
        assert!(error.contains(fragment), "{what}: `{error}` does not say `{fragment}`");
    }
}

#[test]
fn tensors_of_every_type_are_indexed() {
    let names = [
        "BOOL",
        "U8",
        "I8",
        "F8_E5M2",
        "F8_E4M3",
        "F8_E8M0",
        "F8_E4M3FNUZ",
        "F8_E5M2FNUZ",
        "U16",
        "I16",
        "F16",
        "BF16",
        "U32",
        "I32",
        "F32",
        "C64",
        "F64",
        "I64",
        "U64",
        "F4",
        "F6_E2M3",
        "F6_E3M2",
    ];
    for name in names {
        let dtype = DType::from_safetensors(name).unwrap();
        let len = dtype.bytes_for(12).unwrap();
        let bytes =
            of(&[("scalar", "F32", &[], vec![1; 4]), ("none", "F32", &[0, 4], vec![]), ("t", name, &[3, 4], vec![7; len as usize])]);
        assert!(SafeTensors::deserialize(&bytes).is_ok(), "{name}");
        let checkpoint = open(&repository(r#"{"model_type":"llama"}"#, bytes)).unwrap();
        assert_eq!((checkpoint.dialect(), checkpoint.architecture().unwrap()), (Dialect::HuggingFace, "llama"));
        let tensor = checkpoint.tensor("t").unwrap();
        assert_eq!((tensor.dtype.name(), tensor.shape.as_slice(), tensor.len), (name, &[3, 4][..], len));
        assert_eq!(*block_on(checkpoint.read(tensor, 1, len - 1)).unwrap(), vec![7; len as usize - 1]);
        assert!(block_on(checkpoint.read(tensor, 1, len)).is_err(), "past the tensor's end");
        if len.is_multiple_of(3) {
            assert_eq!(block_on(checkpoint.read_rows(tensor, 1, 2)).unwrap().len() as u64, len / 3 * 2);
        }
        assert_eq!(checkpoint.tensor("scalar").unwrap().elems(), 1);
        assert_eq!(checkpoint.tensor("none").unwrap().elems(), 0);
    }
}

const WHOLE: &str = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;

/// Headers, bytes of data, and a part of the message; the reference crate refuses all of them too.
const BAD: [(&str, usize, &str); 21] = [
    ("", 0, "a JSON object"),
    ("[]", 0, "a JSON object"),
    ("{", 0, "EOF"),
    ("{}x", 0, "trailing"),
    (r#"{"a":1}"#, 0, "an object with dtype"),
    (r#"{"a":{"shape":[],"data_offsets":[0,4]}}"#, 4, "dtype"),
    (r#"{"a":{"dtype":"F32","data_offsets":[0,4]}}"#, 4, "shape"),
    (r#"{"a":{"dtype":"F32","shape":[1]}}"#, 4, "data_offsets"),
    (r#"{"a":{"dtype":"Q4","shape":[1],"data_offsets":[0,4]}}"#, 4, "of type \"Q4\""),
    (r#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#, 4, "u64"),
    (r#"{"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}}"#, 4, "u64"),
    (r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}}"#, 4, "64 bits"),
    (r#"{"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]}}"#, 0, "64 bits"),
    (
        r#"{"a":{"dtype":"U8","shape":[18446744073709551608],"data_offsets":[0,18446744073709551608]},
            "b":{"dtype":"U8","shape":[4],"data_offsets":[18446744073709551608,18446744073709551612]}}"#,
        0,
        "the file's 0 bytes after the header",
    ),
    (r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#, 4, "data_offsets are 4 and 0"),
    (r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,5]}}"#, 5, "takes 4 bytes"),
    (r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#, 8, "start at byte 0"),
    (r#"{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,1]}}"#, 1, "no whole number"),
    (r#"{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, 4, "duplicate field"),
    (r#"{"__metadata__":{"a":1}}"#, 0, "a string"),
    (
        r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}}"#,
        6,
        "start at byte 4",
    ),
];

#[test]
fn bad_headers_are_refused_as_the_reference_does() {
    for (header, data, fragment) in BAD {
        let bytes = file(header, data);
        assert!(SafeTensors::deserialize(&bytes).is_err(), "{header}");
        says(header, &refused(&repository("{}", bytes)), &["repo/model.safetensors", fragment]);
    }
    let whole = file(WHOLE, 8);
    assert!(open(&repository("{}", whole.clone())).is_ok());
    for cut in 0..whole.len() {
        assert!(SafeTensors::deserialize(&whole[..cut]).is_err(), "{cut}");
        assert!(open(&repository("{}", whole[..cut].to_vec())).is_err(), "{cut}");
    }
    says("more data", &refused(&repository("{}", file(WHOLE, 9))), &["the file's 9 bytes after the header"]);
    let mut long = whole;
    long[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    says("a long header", &refused(&repository("{}", long)), &["a length of 18446744073709551615"]);
}

/// Where this reader is stricter: what would be ambiguous or is of no use.
#[test]
fn stricter_rules_than_the_reference_s() {
    let twice = WHOLE.replace('}', "").replace("{\"a\":{", "");
    let twice = format!(r#"{{"a":{{{twice}}},"a":{{{twice}}}}}"#);
    let bytes = file(&twice, 8);
    assert!(SafeTensors::deserialize(&bytes).is_ok(), "the reference keeps the last");
    says("a name twice", &refused(&repository("{}", bytes)), &["a start at byte 8"]);
    says("a space in front", &refused(&repository("{}", file(" {}", 0))), &["a JSON object"]);
    says("no name", &refused(&repository("{}", file(&WHOLE.replace("\"a\"", "\"\""), 8))), &["without a name"]);
    let deep = format!(r#"{{"a":{{"dtype":"U8","shape":[{}1],"data_offsets":[0,1]}}}}"#, "1,".repeat(16));
    says("17 dimensions", &refused(&repository("{}", file(&deep, 1))), &["at most 16 dimensions"]);
    let empty = r#""dtype":"U8","shape":[0],"data_offsets":[0,0]"#;
    let twice = format!(r#"{{"a":{{{empty}}},"a":{{{empty}}}}}"#);
    says("an empty name twice", &refused(&repository("{}", file(&twice, 0))), &["`a` a second time"]);
}

/// A small generator of random numbers, so that runs repeat.
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[test]
fn verdicts_equal_the_reference_s_on_changed_files() {
    let sound = of(&[
        ("a", "F32", &[2, 3], vec![0; 24]),
        ("b", "U8", &[0], vec![]),
        ("c", "F16", &[], vec![0; 2]),
        ("dd", "I64", &[1, 1], vec![0; 8]),
    ]);
    let alphabet = br#"{}[]",:0123456789abcdFIU "#;
    let mut state = 0x9e37_79b9_7f4a_7c15;
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..200_000 {
        let mut bytes = sound.clone();
        for _ in 0..1 + random(&mut state) % 2 {
            let at = random(&mut state) as usize % (bytes.len() - 34);
            bytes[at] = if at < 8 { random(&mut state) as u8 } else { alphabet[random(&mut state) as usize % alphabet.len()] };
        }
        let reference = SafeTensors::deserialize(&bytes).map(|tensors| {
            let mut list: Vec<_> = tensors.iter().map(|(name, view)| (name.to_owned(), view.shape().to_vec(), view.data().len())).collect();
            list.sort();
            list
        });
        let ours = open(&repository("{}", bytes.clone())).map(|checkpoint| {
            let shape = |tensor: &parhelion_loader::TensorInfo| tensor.shape.iter().map(|&dim| dim as usize).collect::<Vec<_>>();
            let mut list: Vec<_> = checkpoint.tensors().map(|tensor| (tensor.name.clone(), shape(tensor), tensor.len as usize)).collect();
            list.sort();
            list
        });
        let text = || String::from_utf8_lossy(&bytes).into_owned();
        match (reference, ours) {
            (Ok(reference), Ok(ours)) => {
                assert_eq!(reference, ours, "{}", text());
                accepted += 1;
            }
            (Err(_), Err(_)) => refused += 1,
            (Ok(reference), Err(error)) => {
                let names = |name: &str| reference.iter().filter(|tensor| tensor.0 == name).count();
                let stricter = reference.len() < 4 || names("") > 0;
                assert!(stricter, "the reference reads what we do not ({error}): {}", text());
            }
            (Err(error), Ok(_)) => panic!("we read what the reference does not ({error}): {}", text()),
        }
    }
    assert!(accepted > 1000 && refused > 1000, "{accepted} accepted, {refused} refused");
}

fn shard(name: &str, value: u8) -> Vec<u8> {
    of(&[(name, "U8", &[4], vec![value; 4])])
}

fn sharded(map: &str) -> MemoryRepository {
    MemoryRepository::new("repo")
        .with("config.json", "{}")
        .with("model.safetensors.index.json", format!(r#"{{"metadata":{{"total_size":77}},"weight_map":{map}}}"#))
        .with("x-1.safetensors", shard("a", 1))
        .with("sub/x-2.safetensors", shard("b", 2))
}

#[test]
fn shards_are_one_model() {
    let repository = sharded(r#"{"b":"sub/x-2.safetensors","a":"x-1.safetensors"}"#);
    let checkpoint = open(&repository).unwrap();
    assert_eq!(checkpoint.files().len(), 2);
    for (name, value) in [("a", 1), ("b", 2)] {
        let tensor = checkpoint.tensor(name).unwrap();
        assert_eq!(*block_on(checkpoint.read(tensor, 0, 4)).unwrap(), [value; 4]);
    }
    assert_eq!(checkpoint.name(), "repo");
    // The file without an index comes first, as in the library that publishes both.
    let checkpoint = open(&repository.with("model.safetensors", shard("c", 3))).unwrap();
    assert_eq!(checkpoint.tensors().map(|tensor| tensor.name.as_str()).collect::<Vec<_>>(), ["c"]);
}

#[test]
fn shards_that_do_not_fit_the_index_are_refused_by_name() {
    let cases: [(&str, &str, &[&str]); 9] = [
        ("a missing shard", r#"{"a":"x-1.safetensors","b":"x-3.safetensors"}"#, &["repo: x-3.safetensors is missing", "among 2 files"]),
        ("outside", r#"{"a":"../x-1.safetensors"}"#, &["index.json", "../x-1.safetensors", "not one inside"]),
        ("absolute", r#"{"a":"/x-1.safetensors"}"#, &["\"/x-1.safetensors\""]),
        ("a tensor too many in the index", r#"{"a":"x-1.safetensors","z":"x-1.safetensors"}"#, &["index.json", "`z`", "x-1.safetensors"]),
        ("a tensor too few", r#"{"z":"x-1.safetensors"}"#, &["repo/x-1.safetensors", "`a`", "no entry there"]),
        (
            "a tensor elsewhere",
            r#"{"a":"sub/x-2.safetensors","b":"x-1.safetensors"}"#,
            &["sub/x-2.safetensors", "`b`", "x-1.safetensors there"],
        ),
        ("a tensor twice", r#"{"a":"x-1.safetensors","a":"x-1.safetensors"}"#, &["`a` a second time"]),
        ("no tensors", "{}", &["`weight_map` with a tensor"]),
        ("no map", "[]", &["an object of file names"]),
    ];
    for (what, map, fragments) in cases {
        says(what, &refused(&sharded(map)), fragments);
    }
}

/// In linear time, in whatever order both list them.
#[test]
fn the_tensor_that_one_of_many_shards_lacks_is_named() {
    let names: Vec<String> = (0..20_000).map(|number| format!("{number:05}")).collect();
    let tensors: Vec<(&str, &str, &[u64], Vec<u8>)> = names.iter().map(|name| (name.as_str(), "U8", &[0][..], Vec::new())).collect();
    let map: String = names.iter().rev().map(|name| format!("\"{name}\":\"x.safetensors\",")).collect();
    let index = format!("{{\"weight_map\":{{{map}\"absent\":\"x.safetensors\"}}}}");
    let repository = MemoryRepository::new("repo").with("config.json", "{}").with("x.safetensors", of(&tensors));
    let began = std::time::Instant::now();
    let error = refused(&repository.with("model.safetensors.index.json", index));
    says("an absent tensor", &error, &["tensor `absent`", "the tensor in x.safetensors, got a file without it"]);
    assert!(began.elapsed().as_secs_f64() < 1.0, "{:?}", began.elapsed());
}

#[test]
fn repositories_without_what_is_needed_say_what_to_do() {
    let empty = || MemoryRepository::new("repo");
    let with = |path: &str| empty().with("config.json", "{}").with(path, "x");
    says("nothing", &refused(&empty()), &["repo: a directory without config.json", "name the .gguf file"]);
    says("no configuration", &refused(&empty().with("model.safetensors", shard("a", 1))), &["config.json is missing"]);
    says("no weights", &refused(&empty().with("config.json", "{}")), &["model.safetensors is missing"]);
    says("pickle", &refused(&with("pytorch_model.bin")), &["pytorch_model.bin", "safetensors revision"]);
    says("ONNX", &refused(&with("onnx/model.onnx")), &["ONNX", "safetensors revision"]);
    says("an adapter", &refused(&with("adapter_model.safetensors")), &["LoRA", "merged into"]);
    let lone = std::sync::Arc::new(parhelion_loader::MemorySource::new("w.safetensors", shard("a", 1)));
    let error = block_on(parhelion_loader::Checkpoint::open(lone)).err().unwrap();
    assert!(matches!(error, LoadError::Unsupported { .. }));
}

#[test]
fn configuration_becomes_metadata() {
    let config = r#"{"model_type":"llama","vocab_size":32000,"rope_theta":10000,"big":18446744073709551615,"neg":-1,"eps":1e-05,
        "nothing":null,"tie":true,"rope_scaling":{"factor":8.0,"deep":{"er":[1,2]}},"architectures":["A","B"],"mixed":[1,"x",{"y":2}],
        "floats":[1,0.5],"lists":[[1],[2,3]],"empty":[]}"#;
    let generation = r#"{"eos_token_id":[1,2],"temperature":0.6}"#;
    let repository = repository(config, shard("a", 0)).with("generation_config.json", generation);
    let checkpoint = open(&repository).unwrap();
    let metadata = checkpoint.metadata();
    assert_eq!(metadata.u32("vocab_size").unwrap(), 32000);
    assert_eq!(metadata.f32("rope_theta").unwrap(), 10000.0);
    assert_eq!(metadata.u64("big").unwrap(), u64::MAX);
    assert_eq!(metadata.i64("neg").unwrap(), -1);
    assert_eq!(metadata.f32("eps").unwrap(), 1e-5);
    assert!(metadata.bool("tie").unwrap() && !metadata.contains("nothing"));
    assert_eq!(metadata.f32("rope_scaling.factor").unwrap(), 8.0);
    assert_eq!(metadata.u32s("rope_scaling.deep.er").unwrap(), [1, 2]);
    assert_eq!(metadata.strings("architectures").unwrap().iter().collect::<Vec<_>>(), ["A", "B"]);
    assert_eq!((metadata.u32("mixed.0").unwrap(), metadata.str("mixed.1").unwrap(), metadata.u32("mixed.2.y").unwrap()), (1, "x", 2));
    assert_eq!(metadata.get("floats").unwrap().to_string(), "array of 2 f64 values");
    assert_eq!(metadata.u32s("lists.1").unwrap(), [2, 3]);
    assert!(metadata.array("empty").unwrap().is_empty());
    assert_eq!(metadata.u32s("generation_config.eos_token_id").unwrap(), [1, 2]);
    let error = metadata.u32("rope_scaling.factor").unwrap_err().to_string();
    says("a getter", &error, &["repo/config.json", "`rope_scaling.factor`", "got f64 8"]);
}

#[test]
fn bad_configurations_are_refused_by_name() {
    let nested = format!("{}1{}", r#"{"a":"#.repeat(17), "}".repeat(17));
    let lists = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let many = format!("{{{}\"z\":1}}", (0..20_000).map(|i| format!("\"{i}\":1,")).collect::<String>());
    let long = format!("{{\"a\":[{}1]}}", "1,".repeat(1 << 16));
    let repeated = format!("{{\"{}\":{{{}\"z\":1}}}}", "k".repeat(500), (0..5000).map(|i| format!("\"{i}\":1,")).collect::<String>());
    let long_key = format!("{{\"{}\":[{}1]}}", "k".repeat(1 << 20), "1,".repeat(60_000));
    let cases: [(&str, &str, &str); 10] = [
        ("a long key before a long list", &long_key, "a path of over 512 bytes, at the key that begins \"kkkk"),
        ("no JSON", "model_type: llama", "expected value"),
        ("a list", "[1]", "a JSON object"),
        ("a number", "1", "a JSON object"),
        ("a key twice", r#"{"a":1,"a":2}"#, "`a` a second time"),
        ("deep objects", &nested, "nested over 16 deep"),
        ("deep lists", &lists, "nested over 16 deep"),
        ("many entries", &many, "over 8192 entries"),
        ("a long list", &long, "over 65536 elements"),
        ("long paths", &repeated, "bytes of their paths"),
    ];
    for (what, config, fragment) in cases {
        says(what, &refused(&repository(config, shard("a", 0))), &["repo/config.json", fragment]);
    }
}
