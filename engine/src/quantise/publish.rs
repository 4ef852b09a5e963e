//! Rows of planes as published blocks: what loading does to them, undone.

use super::QuantType;
use crate::formats::{
    Row,
    k::k_pair,
    pack::{add_bits, nibbles},
};

/// Appends a row of planes of a type as it is published.
pub(super) fn publish(kind: QuantType, row: &Row<'_>, out: &mut Vec<u8>) {
    match kind {
        QuantType::Q8_0 => (0..row.blocks).for_each(|b| {
            out.extend_from_slice(row.entry::<2>(0, b));
            (0..2).for_each(|v| out.extend_from_slice(row.quants::<16>(v * row.blocks, b)));
        }),
        QuantType::Q4_0 => (0..row.blocks).for_each(|b| {
            out.extend_from_slice(row.entry::<2>(0, b));
            out.extend_from_slice(row.quants::<16>(0, b));
        }),
        QuantType::Q5_0 => (0..row.blocks).for_each(|b| {
            out.extend_from_slice(row.entry::<2>(1, b));
            let mut upper = [0; 32];
            add_bits(&mut upper, row.entry(0, b), 0);
            let bits = upper.iter().enumerate().fold(0_u32, |bits, (i, &bit)| bits | u32::from(bit) << i);
            out.extend_from_slice(&bits.to_le_bytes());
            out.extend_from_slice(row.quants::<16>(0, b));
        }),
        QuantType::Q4_K => (0..row.blocks / 8).for_each(|i| q4_k(row, i, out)),
    }
}

/// A block of 256: d, dmin, 12 bytes of scales and minima, and two blocks of 32 in each 32 bytes.
fn q4_k(row: &Row<'_>, i: usize, out: &mut Vec<u8>) {
    let entry: &[u8; 16] = row.entry(0, i);
    out.extend_from_slice(&entry[..4]);
    let mut packed = [0; 12];
    for b in 0..4 {
        let ([scale, minimum], [upper_scale, upper_minimum]) = (k_pair(entry, b), k_pair(entry, b + 4));
        packed[b] = scale | upper_scale >> 4 << 6;
        packed[b + 4] = minimum | upper_minimum >> 4 << 6;
        packed[b + 8] = upper_scale & 15 | upper_minimum << 4;
    }
    out.extend_from_slice(&packed);
    for pair in 0..4 {
        let [low, high] = [0, 1].map(|half| nibbles(row.quants(0, 8 * i + 2 * pair + half)));
        out.extend(low.iter().zip(high).map(|(low, high)| low | high << 4));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{doctor::Rng, formats};

    #[test]
    fn what_was_repacked_is_published_as_it_was() {
        let (rows, blocks) = (3, 16);
        for &kind in QuantType::ALL {
            let dtype = kind.dtype();
            let row_bytes = (dtype.bytes_for(32 * blocks as u64).unwrap()) as usize;
            let mut rng = Rng::new(7);
            let bytes: Vec<u8> = (0..rows * row_bytes).map(|_| rng.word() as u8).collect();
            let (mut quants, mut scales) = (Vec::new(), Vec::new());
            formats::repack(kind.format(), dtype, blocks, bytes.chunks(row_bytes), &mut quants, Some(&mut scales));
            let (quants, scales) = (bytemuck::pod_collect_to_vec(&quants), bytemuck::pod_collect_to_vec(&scales));
            let planes = formats::Rows::new(formats::info(kind.format()), rows as u32, blocks as u32, &quants, &scales).unwrap();
            let mut out = Vec::new();
            (0..rows).for_each(|row| publish(kind, &planes.row(row), &mut out));
            assert!(out == bytes, "{dtype}");
        }
    }
}
