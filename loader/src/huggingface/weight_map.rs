//! `model.safetensors.index.json`: which shard each tensor is in.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::json;
use crate::metadata::Strings;
use crate::{LoadError, Source};

/// Bytes of an index: as many as a shard's header may have.
const MAX_INDEX: u64 = super::safetensors::MAX_HEADER;
/// Files that a model may be in; the largest published ones are in a few hundred.
const MAX_SHARDS: usize = 4096;

/// The index, with each shard's name once.
#[derive(Default)]
pub(super) struct WeightMap {
    pub(super) names: Strings,
    /// For each name the number of its shard.
    pub(super) shards: Vec<u32>,
    /// Paths by number.
    pub(super) paths: Vec<String>,
}

/// Reads an index. Its `metadata`, such as a total size, is left alone: published ones are often wrong.
pub(super) async fn read(source: &dyn Source) -> Result<WeightMap, LoadError> {
    const PLACE: &str = "index of shards";
    let bytes = json::read_whole(source, MAX_INDEX).await?;
    let map = json::parse(source.name(), PLACE, &bytes, Index)?;
    map.filter(|map| !map.paths.is_empty()).ok_or_else(|| json::malformed(source.name(), PLACE, "`weight_map` with a tensor", "none"))
}

struct Index;

impl<'de> DeserializeSeed<'de> for Index {
    type Value = Option<WeightMap>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Index {
    type Value = Option<WeightMap>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `weight_map`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<String>()? {
            if key != "weight_map" {
                map.next_value::<IgnoredAny>()?;
            } else if found.replace(map.next_value::<WeightMap>()?).is_some() {
                return Err(A::Error::duplicate_field("weight_map"));
            }
        }
        Ok(found)
    }
}

impl<'de> Deserialize<'de> for WeightMap {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_map(Files)
    }
}

struct Files;

impl<'de> Visitor<'de> for Files {
    type Value = WeightMap;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of file names")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WeightMap, A::Error> {
        let mut index = WeightMap::default();
        let mut numbers: BTreeMap<String, u32> = BTreeMap::new();
        while let Some((name, path)) = map.next_entry::<String, String>()? {
            let number = match numbers.get(&path) {
                Some(&number) => number,
                None if numbers.len() == MAX_SHARDS => return Err(A::Error::custom(format!("over {MAX_SHARDS} files"))),
                None if !crate::is_inside(&path) => {
                    let path: String = path.chars().take(100).collect();
                    return Err(A::Error::custom(format!("the path {path:?}, which is not one inside the repository")));
                }
                None => {
                    let number = numbers.len() as u32;
                    numbers.insert(path.clone(), number);
                    index.paths.push(path);
                    number
                }
            };
            index.shards.push(number);
            if !index.names.push(&name) {
                return Err(A::Error::custom("over 4 GiB of names"));
            }
        }
        Ok(index)
    }
}
