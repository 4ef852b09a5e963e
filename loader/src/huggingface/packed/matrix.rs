//! One quantised matrix from the tensors of its module, each checked against the others before anything is read.

use super::affine::{Affine, Codes, Zero};
use super::collect::Stored;
use super::float8::Float8;
use super::gathered::{self, Gathered};
use super::mxfp4::{self, Mxfp4};
use super::nf4::{Magnitudes, Nf4};
use super::part::{Grid, Part, is_float};
use super::scheme::Scheme;
use super::{Packed, RUN, Storage, float8, nf4};
use crate::huggingface::json::malformed;
use crate::metadata::Metadata;
use crate::{DType, LoadError};

/// Bytes of bitsandbytes' description of a tensor; published ones have some 200.
const MAX_STATE: u64 = 4096;
/// Types that words of codes are stored in.
const WORDS: [DType; 2] = [DType::I32, DType::U32];

impl Stored<'_> {
    /// The matrix of this module, none where the tensor that was taken for its first is none.
    pub(super) async fn matrix(&mut self, scheme: &Scheme, metadata: &Metadata, first: usize) -> Result<Option<Packed>, LoadError> {
        match *scheme {
            Scheme::Gptq { bits, group, ordered, plus } => self.gptq(bits, group, ordered, plus).await.map(Some),
            Scheme::Awq { group } => self.awq(group).map(Some),
            Scheme::Nf4 => self.nf4(first).await.map(Some),
            Scheme::Mlx { object } => self.mlx(object, metadata),
            Scheme::Pack { bits } => self.pack(bits).await.map(Some),
            Scheme::Int8 => self.int8(),
            Scheme::Float8 { tile } => self.float8(tile),
            Scheme::Mxfp4 => self.mxfp4(first).map(Some),
        }
    }

    /// A matrix of whole blocks whose bytes fit 64 bits.
    fn finish(&self, rows: u64, cols: u64, part: &Part, storage: Storage) -> Result<Packed, LoadError> {
        let packed = Packed { matrices: None, rows, cols, storage };
        let (dtype, columns) = (packed.dtype(), packed.dtype().block_elems());
        let elems = rows.checked_mul(cols).filter(|&elems| elems > 0 && cols.is_multiple_of(columns));
        match elems.and_then(|elems| dtype.bytes_for(elems)) {
            Some(_) => Ok(packed),
            None => Err(self.bad(part, format!("a matrix whose rows are whole blocks of {columns}; this one would have {rows} x {cols}"))),
        }
    }

    /// An affine matrix whose groups are of neighbouring columns, as many as scales say.
    fn affine(&self, rows: u64, cols: u64, groups: u64, group: Option<u64>, rest: (u32, Codes, Grid, Zero)) -> Result<Packed, LoadError> {
        let (bits, codes, scales, zero) = rest;
        let whole = cols.checked_div(groups).filter(|&size| size > 0 && size.checked_mul(groups) == Some(cols));
        let size = whole.filter(|size| size.is_multiple_of(RUN as u64) && group.is_none_or(|group| group == *size));
        let Some(group) = size else {
            let wanted = group.map_or_else(|| "a multiple of 32 columns".to_owned(), |group| format!("{group} columns, a multiple of 32,"));
            return Err(self.bad(&scales.part, format!("scales for groups of {wanted} of {cols}")));
        };
        let part = scales.part.clone();
        self.finish(rows, cols, &part, Storage::Affine(Affine { bits, group, codes, scales, zero }))
    }

    /// A part of words of `per_word` codes; the words' other side counted in codes.
    fn words(&mut self, suffix: &str) -> Result<Part, LoadError> {
        let part = self.part(suffix)?;
        if WORDS.contains(&part.dtype()) { Ok(part) } else { Err(self.bad(&part, "words of 32 bits")) }
    }

    fn floats(&mut self, suffix: &str) -> Result<Part, LoadError> {
        let part = self.part(suffix)?;
        if is_float(part.dtype()) { Ok(part) } else { Err(self.bad(&part, "F32, F16 or BF16")) }
    }

    /// `count` words' codes.
    fn codes(&self, part: &Part, count: u64, per_word: u64) -> Result<u64, LoadError> {
        count.checked_mul(per_word).ok_or_else(|| self.bad(part, "a size that fits 64 bits"))
    }

    /// A list of the group of each of `cols` columns, none where these are `groups` groups of neighbours.
    async fn order(&mut self, suffix: &str, cols: u64, groups: u64) -> Result<Option<Part>, LoadError> {
        if groups <= 1 || self.peek(suffix).is_none() {
            self.leave_out(&[suffix]);
            return Ok(None);
        }
        let order = self.words(suffix)?;
        self.check(&order, 1, cols, "a group for each column:")?;
        let even = gathered::is_in_order(&order, self.files, cols / groups, groups).await? && cols.is_multiple_of(groups);
        Ok((!even).then_some(order))
    }

    async fn gptq(&mut self, bits: u32, group: Option<u64>, ordered: bool, plus: u32) -> Result<Packed, LoadError> {
        let (codes, scales, zeros) = (self.words("qweight")?, self.floats("scales")?, self.words("qzeros")?);
        let (rows, words) = (codes.cols, self.codes(&codes, codes.rows, 32)?);
        if !words.is_multiple_of(bits.into()) {
            return Err(self.bad(&codes, format!("words that hold whole codes of {bits} bits, so many rows times")));
        }
        let cols = words / u64::from(bits);
        self.check(&scales, scales.rows, rows, "for each group and row")?;
        self.check(&zeros, scales.rows, self.codes(&codes, rows, bits.into())?.div_ceil(32), "words for each group:")?;
        let order = if ordered { self.order("g_idx", cols, scales.rows).await? } else { None };
        self.leave_out(&["g_idx"]);
        let (groups, scales) = (scales.rows, Grid { part: scales, transposed: true });
        let (codes, zero) = (Codes::Across(codes), Zero::Across { part: zeros, plus });
        match order {
            Some(order) => self.gathered(rows, cols, Gathered { bits, codes, scales, zero, order, groups }),
            None => self.affine(rows, cols, groups, group, (bits, codes, scales, zero)),
        }
    }

    /// A matrix of values, one a column and row.
    fn gathered(&self, rows: u64, cols: u64, gathered: Gathered) -> Result<Packed, LoadError> {
        let part = gathered.scales.part.clone();
        self.finish(rows, cols, &part, Storage::Gathered(gathered))
    }

    fn awq(&mut self, group: Option<u64>) -> Result<Packed, LoadError> {
        let (codes, scales, zeros) = (self.words("qweight")?, self.floats("scales")?, self.words("qzeros")?);
        let (rows, cols) = (self.codes(&codes, codes.cols, 8)?, codes.rows);
        self.check(&scales, scales.rows, rows, "for each group and row")?;
        self.check(&zeros, scales.rows, codes.cols, "words for each group:")?;
        let (groups, scales) = (scales.rows, Grid { part: scales, transposed: true });
        self.affine(rows, cols, groups, group, (4, Codes::Awq(codes), scales, Zero::Awq(zeros)))
    }

    /// MLX gives modules that differ an object of their own under their name.
    fn mlx(&mut self, object: &str, metadata: &Metadata) -> Result<Option<Packed>, LoadError> {
        if self.peek("weight").is_none_or(|weight| weight.dtype != DType::U32) {
            return Ok(None);
        }
        let (own, common) = (format!("{object}.{}.bits", self.module), format!("{object}.bits"));
        let bits = metadata.u32(if metadata.contains(&own) { &own } else { &common })?;
        if bits != 4 && bits != 8 {
            let found = format!("`{}` in {bits} bits of MLX's", self.module);
            let advice = "use a conversion of the model in 4 or 8 bits".to_owned();
            return Err(LoadError::Unsupported { file: metadata.file().to_owned(), found, advice });
        }
        let (codes, scales, biases) = (self.words("weight")?, self.floats("scales")?, self.floats("biases")?);
        let (rows, cols) = (codes.rows, self.codes(&codes, codes.cols, u64::from(32 / bits))?);
        self.check(&scales, rows, scales.cols, "for each row and group")?;
        self.check(&biases, rows, scales.cols, "as many as scales:")?;
        let (groups, grid) = (scales.cols, |part| Grid { part, transposed: false });
        self.affine(rows, cols, groups, None, (bits, Codes::Along(codes), grid(scales), Zero::Bias(grid(biases)))).map(Some)
    }

    async fn pack(&mut self, bits: u32) -> Result<Packed, LoadError> {
        let per_word = u64::from(32 / bits);
        let (codes, scales) = (self.words("weight_packed")?, self.floats("weight_scale")?);
        self.leave_out(&["weight_shape", "input_scale", "output_scale", "k_scale", "v_scale"]);
        let (rows, cols) = (codes.rows, self.codes(&codes, codes.cols, per_word)?);
        self.check(&scales, rows, scales.cols, "for each row and group")?;
        let zero = match self.peek("weight_zero_point").is_some() {
            true => {
                let zeros = self.words("weight_zero_point")?;
                self.check(&zeros, rows.div_ceil(per_word), scales.cols, "words for each group:")?;
                Zero::Down(zeros)
            }
            false => Zero::Constant((1 << (bits - 1)) as f32),
        };
        let order = self.order("weight_g_idx", cols, scales.cols).await?;
        let (groups, scales, codes) = (scales.cols, Grid { part: scales, transposed: false }, Codes::Along(codes));
        match order {
            Some(order) => self.gathered(rows, cols, Gathered { bits, codes, scales, zero, order, groups }),
            None => self.affine(rows, cols, groups, None, (bits, codes, scales, zero)),
        }
    }

    fn int8(&mut self) -> Result<Option<Packed>, LoadError> {
        if self.peek("weight").is_none_or(|weight| weight.dtype != DType::I8) {
            return Ok(None);
        }
        let (codes, scales) = (self.part("weight")?, self.floats("weight_scale")?);
        if self.peek("weight_zero_point").is_some() {
            return Err(self.bad(&scales, "symmetric quantisation, without zero points, for scales of"));
        }
        self.leave_out(&["input_scale", "output_scale", "k_scale", "v_scale"]);
        self.check(&scales, codes.rows, scales.cols, "for each row and group")?;
        let (rows, cols, groups) = (codes.rows, codes.cols, scales.cols);
        let scales = Grid { part: scales, transposed: false };
        self.affine(rows, cols, groups, None, (8, Codes::Signed(codes), scales, Zero::Constant(128.0))).map(Some)
    }

    fn float8(&mut self, tile: Option<(u64, u64)>) -> Result<Option<Packed>, LoadError> {
        let dtype = match self.peek("weight").map(|weight| weight.dtype) {
            Some(DType::F8_E4M3) => DType::SCALED_F8_E4M3,
            Some(DType::F8_E5M2) => DType::SCALED_F8_E5M2,
            _ => return Ok(None),
        };
        let floats = self.part("weight")?;
        let inverse = self.peek("weight_scale_inv").is_some();
        let scales = self.floats(if inverse { "weight_scale_inv" } else { "weight_scale" })?;
        self.leave_out(&["input_scale", "output_scale", "k_scale", "v_scale", "input_scale_ub"]);
        let (rows, cols) = (floats.rows, floats.cols);
        let count = scales.rows.saturating_mul(scales.cols);
        let tiles = |(height, width): (u64, u64)| (rows.div_ceil(height), cols.div_ceil(width));
        let (tile_rows, tile_cols) = match tile {
            _ if count == 1 => (rows.max(1), cols.max(1)),
            _ if count == rows => (1, cols.max(1)),
            Some(tile) if tiles(tile) == (scales.rows, scales.cols) && tile.1.is_multiple_of(float8::COLUMNS) => tile,
            _ => return Err(self.bad(&scales, format!("one scale, one for each of {rows} rows, or one for each tile of {tile:?}"))),
        };
        let storage = Storage::Float8(Float8 { dtype, floats: floats.clone(), scales, tile_rows, tile_cols });
        self.finish(rows, cols, &floats, storage).map(Some)
    }

    /// Matrices of all experts one after another, `[experts, rows, cols / 32, 16]` bytes and `[experts, rows, cols / 32]` exponents.
    fn mxfp4(&mut self, first: usize) -> Result<Packed, LoadError> {
        let shape = self.tensors[first].shape.clone();
        let (codes, exponents) = (self.part("blocks")?, self.part("scales")?);
        let &[experts, rows, blocks, mxfp4::BYTES] = shape.as_slice() else {
            return Err(self.bad(&codes, "blocks of 16 bytes of each row of each expert, in place of"));
        };
        for part in [&codes, &exponents] {
            if part.dtype() != DType::U8 {
                return Err(self.bad(part, "bytes"));
            }
        }
        let all = experts.checked_mul(rows).filter(|&all| all > 0).ok_or_else(|| self.bad(&codes, "experts with rows"))?;
        self.check(&exponents, all, blocks, "an exponent for each block:")?;
        let cols = self.codes(&codes, blocks, RUN as u64)?;
        let packed = self.finish(all, cols, &codes, Storage::Mxfp4(Mxfp4 { codes: codes.clone(), exponents }))?;
        Ok(Packed { matrices: Some(experts), ..packed })
    }

    /// bitsandbytes describes each tensor by JSON in a tensor of bytes.
    async fn nf4(&mut self, state: usize) -> Result<Packed, LoadError> {
        let info = &self.tensors[state];
        let place = format!("tensor `{}`", info.name.escape_debug());
        let file = &self.files[info.file];
        if info.len > MAX_STATE {
            return Err(malformed(file.name(), &place, format!("at most {MAX_STATE} bytes"), info.len));
        }
        let bytes = file.read(info.offset, info.len as usize).await?;
        let state: State =
            serde_json::from_slice(&bytes).map_err(|error| malformed(file.name(), &place, "bitsandbytes' description", error))?;
        let &[rows, cols] = state.shape.as_slice() else {
            return Err(malformed(file.name(), &place, "the shape of a matrix", format!("{:?}", state.shape)));
        };
        self.leave_out(&["weight.quant_state.bitsandbytes__nf4"]);
        let (codes, values) = (self.part("weight")?, self.part("weight.quant_map")?);
        let elems = rows.checked_mul(cols).filter(|&elems| elems > 0);
        let count = |part: &Part| part.rows.saturating_mul(part.cols);
        if codes.dtype() != DType::U8 || codes.cols != 1 || Some(codes.rows) != elems.map(|elems| elems / 2) {
            return Err(self.bad(&codes, format!("a byte for each two of {rows} x {cols} elements")));
        }
        if values.dtype() != DType::F32 || count(&values) != 16 {
            return Err(self.bad(&values, "16 values in F32"));
        }
        let blocks = elems.unwrap_or(0).div_ceil(state.blocksize.max(1));
        let magnitudes = self.magnitudes(&state, blocks)?;
        if state.blocksize == 0 || !state.blocksize.is_multiple_of(nf4::COLUMNS) {
            return Err(self.bad(&codes, format!("blocks of a multiple of {} elements, not {}", nf4::COLUMNS, state.blocksize)));
        }
        let storage = Storage::Nf4(Nf4 { codes: codes.clone(), values, block: state.blocksize, magnitudes });
        self.finish(rows, cols, &codes, storage)
    }

    fn magnitudes(&mut self, state: &State, blocks: u64) -> Result<Magnitudes, LoadError> {
        let codes = self.part("weight.absmax")?;
        let nested = self.peek("weight.nested_absmax").is_some();
        let dtype = if nested { DType::U8 } else { DType::F32 };
        let count = |part: &Part| part.rows.saturating_mul(part.cols);
        if codes.dtype() != dtype || count(&codes) != blocks {
            return Err(self.bad(&codes, format!("{dtype} for each of {blocks} blocks")));
        }
        if !nested {
            return Ok(Magnitudes::Plain(codes));
        }
        let (scales, values) = (self.part("weight.nested_absmax")?, self.part("weight.nested_quant_map")?);
        let per_scale = state.nested_blocksize.filter(|&size| size > 0).unwrap_or(256);
        let scale_count = blocks.div_ceil(per_scale);
        for (part, expected) in [(&scales, scale_count), (&values, 256)] {
            if part.dtype() != DType::F32 || count(part) != expected {
                return Err(self.bad(part, format!("{expected} values in F32")));
            }
        }
        Ok(Magnitudes::Nested { codes, values, scales, per_scale, offset: state.nested_offset.unwrap_or(0.0) })
    }
}

/// bitsandbytes' `quant_state`.
#[derive(serde::Deserialize)]
struct State {
    shape: Vec<u64>,
    blocksize: u64,
    nested_blocksize: Option<u64>,
    nested_offset: Option<f32>,
}
