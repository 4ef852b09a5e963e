//! What a quantised model's GGUF file holds: its entries, and where each tensor comes from.

use parhelion_loader::{Checkpoint, DType, Dialect, NewTensor, TensorInfo, Value};

use super::{Quant, QuantType};
use crate::{
    formats,
    graph::WeightKind,
    models::{self, GgufTensor, ModelError, Transform},
    session::sampling_entries,
};

/// A GGUF file to be.
#[derive(Debug)]
pub struct FilePlan {
    /// Metadata in the order of the file.
    pub entries: Vec<(String, Value)>,
    /// Tensors in the order of the file.
    pub tensors: Vec<PlannedTensor>,
}

/// A tensor of a GGUF file to be.
#[derive(Debug, Clone)]
pub struct PlannedTensor {
    /// Name, type and shape in the file.
    pub tensor: NewTensor,
    /// Where its data come from.
    pub content: Content,
}

/// Where the data of a tensor come from.
#[derive(Debug, Clone)]
pub enum Content {
    /// The rows of a published tensor, as they are but for their order.
    Copied(TensorInfo, Transform),
    /// A published vector of plain numbers, or filters, as f32: in another order, and with a number added to each element.
    Floats(TensorInfo, Transform, f32),
    /// The rows of a published tensor, quantised.
    Quantised(TensorInfo, Transform, QuantType),
    /// These bytes.
    Given(Vec<u8>),
}

impl PlannedTensor {
    /// The published tensor, where there is one.
    pub fn source(&self) -> Option<&TensorInfo> {
        match &self.content {
            Content::Copied(info, _) | Content::Floats(info, ..) | Content::Quantised(info, ..) => Some(info),
            Content::Given(_) => None,
        }
    }

    /// Bytes in the file; 0 for a shape of no whole blocks, which cannot be written.
    pub fn bytes(&self) -> u64 {
        let elems = self.tensor.shape.iter().try_fold(1_u64, |product, &dim| product.checked_mul(dim));
        elems.and_then(|elems| self.tensor.dtype.bytes_for(elems)).unwrap_or(0)
    }

    /// A tensor that becomes what `to` says, or is copied.
    fn new(tensor: GgufTensor, to: Option<QuantType>) -> Self {
        let GgufTensor { name, info, transform, shift, kind } = tensor;
        let floats = kind != WeightKind::Matrix && formats::is_plain(info.dtype);
        let (dtype, content) = match to {
            Some(to) => (to.dtype(), Content::Quantised(info.clone(), transform, to)),
            None if floats => (DType::F32, Content::Floats(info.clone(), transform, shift)),
            None => (info.dtype, Content::Copied(info.clone(), transform)),
        };
        Self { tensor: NewTensor { name, dtype, shape: info.shape }, content }
    }
}

/// Entries of a file that are not true of another one made of it: which part of a split model it is, and how it was made.
const DROPPED: &[&str] = &["split.", "quantize.", "general.alignment"];
const FILE_TYPE: &str = "general.file_type";
const VERSION: &str = "general.quantization_version";
/// ggml's version of the formats of blocks.
const CURRENT_VERSION: u32 = 2;

impl FilePlan {
    /// Plans the file that `checkpoint` becomes with `quant`. A GGUF file keeps its entries and names; a repository gets those
    /// that its family has in GGUF.
    ///
    /// # Errors
    /// [`ModelError`]: what has no form in GGUF.
    pub async fn new(checkpoint: &Checkpoint, quant: Quant) -> Result<Self, ModelError> {
        let mut plan = match checkpoint.dialect() {
            Dialect::Gguf => Self::of_gguf(checkpoint, quant),
            Dialect::HuggingFace => Self::of_repository(checkpoint, quant).await?,
        };
        plan.entries.push((FILE_TYPE.to_owned(), Value::U32(quant.target.file_type())));
        plan.entries.push((VERSION.to_owned(), Value::U32(CURRENT_VERSION)));
        Ok(plan)
    }

    fn of_gguf(checkpoint: &Checkpoint, quant: Quant) -> Self {
        let tied = checkpoint.find_tensor("output.weight").is_none();
        let tensors = checkpoint.tensors().map(|info| {
            let to = quant.type_of(&info.name, info.dtype, &info.shape, tied);
            let (name, info) = (info.name.clone(), info.clone());
            let kind = if info.shape.len() == 1 { WeightKind::Vector } else { WeightKind::Matrix };
            PlannedTensor::new(GgufTensor { name, info, transform: Transform::None, shift: 0.0, kind }, to)
        });
        let tensors = tensors.collect();
        let kept = |key: &str| key != FILE_TYPE && key != VERSION && !DROPPED.iter().any(|dropped| key.starts_with(dropped));
        let entries = checkpoint.metadata().iter().filter(|(key, _)| kept(key));
        Self { entries: entries.map(|(key, value)| (key.to_owned(), value.clone())).collect(), tensors }
    }

    async fn of_repository(checkpoint: &Checkpoint, quant: Quant) -> Result<Self, ModelError> {
        let model = models::in_gguf(checkpoint).await?;
        let mut tensors = Vec::with_capacity(model.tensors.len() + 1);
        for tensor in model.tensors {
            let GgufTensor { name, info, .. } = &tensor;
            // Types that repositories alone have must become another.
            let foreign = info.dtype.ggml_id().is_none();
            let quant = Quant { requantise: quant.requantise || foreign, ..quant };
            let to = quant.type_of(name, info.dtype, &info.shape, model.tied);
            if foreign && to.is_none() {
                let what = format!("GGUF has no type for `{}`, which is stored as {}", info.name, info.dtype);
                return Err(ModelError::NoGguf { file: checkpoint.name().to_owned(), what });
            }
            tensors.push(PlannedTensor::new(tensor, to));
        }
        for (name, factors) in model.rope_factors {
            let tensor = NewTensor { name: name.to_owned(), dtype: DType::F32, shape: vec![factors.len() as u64] };
            tensors.push(PlannedTensor { tensor, content: Content::Given(factors.iter().flat_map(|f| f.to_le_bytes()).collect()) });
        }
        let mut entries = model.entries;
        entries.extend(sampling_entries(checkpoint.metadata()));
        entries.extend(checkpoint.gguf_tokenizer(model.vocab).await?);
        Ok(Self { entries, tensors })
    }
}
