//! bitsandbytes' NF4: codes of 16 values that a normal distribution is likely to take, and the largest magnitude of each block of
//! consecutive elements. With double quantisation these magnitudes are codes of 8 bits in turn (Dettmers et al. 2023, QLoRA).

use std::ops::Range;
use std::sync::Arc;

use super::part::Part;
use super::push_nibbles;
use crate::{LoadError, Source};

/// Columns of a block.
pub(super) const COLUMNS: u64 = 64;

/// The values of codes: the quantiles that the paper gives, as bitsandbytes stores them in f32.
pub const VALUES: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

#[derive(Debug, Clone)]
pub(super) struct Nf4 {
    /// Two codes a byte, the first in the high half; rows one after another.
    pub(super) codes: Part,
    /// The values of codes, which must be [`VALUES`].
    pub(super) values: Part,
    /// Elements that share a magnitude: a multiple of 64.
    pub(super) block: u64,
    pub(super) magnitudes: Magnitudes,
}

#[derive(Debug, Clone)]
pub(super) enum Magnitudes {
    /// F32.
    Plain(Part),
    /// `values[code] * scales[block / per_scale] + offset`.
    Nested { codes: Part, values: Part, scales: Part, per_scale: u64, offset: f32 },
}

impl Nf4 {
    /// Rows of a matrix of `cols` columns in blocks.
    pub(super) async fn read_rows(&self, files: &[Arc<dyn Source>], rows: Range<u64>, cols: u64) -> Result<Vec<u8>, LoadError> {
        let values = self.values.floats(files, 0..1, 0..16).await?;
        if values != VALUES {
            return Err(LoadError::Unsupported {
                file: self.values.name().to_owned(),
                found: "a 4-bit type with values of its own".to_owned(),
                advice: "use a conversion of the model in NF4 or another format".to_owned(),
            });
        }
        let elements = rows.start * cols..rows.end * cols;
        let bytes = self.codes.region(files, elements.start / 2..elements.end / 2, 0..1).await?;
        let first = elements.start / self.block;
        let magnitudes = self.magnitudes.read(files, first..elements.end.div_ceil(self.block)).await?;
        let mut out = Vec::with_capacity(bytes.len() / 32 * 36);
        for (at, bytes) in bytes.chunks_exact(COLUMNS as usize / 2).enumerate() {
            let element = elements.start + at as u64 * COLUMNS;
            out.extend(magnitudes[(element / self.block - first) as usize].to_le_bytes());
            let mut codes = [0; COLUMNS as usize];
            for (pair, byte) in codes.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
                *pair = [byte >> 4, byte & 15];
            }
            push_nibbles(&mut out, &codes);
        }
        Ok(out)
    }
}

impl Magnitudes {
    async fn read(&self, files: &[Arc<dyn Source>], blocks: Range<u64>) -> Result<Vec<f32>, LoadError> {
        match self {
            Self::Plain(part) => part.floats(files, 0..1, blocks).await,
            Self::Nested { codes, values, scales, per_scale, offset } => {
                let values = values.floats(files, 0..1, 0..256).await?;
                let first = blocks.start / per_scale;
                let scales = scales.floats(files, 0..1, first..blocks.end.div_ceil(*per_scale)).await?;
                let codes = codes.region(files, 0..1, blocks.clone()).await?;
                let scale = |block: u64| scales[(block / per_scale - first) as usize];
                Ok(blocks.zip(codes).map(|(block, code)| values[usize::from(code)] * scale(block) + offset).collect())
            }
        }
    }
}
