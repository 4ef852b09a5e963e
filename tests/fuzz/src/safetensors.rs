//! Repositories of safetensors: one file, or shards with an index.

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use parhelion_loader::{Checkpoint, DType, MemoryRepository};

use crate::bounds::within;
use crate::build::{Damage, number, text};
use crate::config;
use crate::gguf::use_all;
use crate::quantised;

const MODEL: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// The most bytes of tensor data that a built file carries.
const MOST_DATA: u64 = 16 << 10;
const SHARDS: [&str; 5] = ["a.safetensors", "b.safetensors", "d/c.safetensors", "../a.safetensors", "/etc/passwd"];
const DTYPES: [&str; 12] = ["F32", "F16", "BF16", "U8", "I64", "BOOL", "F8_E4M3", "F8_E5M2", "F4", "F64", "U16", "f32"];

/// Opens the input as a file if it looks like one, else the repository that it says to build.
pub fn run(input: &[u8]) {
    let repository = || MemoryRepository::new("model");
    if input.get(8) == Some(&b'{') {
        let size = config::SOUND.len() + input.len();
        open(&repository().with("config.json", config::SOUND).with(MODEL, input), size);
    } else if let Ok(files) = build(&mut Unstructured::new(input)) {
        let size = files.iter().map(|(_, bytes)| bytes.len()).sum();
        let repository = files.into_iter().fold(repository(), |repository, (path, bytes)| repository.with(path, bytes));
        open(&repository, size);
    }
}

fn open(repository: &MemoryRepository, size: usize) {
    let memory = 8 * size + (1 << 20);
    let opened = within(memory, || pollster::block_on(Checkpoint::open_repository(repository)).map_err(|error| error.to_string()));
    match opened {
        Ok(checkpoint) => within(64 * size + (1 << 20), || use_all(&checkpoint)),
        Err(text) => assert!(text.starts_with("model"), "an error that does not name the file: {text}"),
    }
}

/// A repository's files from building instructions.
fn build(input: &mut Unstructured) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let scheme = input.int_in_range(0..=7_u8)?;
    let shards = input.int_in_range(0..=SHARDS.len() - 1)?;
    let mut files: Vec<File> = (0..shards.max(1)).map(|_| File::default()).collect();
    let mut index = String::new();
    let mut damage = Vec::new();
    while !input.is_empty() {
        let at = input.int_in_range(0..=files.len() - 1)?;
        match input.int_in_range(0..=13_u8)? {
            what @ (0..=7 | 12..) => {
                let names = if what < 8 { vec![files[at].tensor(input)?] } else { files[at].module(scheme, input)? };
                let shard = if input.ratio(1, 16)? { input.int_in_range(0..=SHARDS.len() - 1)? } else { at };
                names.iter().for_each(|name| index.push_str(&format!("{}:{:?},", json(name), SHARDS[shard])));
            }
            8 => files[at].header.push_str(&format!("\"__metadata__\":{{{}:\"pt\"}},", json(&text(input)?))),
            9 => files[at].length = Some(number(input)?),
            10 => files[at].padding = input.int_in_range(0..=9_usize)?,
            _ => damage.push((at, Damage::read(input)?)),
        }
    }
    let mut built: Vec<(&str, Vec<u8>)> = SHARDS.into_iter().zip(&files).map(|(path, file)| (path, file.bytes())).collect();
    match shards {
        0 => built[0].0 = MODEL,
        _ => built.push((INDEX, format!("{{\"weight_map\":{{{}}}}}", index.trim_end_matches(',')).into_bytes())),
    }
    built.push(("config.json", quantised::config(scheme).as_bytes().to_vec()));
    let count = built.len();
    damage.iter().for_each(|(at, damage)| damage.apply(&mut built[at % count].1));
    Ok(built)
}

fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Bytes of a tensor, 0 where they are too many.
fn size(dtype: &str, shape: &[u64]) -> u64 {
    let elems = shape.iter().try_fold(1_u64, |product, &dim| product.checked_mul(dim));
    DType::from_safetensors(dtype).zip(elems).and_then(|(dtype, elems)| dtype.bytes_for(elems)).unwrap_or(0)
}

#[derive(Default)]
struct File {
    header: String,
    end: u64,
    /// A length of the header other than the true one.
    length: Option<u64>,
    /// Spaces after the header.
    padding: usize,
}

impl File {
    /// Adds a tensor, mostly right behind the one before it; its name.
    fn tensor(&mut self, input: &mut Unstructured) -> Result<String> {
        let name = text(input)?;
        let dtype = *input.choose(&DTYPES)?;
        let rank = input.int_in_range(0..=4_u8)?;
        let shape = (0..rank).map(|_| number(input)).collect::<Result<Vec<_>>>()?;
        let len = size(dtype, &shape);
        let start = if input.ratio(1, 12)? { number(input)? } else { self.end };
        let end = if input.ratio(1, 12)? { number(input)? } else { start.saturating_add(len) };
        let fields = format!("\"dtype\":{dtype:?},\"shape\":{shape:?},\"data_offsets\":[{start},{end}]");
        let extra = if input.ratio(1, 16)? { ",\"dtype\":[{}]" } else { "" };
        self.header.push_str(&format!("{}:{{{fields}{extra}}},", json(&name)));
        self.end = end;
        Ok(name)
    }

    /// Adds the tensors of a quantised matrix; their names.
    fn module(&mut self, scheme: u8, input: &mut Unstructured) -> Result<Vec<String>> {
        let module = text(input)?;
        let mut names = Vec::new();
        for (part, dtype, shape) in quantised::module(scheme, input)? {
            let name = format!("{module}.{part}");
            let end = self.end.saturating_add(size(dtype, &shape));
            let fields = format!("\"dtype\":{dtype:?},\"shape\":{shape:?},\"data_offsets\":[{},{end}]", self.end);
            self.header.push_str(&format!("{}:{{{fields}}},", json(&name)));
            self.end = end;
            names.push(name);
        }
        Ok(names)
    }

    fn bytes(&self) -> Vec<u8> {
        let header = format!("{{{}}}{}", self.header.trim_end_matches(','), " ".repeat(self.padding));
        let length = self.length.unwrap_or(header.len() as u64);
        let data = vec![0; self.end.min(MOST_DATA) as usize];
        [length.to_le_bytes().as_slice(), header.as_bytes(), &data].concat()
    }
}
