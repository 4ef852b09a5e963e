//! GGUF: opens a file, then asks for all that it holds.

use std::sync::Arc;

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use parhelion_loader::{Checkpoint, DType, MemorySource, Metadata};

use crate::bounds::within;
use crate::build::{Damage, bytes, number, text};
use crate::common::{Gguf, array, string};

/// The name that errors must begin with.
const FILE: &str = "model.gguf";
/// What opening may need whatever the file's size. The promise is 1 MiB, but inputs here are small: a header that costs
/// a hundred times its bytes would hide below that.
const FIXED: usize = 32 << 10;
/// The most bytes of tensor data that a built file carries.
const MOST_DATA: u64 = 16 << 10;

/// Entries whose values the loader reads.
const KEYS: [&str; 8] = [
    "general.alignment",
    "general.architecture",
    "llama.block_count",
    "split.count",
    "split.no",
    "tokenizer.ggml.tokens",
    "tokenizer.ggml.token_type",
    "tokenizer.chat_template",
];

/// Opens the input if it begins as GGUF does, and else the file that it says to build.
pub fn run(input: &[u8]) {
    if input.starts_with(b"GGUF") {
        open(input);
    } else if let Ok(file) = build(&mut Unstructured::new(input)) {
        open(&file);
    }
}

fn open(file: &[u8]) {
    let source = Arc::new(MemorySource::new(FILE, file));
    let opened = within(8 * file.len() + FIXED, || pollster::block_on(Checkpoint::open(source.clone())).map_err(|error| error.to_string()));
    match opened {
        Ok(checkpoint) => within(64 * file.len() + FIXED, || use_all(&checkpoint)),
        Err(text) => assert!(text.starts_with(FILE), "an error that does not name the file: {text}"),
    }
}

/// Reads every tensor and asks for every entry as each type.
pub(crate) fn use_all(checkpoint: &Checkpoint) {
    let files = checkpoint.files();
    let mut lengths = vec![0; files.len()];
    for tensor in checkpoint.tensors() {
        let end = files[tensor.file].len();
        // Of a matrix in several tensors only whole rows can be read, and its length is that of what they become.
        let is_stored = tensor.row_bytes() < 2 || pollster::block_on(checkpoint.read(tensor, 0, 1)).is_ok();
        assert!(
            !is_stored || tensor.offset.checked_add(tensor.len).is_some_and(|tensor_end| tensor_end <= end),
            "{tensor:?} of {end} bytes"
        );
        assert_eq!(tensor.dtype.bytes_for(tensor.elems()), Some(tensor.len), "{tensor:?}");
        assert!(checkpoint.tensor(&tensor.name).is_ok_and(|found| found == tensor), "{tensor:?} is not found by its name");
        let read = pollster::block_on(checkpoint.read(tensor, 0, tensor.len));
        let wrong = match &read {
            Ok(bytes) if bytes.len() as u64 == tensor.len => None,
            Ok(bytes) => Some(format!("{} bytes", bytes.len())),
            Err(error) => Some(error.to_string()),
        };
        assert_eq!(wrong, None, "{tensor:?} cannot be read");
        assert!(pollster::block_on(checkpoint.read(tensor, 1, tensor.len)).is_err(), "{tensor:?} can be read past its end");
        let rows = tensor.len.checked_div(tensor.row_bytes()).unwrap_or(0);
        assert!(rows == 0 || pollster::block_on(checkpoint.read_rows(tensor, rows - 1, 1)).is_ok(), "{tensor:?} lacks its last row");
        assert!(rows == 0 || pollster::block_on(checkpoint.read_rows(tensor, rows, 1)).is_err(), "{tensor:?} has a row too many");
        lengths[tensor.file] += if is_stored { tensor.len } else { 0 };
    }
    assert!(lengths.iter().zip(files).all(|(&len, file)| len <= file.len()), "tensors overlap");
    assert!(checkpoint.tensor("no such tensor").is_err());
    let metadata = checkpoint.metadata();
    for (key, value) in metadata.iter() {
        assert!(metadata.get(key).is_some_and(|found| std::ptr::eq(found, value)), "{key} is not found");
        ask(metadata, key);
    }
    let _ = checkpoint.architecture();
}

fn ask(metadata: &Metadata, key: &str) {
    let numbers = [metadata.u32(key).is_ok(), metadata.u64(key).is_ok(), metadata.i64(key).is_ok(), metadata.f32(key).is_ok()];
    let lists = [metadata.u32s(key).is_ok(), metadata.i32s(key).is_ok(), metadata.f32s(key).is_ok()];
    let others = [metadata.bool(key).is_ok(), metadata.str(key).is_ok()];
    // An entry is of one kind.
    assert!([numbers.contains(&true), metadata.array(key).is_ok(), others[0], others[1]].iter().filter(|is| **is).count() <= 1, "{key}");
    assert!(!lists.contains(&true) || metadata.array(key).is_ok(), "{key}");
    if let Ok(strings) = metadata.strings(key) {
        assert!(strings.iter().enumerate().all(|(at, text)| strings.get(at) == Some(text)), "{key}");
    }
}

/// A file from building instructions, each a byte with what it needs after it.
fn build(input: &mut Unstructured) -> Result<Vec<u8>> {
    let mut file = Gguf::default();
    let mut damage = Vec::new();
    let mut data = 0;
    while !input.is_empty() {
        match input.int_in_range(0..=15_u8)? {
            0..=5 => file = entry(file, input)?,
            6..=11 => file = tensor(file, input, &mut data)?,
            12 => {
                file.alignment = 1 << input.int_in_range(0..=8_u8)?;
                let alignment = file.alignment as u32;
                file = file.u32("general.alignment", alignment);
            }
            13 => match input.int_in_range(0..=3_u8)? {
                0 => file.version = number(input)? as u32,
                1 => file.version = file.version.swap_bytes(),
                2 => file.tensor_count = Some(number(input)?),
                _ => file.entry_count = Some(number(input)?),
            },
            _ => damage.push(Damage::read(input)?),
        }
    }
    let mut bytes = file.data(data.min(MOST_DATA) as usize).bytes();
    damage.iter().for_each(|damage| damage.apply(&mut bytes));
    Ok(bytes)
}

fn entry(file: Gguf, input: &mut Unstructured) -> Result<Gguf> {
    let key = if input.ratio(1, 2)? { (*input.choose(&KEYS)?).to_owned() } else { text(input)? };
    let kind = input.int_in_range(0..=13_u32)?;
    Ok(file.entry(&key, kind, &value(input, kind, 0)?))
}

/// The bytes of a value of `kind`, right ones unless the count of an array lies.
fn value(input: &mut Unstructured, kind: u32, depth: u32) -> Result<Vec<u8>> {
    Ok(match kind {
        7 => vec![u8::from(input.ratio(1, 2_u8)?)],
        8 if input.ratio(1, 16)? => [(bytes(input)?.len() as u64).to_le_bytes().as_slice(), bytes(input)?].concat(),
        8 => string(&text(input)?),
        9 if depth < 6 => {
            let kind = input.int_in_range(0..=13_u32)?;
            let count = input.int_in_range(0..=6_u64)?;
            let elements = (0..count).map(|_| value(input, kind, depth + 1)).collect::<Result<Vec<_>>>()?.concat();
            array(kind, if input.ratio(1, 16)? { number(input)? } else { count }, &elements)
        }
        _ => {
            let size = [1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8, 8][kind as usize];
            number(input)?.to_le_bytes().iter().copied().chain([0; 4]).take(size).collect()
        }
    })
}

/// A tensor, mostly right behind the one before it.
fn tensor(file: Gguf, input: &mut Unstructured, data: &mut u64) -> Result<Gguf> {
    let name = text(input)?;
    let rank = input.int_in_range(0..=5_u8)?;
    let dims = (0..rank).map(|_| number(input)).collect::<Result<Vec<_>>>()?;
    let kind = input.int_in_range(0..=43_u32)?;
    let elems = dims.iter().try_fold(1_u64, |product, &dim| product.checked_mul(dim));
    let len = DType::from_ggml(kind).zip(elems).and_then(|(dtype, elems)| dtype.bytes_for(elems)).unwrap_or(0);
    let next = data.next_multiple_of(file.alignment as u64);
    let offset = if input.ratio(1, 8)? { number(input)? } else { next };
    *data = next.saturating_add(len).min(MOST_DATA);
    Ok(file.tensor(&name, &dims, kind, offset))
}
