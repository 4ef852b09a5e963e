//! Plain numbers: a plane of vectors and no scales.

use parhelion_loader::DType;

use super::{BLOCK, Block, BlockScales, Format, Info, Row, RowOut, Source};
use crate::ops::f16_to_f32;

const fn info(sources: &'static [Source], quant_bits: usize) -> Info {
    Info { sources, quant_bits, sections: &[], codebook: &[] }
}

const fn source(dtype: DType) -> Source {
    Source { dtype, scales: BlockScales::Plain }
}

/// A block's bytes in pieces of 16: piece v of every block in turn. The last block's columns past the row's end stay zero.
fn split(row: &[u8], vectors: usize, out: &mut RowOut<'_>) {
    for (i, piece) in row.chunks(16).enumerate() {
        let mut bytes = [0; 16];
        bytes[..piece.len()].copy_from_slice(piece);
        out.put_quants(i % vectors * out.blocks, i / vectors, &bytes);
    }
}

/// The elements of `BYTES` bytes of the vectors of a block.
#[inline(always)]
fn elements<const BYTES: usize>(row: &Row<'_>, block: usize, value: impl Fn([u8; BYTES]) -> f32) -> Block {
    let mut out = [0.0; BLOCK];
    for (v, out) in out.chunks_mut(16 / BYTES).enumerate() {
        let (elements, _) = row.quants::<16>(v * row.blocks, block).as_chunks::<BYTES>();
        for (out, &element) in out.iter_mut().zip(elements) {
            *out = value(element);
        }
    }
    out
}

pub(crate) struct F32;
impl Format for F32 {
    const INFO: Info = info(&[source(DType::F32)], 32);
    const SCALED: bool = false;

    fn repack(_: DType, row: &[u8], out: &mut RowOut<'_>) {
        split(row, 8, out);
    }

    #[inline(always)]
    fn values(row: &Row<'_>, block: usize) -> Block {
        elements(row, block, f32::from_le_bytes)
    }
}

pub(crate) struct F16;
impl Format for F16 {
    const INFO: Info = info(&[source(DType::F16)], 16);
    const SCALED: bool = false;

    fn repack(_: DType, row: &[u8], out: &mut RowOut<'_>) {
        split(row, 4, out);
    }

    #[inline(always)]
    fn values(row: &Row<'_>, block: usize) -> Block {
        elements(row, block, |bytes| f16_to_f32(u32::from(u16::from_le_bytes(bytes))))
    }
}

pub(crate) struct Bf16;
impl Format for Bf16 {
    const INFO: Info = info(&[source(DType::BF16)], 16);
    const SCALED: bool = false;

    fn repack(_: DType, row: &[u8], out: &mut RowOut<'_>) {
        split(row, 4, out);
    }

    #[inline(always)]
    fn values(row: &Row<'_>, block: usize) -> Block {
        elements(row, block, |bytes| f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16))
    }
}

/// The elements of a plain tensor as f32.
pub(crate) fn to_f32(dtype: DType, bytes: &[u8]) -> impl Iterator<Item = f32> + '_ {
    let size = dtype.block_bytes() as usize;
    bytes.chunks_exact(size.max(1)).map(move |b| match (dtype, b) {
        (DType::F16, &[lo, hi]) => half::f16::from_le_bytes([lo, hi]).to_f32(),
        (DType::BF16, &[lo, hi]) => half::bf16::from_le_bytes([lo, hi]).to_f32(),
        (_, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
        _ => 0.0,
    })
}
