//! The tensor index.

use super::MAX_NAME;
use super::reader::{Place, Reader};
use crate::names::{NameIndex, reserve_gently};
use crate::{DType, LoadError, TensorInfo};

/// Dimensions that a tensor may have, by the format.
pub(super) const MAX_RANK: u32 = 4;

/// Reads `count` tensor records and checks that their data lie within the file, aligned and apart.
pub(super) async fn read_index(reader: &mut Reader<'_>, count: u64, alignment: u64) -> Result<(Vec<TensorInfo>, NameIndex), LoadError> {
    let mut tensors = Vec::new();
    for number in 0..count {
        let tensor = read_tensor(reader, number, alignment).await?;
        reserve_gently(&mut tensors, count - number);
        tensors.push(tensor);
    }
    let index = NameIndex::build(tensors.len(), |i| tensors[i].name.as_str()).map_err(|duplicate| {
        reader.place = Place::TensorField(tensors[duplicate].name.clone(), "name");
        reader.malformed("each tensor once", "the name a second time")
    })?;
    place_data(reader, &mut tensors, alignment)?;
    Ok((tensors, index))
}

/// Reads one record; its `offset` still counts from the start of the data section.
async fn read_tensor(reader: &mut Reader<'_>, number: u64, alignment: u64) -> Result<TensorInfo, LoadError> {
    reader.place = Place::Tensor(number);
    let name = reader.string(MAX_NAME).await?;
    if name.is_empty() {
        return Err(reader.malformed("a name", "an empty string"));
    }
    reader.place = Place::TensorField(name.clone(), "rank");
    let rank = reader.u32().await?;
    if !(1..=MAX_RANK).contains(&rank) {
        return Err(reader.malformed(format!("1 to {MAX_RANK} dimensions"), rank));
    }
    reader.place = Place::TensorField(name.clone(), "shape");
    let mut shape = Vec::with_capacity(rank as usize);
    for _ in 0..rank {
        shape.push(reader.u64().await?);
    }
    // The file lists the contiguous dimension first.
    shape.reverse();
    let elems = shape.iter().try_fold(1_u64, |product, &dim| product.checked_mul(dim));
    let elems = match elems {
        Some(elems) if elems > 0 => elems,
        _ => {
            return Err(reader.malformed("dimensions over 0 whose product fits 64 bits", format!("{shape:?}")));
        }
    };
    reader.place = Place::TensorField(name.clone(), "type");
    let kind = reader.u32().await?;
    let dtype = DType::from_ggml(kind).ok_or_else(|| LoadError::Unsupported {
        file: reader.file().to_owned(),
        found: format!("tensor type {kind} (of `{}`)", name.escape_debug()),
        advice: "use a conversion of the model in another format, such as Q8_0 or Q4_K".to_owned(),
    })?;
    reader.place = Place::TensorField(name.clone(), "shape");
    let row = shape.last().copied().unwrap_or(0);
    let len = dtype.bytes_for(row).and_then(|_| dtype.bytes_for(elems)).ok_or_else(|| {
        let expected = format!("rows of whole {dtype} blocks of {} whose bytes fit 64 bits", dtype.block_elems());
        reader.malformed(expected, format!("{shape:?}"))
    })?;
    reader.place = Place::TensorField(name.clone(), "offset");
    let offset = reader.u64().await?;
    if offset % alignment != 0 {
        return Err(reader.malformed(format!("a multiple of {alignment}"), offset));
    }
    Ok(TensorInfo { name, dtype, shape, file: 0, offset, len, packed: None })
}

/// Turns offsets into absolute ones and checks each range against the file's end and its neighbours.
fn place_data(reader: &mut Reader<'_>, tensors: &mut [TensorInfo], alignment: u64) -> Result<(), LoadError> {
    let file_len = reader.offset() + reader.remaining();
    let data_start = reader.offset().checked_next_multiple_of(alignment);
    for tensor in tensors.iter_mut() {
        let start = data_start.and_then(|base| base.checked_add(tensor.offset));
        let end = start.and_then(|start| start.checked_add(tensor.len));
        match (start, end) {
            (Some(start), Some(end)) if end <= file_len => tensor.offset = start,
            _ => {
                reader.place = Place::TensorField(tensor.name.clone(), "data");
                let got = format!("{} bytes at {} of the data section", tensor.len, tensor.offset);
                return Err(reader.malformed(format!("a range within the file's {file_len} bytes"), got));
            }
        }
    }
    let mut by_offset: Vec<u32> = (0..tensors.len() as u32).collect();
    by_offset.sort_unstable_by_key(|&i| tensors[i as usize].offset);
    for pair in by_offset.windows(2) {
        let (before, after) = (&tensors[pair[0] as usize], &tensors[pair[1] as usize]);
        if before.offset + before.len > after.offset {
            reader.place = Place::TensorField(after.name.clone(), "data");
            let got = format!("byte {}, inside `{}`", after.offset, before.name.escape_debug());
            return Err(reader.malformed("a start past the tensor before it", got));
        }
    }
    Ok(())
}
