//! Models in several GGUF files: `name-00001-of-00003.gguf` and its siblings, as llama.cpp's `gguf-split` writes them.
//!
//! Each part is a GGUF file of its own. `split.no` (from 0), `split.count` and `split.tensors.count` (of all parts) say how
//! they belong together; the model's metadata is in the first.

use std::sync::Arc;

use super::{Header, MAX_TENSORS, read_header};
use crate::metadata::Metadata;
use crate::names::NameIndex;
use crate::{LoadError, Repository, Source, TensorInfo};

const NUMBER: &str = "split.no";
const COUNT: &str = "split.count";
const TENSORS: &str = "split.tensors.count";

/// The name of a part, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PartName<'a> {
    prefix: &'a str,
    /// From 1.
    number: u32,
    count: u32,
}

impl<'a> PartName<'a> {
    fn parse(path: &'a str) -> Option<Self> {
        let (rest, count) = path.strip_suffix(".gguf")?.rsplit_once("-of-")?;
        let (prefix, number) = rest.rsplit_once('-')?;
        let five_digits = |text: &str| if text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None };
        Some(Self { prefix, number: five_digits(number)?, count: five_digits(count)? })
    }

    fn sibling(&self, number: u32) -> String {
        format!("{}-{number:05}-of-{:05}.gguf", self.prefix, self.count)
    }
}

/// How many files the model of this header is in.
pub(crate) fn part_count(metadata: &Metadata) -> Result<u32, LoadError> {
    Ok(metadata.optional(COUNT, Metadata::u32)?.unwrap_or(1).max(1))
}

/// The error for a part that is opened where its siblings cannot be.
pub(crate) fn refuse_part(metadata: &Metadata) -> Result<(), LoadError> {
    let count = part_count(metadata)?;
    if count == 1 {
        return Ok(());
    }
    let number = u64::from(metadata.optional(NUMBER, Metadata::u32)?.unwrap_or(0)) + 1;
    Err(LoadError::Unsupported {
        file: metadata.file().to_owned(),
        found: format!("part {number} of a model in {count} files, without the others,"),
        advice: "open it where all parts are, or join them with llama.cpp's `gguf-split --merge`".to_owned(),
    })
}

/// The files of a split model in their order, and what their headers say together.
pub(crate) struct Parts {
    pub(crate) files: Vec<Arc<dyn Source>>,
    pub(crate) header: Header,
}

/// Opens all parts of the model that the file at `path`, already read, is a part of.
pub(crate) async fn open_parts(
    repository: &dyn Repository,
    path: &str,
    source: Arc<dyn Source>,
    header: Header,
) -> Result<Parts, LoadError> {
    let count = part_count(&header.metadata)?;
    let name = PartName::parse(path).filter(|name| name.count == count && (1..=count).contains(&name.number)).ok_or_else(|| {
        let expected = format!("the count of a name such as model-00001-of-{count:05}.gguf");
        header.metadata.bad_value(COUNT, expected, format!("{count} in a file called {path}"))
    })?;
    let mut given = Some((source, header));
    let (mut files, mut lists) = (Vec::new(), Vec::new());
    let mut metadata = None;
    for number in 1..=count {
        let (source, header) = match given.take_if(|_| number == name.number) {
            Some(given) => given,
            None => open_part(repository, &name, number).await?,
        };
        check_part(&header.metadata, number, count)?;
        let total = lists.iter().map(Vec::len).sum::<usize>() + header.tensors.len();
        if total as u64 > MAX_TENSORS {
            return Err(malformed(source.as_ref(), &format!("at most {MAX_TENSORS} tensors in all parts"), &format!("{total} so far")));
        }
        files.push(source);
        lists.push(header.tensors);
        metadata.get_or_insert(header.metadata);
    }
    let Some(metadata) = metadata else { return Err(missing(repository, &name.sibling(1), count)) };
    let header = join(&files, lists, metadata)?;
    Ok(Parts { files, header })
}

async fn open_part(repository: &dyn Repository, name: &PartName<'_>, number: u32) -> Result<(Arc<dyn Source>, Header), LoadError> {
    let path = name.sibling(number);
    let source = repository.open(&path).await?.ok_or_else(|| missing(repository, &path, name.count))?;
    let header = read_header(source.as_ref()).await?;
    Ok((source, header))
}

fn missing(repository: &dyn Repository, path: &str, count: u32) -> LoadError {
    LoadError::MissingFile { file: repository.name().to_owned(), path: path.to_owned(), why: format!("the model is in {count} files") }
}

fn malformed(source: &dyn Source, expected: &str, got: &str) -> LoadError {
    LoadError::Malformed {
        file: source.name().to_owned(),
        place: "tensors of a split model".to_owned(),
        expected: expected.to_owned(),
        got: got.to_owned(),
    }
}

fn check_part(metadata: &Metadata, number: u32, count: u32) -> Result<(), LoadError> {
    for (key, expected) in [(NUMBER, number - 1), (COUNT, count)] {
        let got = metadata.u32(key)?;
        if got != expected {
            return Err(metadata.bad_value(key, format!("{expected}, as the file's name says"), got.to_string()));
        }
    }
    Ok(())
}

/// One index over the parts' tensors.
fn join(files: &[Arc<dyn Source>], lists: Vec<Vec<TensorInfo>>, metadata: Metadata) -> Result<Header, LoadError> {
    let total = lists.iter().map(Vec::len).sum();
    if let Some(expected) = metadata.optional(TENSORS, Metadata::u64)?.filter(|&expected| expected != total as u64) {
        return Err(metadata.bad_value(TENSORS, format!("{total}, as many as the parts hold"), expected.to_string()));
    }
    let mut tensors = Vec::with_capacity(total);
    for (file, list) in lists.into_iter().enumerate() {
        tensors.extend(list.into_iter().map(|tensor| TensorInfo { file, ..tensor }));
    }
    let index = NameIndex::build(total, |i| tensors[i].name.as_str()).map_err(|duplicate| {
        let tensor = &tensors[duplicate];
        let got = format!("`{}` a second time", tensor.name.escape_debug());
        malformed(files[tensor.file].as_ref(), "each tensor in one part", &got)
    })?;
    Ok(Header { metadata, tensors, index })
}

#[cfg(test)]
mod tests {
    use super::PartName;

    #[test]
    fn names_of_parts_are_five_digits_of_five_digits() {
        let name = PartName::parse("sub/a-b-00002-of-00003.gguf").unwrap();
        assert_eq!(name, PartName { prefix: "sub/a-b", number: 2, count: 3 });
        assert_eq!(name.sibling(3), "sub/a-b-00003-of-00003.gguf");
        for other in ["m.gguf", "m-1-of-2.gguf", "m-00001-of-00002.bin", "m-+0001-of-00002.gguf", "00001-of-00002.gguf"] {
            assert_eq!(PartName::parse(other), None, "{other}");
        }
    }
}
