//! GGUF files of real models' shapes filled with random weights, made in memory: speed needs size, not sense. They are whole: a
//! byte-level tokenizer with merges of English words and a chat template make them answer, in nonsense. The same shape and format
//! give the same bytes everywhere.

use half::{bf16, f16};
use parhelion::{
    formats::{self, Source},
    loader::DType,
};

mod vocabulary;

/// A model's sizes.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// What `--shape` calls it.
    pub name: &'static str,
    /// Blocks.
    pub layers: u32,
    /// Elements of the residual stream.
    pub hidden: u32,
    /// Query heads.
    pub heads: u32,
    /// Key and value heads.
    pub kv_heads: u32,
    /// Elements of a head.
    pub head_dim: u32,
    /// Elements inside the feed-forward block.
    pub ffn: u32,
    /// Tokens, over 260: bytes, merges and three control tokens.
    pub vocab: u32,
    /// Whether the output head has a table of its own.
    pub untied: bool,
}

const fn shape(name: &'static str, [layers, hidden, heads, kv_heads, head_dim, ffn, vocab]: [u32; 7]) -> Shape {
    Shape { name, layers, hidden, heads, kv_heads, head_dim, ffn, vocab, untied: false }
}

/// The shapes of published models, and one whose file is about 3 MB in `Q8_0`, for tests of what happens to files.
pub const SHAPES: &[Shape] = &[
    shape("tiny", [6, 192, 6, 2, 32, 512, 1024]),
    shape("smollm2-135m", [30, 576, 9, 3, 64, 1536, 49_152]),
    shape("llama-1b", [16, 2048, 32, 8, 64, 8192, 128_256]),
    shape("llama-3b", [28, 3072, 24, 8, 128, 8192, 128_256]),
    shape("llama-8b", [32, 4096, 32, 8, 128, 14_336, 128_256]),
];

/// A format that weights are made in.
#[derive(Debug, Clone, Copy)]
pub struct Quant {
    /// The published type.
    pub dtype: DType,
    /// The standard deviation of random blocks whose scale is 1 and whose second scale is `second`.
    spread: f32,
    /// The second scale of types that have one, for a scale of 1: weights are then 0 on average.
    second: f32,
}

const fn quant(dtype: DType, spread: f32) -> Quant {
    Quant { dtype, spread, second: 0.0 }
}

/// Formats that can be made.
pub const QUANTS: &[Quant] = &[
    quant(DType::Q4_0, 4.6),
    quant(DType::Q8_0, 74.0),
    quant(DType::F16, 1.0),
    quant(DType::BF16, 1.0),
    Quant { dtype: DType::Q4_1, spread: 4.6, second: -7.5 },
    quant(DType::Q5_0, 9.2),
    Quant { dtype: DType::Q5_1, spread: 9.2, second: -15.5 },
    Quant { dtype: DType::Q2_K, spread: 13.9, second: 1.5 },
    quant(DType::Q3_K, 43.0),
    Quant { dtype: DType::Q4_K, spread: 259.0, second: 7.5 },
    Quant { dtype: DType::Q5_K, spread: 525.0, second: 15.5 },
    quant(DType::Q6_K, 1369.0),
    quant(DType::IQ4_NL, 67.0),
    quant(DType::IQ4_XS, 1243.0),
    quant(DType::MXFP4, 5.8),
    quant(DType::TQ2_0, 1.1),
    quant(DType::IQ2_XXS, 53.0),
    quant(DType::IQ2_XS, 56.0),
    quant(DType::IQ2_S, 56.0),
    quant(DType::IQ3_XXS, 142.0),
    quant(DType::IQ3_S, 141.0),
    quant(DType::IQ1_S, 7.2),
    quant(DType::IQ1_M, 7.2),
];

/// What tables are kept in, and matrices whose rows are no whole blocks of the format asked for.
const FALLBACK: Quant = quant(DType::Q8_0, 74.0);

impl Quant {
    fn source(&self) -> Option<&'static Source> {
        let format = formats::of(self.dtype)?;
        formats::info(format).sources.iter().find(|source| source.dtype == self.dtype)
    }
}

/// The names of all formats that can be made.
pub fn quant_names() -> String {
    QUANTS.iter().map(|quant| quant.dtype.name()).collect::<Vec<_>>().join(", ")
}

/// The shape and format of these names.
///
/// # Errors
/// If there is none, in words.
pub fn find(shape: &str, quant: &str) -> Result<(&'static Shape, &'static Quant), String> {
    let known = SHAPES.iter().find(|known| known.name == shape).zip(QUANTS.iter().find(|known| known.dtype.name() == quant));
    known.ok_or_else(|| format!("no synthetic model of shape `{shape}` in `{quant}`: shapes are in --help, formats are {}", quant_names()))
}

const ALIGNMENT: usize = 32;

struct Tensor {
    name: String,
    rows: u32,
    /// None for a vector of ones.
    cols: Option<u32>,
    quant: Quant,
}

/// A GGUF file of `shape`, its matrices in `quant` (the embedding in Q8_0 unless that is plain).
pub fn gguf(shape: &Shape, quant: &Quant) -> Vec<u8> {
    let tensors = tensors(shape, quant);
    let mut out = Writer::default();
    out.bytes(b"GGUF");
    out.u32(3);
    out.u64(tensors.len() as u64);
    metadata(&mut out, shape);
    let mut offset = 0;
    for tensor in &tensors {
        out.string(&tensor.name);
        match tensor.cols {
            Some(cols) => {
                out.u32(2);
                out.u64(u64::from(cols));
                out.u64(u64::from(tensor.rows));
            }
            None => {
                out.u32(1);
                out.u64(u64::from(tensor.rows));
            }
        }
        let dtype = if tensor.cols.is_some() { tensor.quant.dtype } else { DType::F32 };
        out.u32(dtype.ggml_id().unwrap_or_default());
        out.u64(offset as u64);
        offset += tensor.len().next_multiple_of(ALIGNMENT);
    }
    out.pad();
    out.0.reserve_exact(offset);
    let mut random = Random(1);
    for tensor in &tensors {
        tensor.fill(&mut out, &mut random);
        out.pad();
    }
    out.0
}

fn tensors(s: &Shape, quant: &Quant) -> Vec<Tensor> {
    let table = if quant.dtype.block_elems() == 1 { *quant } else { FALLBACK };
    let matrix = |name: String, rows, cols: u32| {
        let whole = u64::from(cols).is_multiple_of(quant.dtype.block_elems());
        Tensor { name, rows, cols: Some(cols), quant: if whole { *quant } else { FALLBACK } }
    };
    let vector = |name: String| Tensor { name, rows: s.hidden, cols: None, quant: *quant };
    let mut out =
        vec![Tensor { quant: table, ..matrix("token_embd.weight".into(), s.vocab, s.hidden) }, vector("output_norm.weight".into())];
    if s.untied {
        out.push(Tensor { quant: table, ..matrix("output.weight".into(), s.vocab, s.hidden) });
    }
    let (q, kv) = (s.heads * s.head_dim, s.kv_heads * s.head_dim);
    for i in 0..s.layers {
        let name = |part: &str| format!("blk.{i}.{part}.weight");
        out.extend([
            vector(name("attn_norm")),
            matrix(name("attn_q"), q, s.hidden),
            matrix(name("attn_k"), kv, s.hidden),
            matrix(name("attn_v"), kv, s.hidden),
            matrix(name("attn_output"), s.hidden, q),
            vector(name("ffn_norm")),
            matrix(name("ffn_gate"), s.ffn, s.hidden),
            matrix(name("ffn_up"), s.ffn, s.hidden),
            matrix(name("ffn_down"), s.hidden, s.ffn),
        ]);
    }
    out
}

impl Tensor {
    fn len(&self) -> usize {
        match self.cols {
            Some(cols) => {
                (u64::from(self.rows) * u64::from(cols) / self.quant.dtype.block_elems() * self.quant.dtype.block_bytes()) as usize
            }
            None => self.rows as usize * 4,
        }
    }

    /// Random weights of standard deviation about 1/sqrt(cols), as a trained model's are.
    fn fill(&self, out: &mut Writer, random: &mut Random) {
        let Some(cols) = self.cols else {
            (0..self.rows).for_each(|_| out.bytes(&1.0_f32.to_le_bytes()));
            return;
        };
        let Quant { dtype, spread, second } = self.quant;
        let scale = 1.0 / (cols as f32).sqrt() / spread;
        let scales = [scale, scale * second].map(|scale| f16::from_f32(scale).to_bits());
        let mut block = vec![0; dtype.block_bytes() as usize];
        for _ in 0..self.len() / block.len() {
            match dtype {
                DType::F16 => block.copy_from_slice(&f16::from_f32(random.uniform() * scale).to_le_bytes()),
                DType::BF16 => block.copy_from_slice(&bf16::from_f32(random.uniform() * scale).to_le_bytes()),
                _ => {
                    block.chunks_mut(2).for_each(|pair| pair.copy_from_slice(&random.next().to_le_bytes()[..pair.len()]));
                    let mut scales = scales.into_iter();
                    if let Some(source) = self.quant.source() {
                        source.map_scales(&mut block, |_| scales.next().unwrap_or_default());
                    }
                }
            }
            out.bytes(&block);
        }
    }
}

fn metadata(out: &mut Writer, s: &Shape) {
    let numbers = [
        ("context_length", 8192),
        ("embedding_length", s.hidden),
        ("block_count", s.layers),
        ("feed_forward_length", s.ffn),
        ("attention.head_count", s.heads),
        ("attention.head_count_kv", s.kv_heads),
        ("attention.key_length", s.head_dim),
        ("attention.value_length", s.head_dim),
        ("rope.dimension_count", s.head_dim),
    ];
    out.u64(numbers.len() as u64 + 3 + vocabulary::ENTRIES);
    out.text("general.architecture", "llama");
    out.text("general.name", &format!("synthetic {}", s.name));
    for (name, value) in numbers {
        out.number(&format!("llama.{name}"), value);
    }
    out.string("llama.rope.freq_base");
    out.u32(6);
    out.bytes(&500_000.0_f32.to_le_bytes());
    vocabulary::metadata(out, s.vocab);
}

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn u32(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.bytes(&value.to_le_bytes());
    }

    fn string(&mut self, text: &str) {
        self.u64(text.len() as u64);
        self.bytes(text.as_bytes());
    }

    fn text(&mut self, key: &str, value: &str) {
        self.string(key);
        self.u32(8);
        self.string(value);
    }

    fn number(&mut self, key: &str, value: u32) {
        self.string(key);
        self.u32(4);
        self.u32(value);
    }

    fn strings(&mut self, key: &str, values: &[String]) {
        self.string(key);
        self.u32(9);
        self.u32(8);
        self.u64(values.len() as u64);
        values.iter().for_each(|value| self.string(value));
    }

    /// An array of signed numbers.
    fn array(&mut self, key: &str, values: impl ExactSizeIterator<Item = u32>) {
        self.string(key);
        self.u32(9);
        self.u32(5);
        self.u64(values.len() as u64);
        values.for_each(|value| self.u32(value));
    }

    fn pad(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(ALIGNMENT), 0);
    }
}

/// A 64-bit linear congruential generator: only speed matters here.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) as u32
    }

    /// Of standard deviation 1.
    fn uniform(&mut self) -> f32 {
        (self.next() as f32 / u32::MAX as f32 - 0.5) * 3.464
    }
}
