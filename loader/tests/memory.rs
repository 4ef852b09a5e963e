//! What reading a header may cost, for files made to cost the most.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is amiss")]

mod common;
mod counting;

use std::borrow::Cow;
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;

use common::{Gguf, array, string};
use parhelion_loader::{Checkpoint, LoadError, MemorySource, Source};

/// Gives every read as bytes of its own, as a browser's ranges come.
struct Fetched(MemorySource);

impl Source for Fetched {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn len(&self) -> u64 {
        self.0.len()
    }

    fn read<'a>(&'a self, offset: u64, len: usize) -> Pin<Box<dyn Future<Output = Result<Cow<'a, [u8]>, LoadError>> + 'a>> {
        let read = pollster::block_on(self.0.read(offset, len)).map(|bytes| Cow::Owned(bytes.into_owned()));
        Box::pin(ready(read))
    }
}

fn check(name: &str, file: &Gguf, opens: bool) {
    let bytes = file.bytes();
    let header = bytes.len() - file.data.len();
    let sources: [Arc<dyn Source>; 2] =
        [Arc::new(MemorySource::new("model.gguf", bytes.clone())), Arc::new(Fetched(MemorySource::new("model.gguf", bytes)))];
    for source in sources {
        let (result, peak) = counting::peak_of(|| pollster::block_on(Checkpoint::open(source)));
        assert_eq!(result.is_ok(), opens, "{name}: {:?}", result.err());
        assert!(peak <= 8 * header + (1 << 20), "{name}: {peak} bytes for a header of {header}");
    }
}

#[test]
fn the_densest_headers_stay_within_eight_times_their_bytes() {
    let entries = (0..16_384).fold(Gguf::default(), |file, number| file.bool(&format!("{number:x}"), true));
    check("entries", &entries, true);
    let keys_of_nothing = (0..16_384).fold(Gguf::default(), |file, number| file.entry(&format!("{number:x}"), 9, &array(9, 0, &[])));
    check("entries that are empty arrays", &keys_of_nothing, true);

    let count = 1 << 20;
    let repeated = |kind, element: &[u8]| Gguf::default().entry("a", 9, &array(kind, count, &element.repeat(count as usize)));
    check("empty strings", &repeated(8, &string("")), true);
    check("short strings", &repeated(8, &string("a")), true);
    check("bools", &repeated(7, &[1]), true);
    check("f64", &repeated(12, &[0; 8]), true);
    check("empty arrays", &repeated(9, &array(0, 0, &[])), true);
    check("arrays of one string", &repeated(9, &array(8, 1, &string(""))), true);
    check("one long string", &Gguf::default().str("a", &"x".repeat(8 << 20)), true);

    let tensors = (0..100_000_u64)
        .fold(Gguf::default().u32("general.alignment", 1), |file, number| file.tensor(&format!("{number:x}"), &[1], 24, number));
    let tensors = Gguf { alignment: 1, ..tensors }.data(100_000);
    check("tensors", &tensors, true);
}

/// Each count fits the file, so that only what is read after it shows the lie.
#[test]
fn counts_that_a_large_file_could_hold_cost_nothing_until_read() {
    let large = |file: Gguf| file.data(64 << 20);
    check("tensors", &large(Gguf { tensor_count: Some(1 << 17), ..Gguf::default() }), false);
    check("entries", &large(Gguf { entry_count: Some(1 << 14), ..Gguf::default() }), false);
    let strings = Gguf::default().entry("a", 9, &array(8, 1 << 20, &999_u64.to_le_bytes()));
    check("strings that begin with one too long", &Gguf { data: vec![0xFF; 64 << 20], ..strings }, false);
    let nested = Gguf::default().entry("a", 9, &array(9, 1 << 20, &array(77, 0, &[])));
    check("arrays that begin with a bad one", &large(nested), false);
    let names = Gguf { tensor_count: Some(1 << 16), ..Gguf::default().tensor("t", &[1], 0, 0) };
    check("a tensor and zeros", &large(names), false);
}
