//! Files that lie, break off or contradict themselves: each ends in an error that names the place, in bounded memory and
//! time.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is amiss")]

mod bad;
mod common;
mod counting;
#[path = "../../tests/src/skip.rs"]
#[allow(unreachable_pub, reason = "public in the package it belongs to")]
mod skip;

use std::time::Instant;

use bad::gguf::{F32, Q4_0, nested};
use bad::{Case, Model, tokenizers};
use common::{Gguf, array, open};
use parhelion_loader::Checkpoint;

fn check(cases: Vec<Case>) {
    for Case { name, model, says } in cases {
        let began = Instant::now();
        let (result, peak) = counting::peak_of(|| model.verdict());
        let Err(error) = result else { panic!("{name}: no error") };
        let text = error.to_string();
        for fragment in says {
            assert!(text.contains(fragment), "{name}: `{fragment}` is not in: {text}");
        }
        assert!(text.starts_with(model.name()), "{name}: {text}");
        assert!(peak <= model.allowed(), "{name}: {peak} bytes for a model of {}", model.size());
        assert!(began.elapsed().as_secs_f64() < 1.0, "{name}: {:?}", began.elapsed());
    }
}

#[test]
fn bad_headers_are_refused() {
    check(bad::headers());
}

#[test]
fn bad_tokenizers_and_templates_are_refused() {
    Model::Tokenizer(tokenizers::tokenizer_file(|_, _| None)).verdict().unwrap();
    Model::Tokenizer(tokenizers::with_merge("ab ab")).verdict().unwrap(); // into no token: never applied
    Model::Template(tokenizers::with_template("{{ messages }}")).verdict().unwrap();
    check(bad::contents());
}

#[test]
fn published_vulnerabilities_are_none_here() {
    check(bad::published::cases());
}

#[test]
fn every_kind_of_handcrafted_file_of_llama_cpp_is_refused() {
    check(bad::kinds::cases());
}

/// Byte for byte: `cargo xtask test` has the same models judged by the loader compiled to wasm32, and gives us what it says.
#[test]
fn verdicts_are_those_of_a_32_bit_machine() {
    let Some(path) = std::env::var_os("PARHELION_WASM32_VERDICTS") else {
        skip::skip("PARHELION_WASM32_VERDICTS is not set: `cargo xtask test` without further words sets it");
        return;
    };
    let (there, here) = (std::fs::read_to_string(path).unwrap(), bad::verdicts());
    for (there, here) in there.lines().zip(here.lines()) {
        assert_eq!(there, here);
    }
    assert_eq!(there, here);
    assert!(here.lines().count() > 150);
}

/// A sound file of a few hundred bytes with every kind of value.
fn small_file() -> Gguf {
    let every_kind = [(0, 1), (1, 1), (2, 2), (3, 2), (4, 4), (5, 4), (6, 4), (7, 1), (10, 8), (11, 8), (12, 8)];
    let file = every_kind.iter().fold(Gguf::default(), |file, &(kind, bytes)| {
        let key = format!("kind.{kind}");
        file.entry(&key, kind, &vec![0; bytes]).entry(&format!("{key}s"), 9, &array(kind, 2, &vec![0; 2 * bytes]))
    });
    let file = file.str("text", "héllo").strs("texts", ["a", "", "ü"]).entry("nested", 9, &nested(4));
    file.tensor("a", &[32, 2], Q4_0, 0).tensor("b", &[3, 2, 2], F32, 64).data(128)
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let whole = small_file().bytes();
    assert_eq!(open(whole.clone()).unwrap().tensors().len(), 2);
    // The last 16 bytes lie behind the last tensor's data.
    for len in 0..whole.len() - 16 {
        let (result, peak) = counting::peak_of(|| open(whole[..len].to_vec()));
        assert!(result.is_err(), "{len} of {} bytes were enough", whole.len());
        assert!(peak <= 8 * len + (1 << 20));
    }
}

#[test]
fn no_changed_byte_brings_the_loader_down() {
    let whole = small_file().bytes();
    let header = whole.len() - 128;
    let mut refused = 0;
    for at in 0..header {
        for value in [0, 1, 7, 9, 0x7F, 0x80, 0xFF, whole[at] ^ 1, whole[at].wrapping_add(1)] {
            let mut bytes = whole.clone();
            bytes[at] = value;
            let (result, peak) = counting::peak_of(|| open(bytes).map(|checkpoint: Checkpoint| checkpoint.tensors().len()));
            assert!(peak <= 8 * whole.len() + (1 << 20), "byte {at} = {value}: {peak} bytes");
            refused += usize::from(result.is_err());
        }
    }
    assert!(refused > header, "only {refused} of {} changed files were refused", 9 * header);
}
