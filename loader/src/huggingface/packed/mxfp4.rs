//! MXFP4 as gpt-oss publishes it: floats of 4 bits, two neighbours a byte with the first in the low half, and an exponent for each 32
//! (OCP Microscaling Formats 1.0). They become ggml's blocks, which have the exponent in front.

use std::ops::Range;
use std::sync::Arc;

use super::part::Part;
use super::{RUN, push_nibbles};
use crate::{LoadError, Source};

/// Bytes of a block's codes.
pub(super) const BYTES: u64 = 16;

#[derive(Debug, Clone)]
pub(super) struct Mxfp4 {
    /// A block a row, rows of the matrix one after another.
    pub(super) codes: Part,
    /// An exponent for each block of a row.
    pub(super) exponents: Part,
}

impl Mxfp4 {
    /// Rows of the matrix in blocks.
    pub(super) async fn read_rows(&self, files: &[Arc<dyn Source>], rows: Range<u64>) -> Result<Vec<u8>, LoadError> {
        let blocks = self.exponents.cols;
        let bytes = self.codes.region(files, rows.start * blocks..rows.end * blocks, 0..BYTES).await?;
        let exponents = self.exponents.region(files, rows, 0..blocks).await?;
        let mut out = Vec::with_capacity(bytes.len() + exponents.len());
        for (exponent, bytes) in exponents.iter().zip(bytes.as_chunks::<{ BYTES as usize }>().0) {
            out.push(*exponent);
            let mut codes = [0; RUN];
            for (pair, byte) in codes.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
                *pair = [byte & 15, byte >> 4];
            }
            push_nibbles(&mut out, &codes);
        }
        Ok(out)
    }
}
