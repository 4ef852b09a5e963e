//! The texts that tokenizers are compared on, as `fixtures/tokenizers/strings.py` draws them, and digests of results.

#![allow(dead_code, reason = "each test program uses a part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is amiss")]

use parhelion_loader::{Specials, Tokenizer};
use serde_json::Value;

const POOL: &str = include_str!("../fixtures/tokenizers/pool.json");
const COUNT: usize = 10_000;
/// Results that share a digest.
const CHUNK: usize = 1_000;

/// 10,000 strings of the pool's pieces, with control tokens and markup in place of two of them.
pub(crate) fn strings() -> Vec<String> {
    let fixture: Value = serde_json::from_str(POOL).unwrap();
    let pool = texts(&fixture["pool"]);
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut draw = |below: usize| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % below
    };
    let drawn = (0..COUNT).map(|_| (0..draw(16)).map(|_| pool[draw(pool.len())]).collect::<String>());
    drawn.map(|text| replaced(text, &fixture["specials"])).collect()
}

fn replaced(text: String, specials: &Value) -> String {
    specials.as_object().unwrap().iter().fold(text, |text, (from, to)| text.replace(from, to.as_str().unwrap()))
}

pub(crate) fn texts(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

pub(crate) fn numbers(list: &Value) -> Vec<u32> {
    list.as_array().unwrap().iter().map(|id| u32::try_from(id.as_u64().unwrap()).unwrap()).collect()
}

/// A digest for each chunk of `lists`: FNV-1a of the numbers, each list ended by 2^32 - 1.
fn digests(lists: &[Vec<u32>]) -> Vec<String> {
    let digest = |chunk: &[Vec<u32>]| {
        let numbers = chunk.iter().flat_map(|list| list.iter().copied().chain([u32::MAX]));
        numbers.fold(0xCBF2_9CE4_8422_2325_u64, |digest, number| (digest ^ u64::from(number)).wrapping_mul(0x100_0000_01B3))
    };
    lists.chunks(CHUNK).map(|chunk| format!("{:016x}", digest(chunk))).collect()
}

/// Compares what `tokenizer` makes of all strings, and of what is left of them, with a fixture's digests.
pub(crate) fn compare(name: &str, tokenizer: &Tokenizer, strings: &[String], expected: &Value) {
    compare_texts(name, tokenizer, strings, expected);
    let around = [tokenizer.prefix(), &tokenizer.encode("hi", Specials::Text).unwrap(), tokenizer.suffix()].concat();
    assert_eq!(around, numbers(&expected["affixed"]), "{name}: with the tokens around it");
}

/// As [`compare`], of the texts alone.
pub(crate) fn compare_texts(name: &str, tokenizer: &Tokenizer, strings: &[String], expected: &Value) {
    let ids: Vec<Vec<u32>> = strings.iter().map(|text| tokenizer.encode(text, Specials::Parse).unwrap()).collect();
    dump(name, &ids);
    assert_eq!(digests(&ids), texts(&expected["ids"]), "{name}: the ids of 10,000 strings, a digest for each thousand");
    let decoded: Vec<String> = ids.iter().map(|ids| tokenizer.decode(ids)).collect();
    let bytes = |text: &String| text.bytes().map(u32::from).collect();
    let decoded_bytes: Vec<Vec<u32>> = decoded.iter().map(bytes).collect();
    assert_eq!(digests(&decoded_bytes), texts(&expected["decoded"]), "{name}: their texts");
    for (ids, text) in ids.iter().zip(&decoded) {
        let mut decoder = tokenizer.decoder();
        let mut streamed: String = ids.iter().map(|&id| decoder.push(id)).collect();
        streamed.push_str(&decoder.finish());
        assert_eq!(streamed, *text, "{name}: {ids:?} one by one");
    }
}

/// Writes the ids where `PARHELION_DUMP_IDS` names a directory, to be compared with the reference one by one.
fn dump(name: &str, ids: &[Vec<u32>]) {
    if let Some(directory) = std::env::var_os("PARHELION_DUMP_IDS") {
        let path = std::path::Path::new(&directory).join(format!("{}.json", name.replace([' ', '/'], "_")));
        std::fs::write(path, serde_json::to_string(ids).unwrap()).unwrap();
    }
}

/// Compares what ids that no text has decode to.
pub(crate) fn compare_cut(name: &str, tokenizer: &Tokenizer, cases: &Value) {
    for case in cases.as_array().unwrap() {
        let ids = numbers(&case["ids"]);
        assert_eq!(tokenizer.decode(&ids), case["text"].as_str().unwrap(), "{name}: {ids:?}");
    }
}
