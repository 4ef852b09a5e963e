//! Models in several GGUF files.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is amiss")]

mod common;

use std::sync::Arc;

use common::Gguf;
use parhelion_loader::{Checkpoint, LoadError, MemoryRepository, MemorySource};
use pollster::block_on;

/// Part `number` (from 0) of `count`, with one tensor of its own.
fn part(number: u16, count: u16) -> Gguf {
    let mut file = Gguf::default()
        .entry("split.no", 2, &number.to_le_bytes())
        .entry("split.count", 2, &count.to_le_bytes())
        .entry("split.tensors.count", 5, &i32::from(count).to_le_bytes())
        .tensor(&format!("t{number}"), &[4], 0, 0);
    if number == 0 {
        file = file.str("general.architecture", "llama");
    }
    Gguf { data: vec![number as u8 + 1; 16], ..file }
}

fn name(number: u16) -> String {
    format!("m-{number:05}-of-00003.gguf")
}

fn repository(parts: impl IntoIterator<Item = (u16, Gguf)>) -> MemoryRepository {
    let all = MemoryRepository::new("models");
    parts.into_iter().fold(all, |all, (number, file)| all.with(&name(number + 1), file.bytes()))
}

fn sound() -> [(u16, Gguf); 3] {
    [0, 1, 2].map(|number| (number, part(number, 3)))
}

#[test]
fn any_part_opens_the_whole() {
    let repository = repository(sound());
    for given in 1..=3 {
        let checkpoint = block_on(Checkpoint::open_file_of(&repository, &name(given))).unwrap();
        assert_eq!(checkpoint.architecture().unwrap(), "llama");
        assert_eq!(checkpoint.name(), "models/m-00001-of-00003.gguf");
        let names: Vec<&str> = checkpoint.files().iter().map(|file| file.name()).collect();
        assert_eq!(names, [1, 2, 3].map(|number| format!("models/{}", name(number))));
        for number in 0..3 {
            let tensor = checkpoint.tensor(&format!("t{number}")).unwrap();
            assert_eq!(tensor.file, number);
            assert_eq!(*block_on(checkpoint.read(tensor, 4, 12)).unwrap(), [number as u8 + 1; 12]);
        }
    }
}

#[test]
fn parts_that_do_not_fit_together_are_refused_by_name() {
    let without = |number: usize| sound().into_iter().filter(move |(part, _)| usize::from(*part) != number);
    let with = |number: u16, file: Gguf| sound().map(|(part, sound)| (part, if part == number { file.clone() } else { sound }));
    let refused = |repository: MemoryRepository| block_on(Checkpoint::open_file_of(&repository, &name(1))).err().unwrap();
    let cases: [(&str, LoadError, &[&str]); 7] = [
        ("a missing part", refused(repository(without(2))), &["models", "m-00003-of-00003.gguf is missing", "in 3 files"]),
        ("no first part", refused(repository(without(0))), &["models/m-00001-of-00003.gguf", "no such file"]),
        ("a part in another's place", refused(repository(with(1, part(2, 3)))), &["00002-of-00003", "`split.no`", "expected 1", "got 2"]),
        ("a part of another split", refused(repository(with(1, part(1, 4)))), &["00002-of-00003", "`split.count`", "expected 3", "got 4"]),
        (
            "a tensor in two parts",
            refused(repository(with(2, Gguf { tensors: part(1, 3).tensors, ..part(2, 3) }))),
            &["00003-of-00003", "`t1` a second time"],
        ),
        (
            "a part with another count of tensors",
            refused(repository(with(2, part(2, 3).tensor("t3", &[1], 0, 32).data(64)))),
            &["`split.tensors.count`", "expected 4", "got 3"],
        ),
        ("a whole file among the parts", refused(repository(with(1, Gguf::default()))), &["00002-of-00003", "no `split.no`"]),
    ];
    for (what, error, fragments) in cases {
        let error = error.to_string();
        assert!(fragments.iter().all(|fragment| error.contains(fragment)), "{what}: {error}");
    }
}

#[test]
fn a_part_under_another_name_or_alone_says_what_to_do() {
    let renamed = MemoryRepository::new("models").with("m.gguf", part(0, 3).bytes());
    let error = block_on(Checkpoint::open_file_of(&renamed, "m.gguf")).err().unwrap().to_string();
    assert!(error.contains("model-00001-of-00003.gguf") && error.contains("a file called m.gguf"), "{error}");
    let alone = block_on(Checkpoint::open(Arc::new(MemorySource::new("x.gguf", part(1, 3).bytes())))).err().unwrap().to_string();
    assert!(alone.contains("part 2 of a model in 3 files"), "{alone}");
}

#[test]
fn a_single_file_may_have_any_name() {
    let repository = MemoryRepository::new("models").with("a-00001-of-00002.gguf", Gguf::default().tensor("t", &[1], 0, 0).data(4).bytes());
    assert_eq!(block_on(Checkpoint::open_file_of(&repository, "a-00001-of-00002.gguf")).unwrap().files().len(), 1);
    assert!(matches!(block_on(Checkpoint::open_file_of(&repository, "b.gguf")), Err(LoadError::NotFound { .. })));
    assert!(matches!(block_on(Checkpoint::open_file_of(&repository, "../b.gguf")), Err(LoadError::BadPath { .. })));
}

#[test]
fn versions_2_and_3_are_read_and_others_refused_by_name() {
    let file = |version: u32| Gguf { version, ..Gguf::default().str("general.architecture", "llama").tensor("t", &[4], 0, 0).data(16) };
    for version in [2, 3] {
        let checkpoint = file(version).open().unwrap();
        assert_eq!((checkpoint.architecture().unwrap(), checkpoint.tensor("t").unwrap().len), ("llama", 16));
    }
    for (version, said) in [(1, "GGUF version 1"), (4, "GGUF version 4"), (3_u32.swap_bytes(), "big-endian GGUF")] {
        let error = file(version).open().err().unwrap();
        assert!(matches!(&error, LoadError::Unsupported { found, .. } if found == said), "{error}");
    }
}
