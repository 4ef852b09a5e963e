//! Encoders: every tiny checkpoint of one (`fixtures/families/make.py`) against the states that the transformers library computes
//! from it, pooled in every way, alone and with other texts in the step; and all-MiniLM-L6-v2 against numpy.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::{fs, path::PathBuf, sync::Arc};

use parhelion::{
    exec::Executor,
    loader::{Checkpoint, MemoryRepository, MemorySource},
    session::{EngineError, GenerateOptions, Session, SessionOptions},
};
use parhelion_cli::host::{Device, Driver, SwitchChoice};
use parhelion_shaders::axes::Kv;
use parhelion_tests::{
    fixtures::minilm,
    models::{Config, gpu, load, rows, scalar, tokenizer_json},
};
use pollster::block_on;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::Deserialize;

/// The checkpoints that are encoders.
const ENCODERS: &[&str] = &["bert", "nomic_bert", "gemma3_embedding"];
const VOCABULARY: usize = 64;

struct Fixture {
    folder: PathBuf,
    name: &'static str,
    tokens: Vec<u32>,
    /// The states of every token.
    hidden: Vec<Vec<f32>>,
    /// Their mean.
    pooled: Vec<f32>,
}

fn fixture_folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/families").join(name)
}

fn fixture(name: &'static str) -> Fixture {
    let folder = fixture_folder(name);
    let bytes = fs::read(folder.join("expected.safetensors")).unwrap();
    let expected = SafeTensors::deserialize(&bytes).unwrap();
    let words = |name: &str| {
        let data = expected.tensor(name).unwrap().data();
        data.chunks_exact(4).map(|b| [b[0], b[1], b[2], b[3]]).collect::<Vec<_>>()
    };
    let floats = |name: &str| words(name).into_iter().map(f32::from_le_bytes).collect::<Vec<_>>();
    let tokens: Vec<u32> = words("tokens").into_iter().map(u32::from_le_bytes).collect();
    let hidden = floats("hidden");
    let hidden = hidden.chunks_exact(hidden.len() / tokens.len()).map(<[f32]>::to_vec).collect();
    Fixture { pooled: floats("pooled"), folder, name, tokens, hidden }
}

impl Fixture {
    fn file(&self, name: &str) -> Vec<u8> {
        fs::read(self.folder.join(name)).unwrap()
    }

    /// The repository, with a pooling of this name.
    fn repository(&self, pooling: &str, normalise: bool) -> Checkpoint {
        open(self.files(pooling, if normalise { &["Normalize"] } else { &[] }))
    }

    /// Its files, with the modules that follow the pooling.
    fn files(&self, pooling: &str, further: &[&str]) -> MemoryRepository {
        let module = |number: u32, path: &str, kind: &str| {
            format!(r#"{{"idx": {number}, "name": "{number}", "path": "{path}", "type": "sentence_transformers.models.{kind}"}}"#)
        };
        let mut modules = vec![module(0, "", "Transformer"), module(1, "1_Pooling", "Pooling")];
        modules.extend((2..).zip(further).map(|(number, kind)| module(number, &format!("{number}_{kind}"), kind)));
        MemoryRepository::new(self.name)
            .with("config.json", self.file("config.json"))
            .with("model.safetensors", self.file("model.safetensors"))
            .with("tokenizer.json", tokenizer_json(VOCABULARY))
            .with("modules.json", format!("[{}]", modules.join(",")))
            .with("1_Pooling/config.json", format!(r#"{{"{pooling}": true}}"#))
    }

    fn gguf(&self) -> Checkpoint {
        let name = format!("{}.gguf", self.name);
        block_on(Checkpoint::open(Arc::new(MemorySource::new(&name, self.file(&name))))).unwrap()
    }

    /// Checkpoints, and the vector of all tokens that each is to give.
    fn published(&self) -> Vec<(&'static str, Checkpoint, Vec<f32>)> {
        let first = self.hidden.first().unwrap().clone();
        let last = self.hidden.last().unwrap().clone();
        vec![
            ("repository, mean", self.repository("pooling_mode_mean_tokens", false), self.pooled.clone()),
            ("repository, first token", self.repository("pooling_mode_cls_token", true), normalised(&first)),
            ("repository, last token", self.repository("pooling_mode_lasttoken", false), last),
            ("GGUF, mean", self.gguf(), normalised(&self.pooled)),
        ]
    }
}

fn open(repository: MemoryRepository) -> Checkpoint {
    block_on(Checkpoint::open_repository(&repository)).unwrap()
}

fn normalised(vector: &[f32]) -> Vec<f32> {
    let length = vector.iter().map(|v| v * v).sum::<f32>().sqrt();
    vector.iter().map(|v| v / length).collect()
}

/// The largest difference, relative to the largest of what is expected.
fn difference(got: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(got.len(), expected.len());
    assert!(got.iter().all(|v| v.is_finite()));
    let largest = expected.iter().fold(0.0_f32, |most, v| most.max(v.abs()));
    got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / largest
}

/// Kernels by which a model may run, and how close they come: as with the logits of other families, of which these are a part.
fn modes() -> [(&'static str, SessionOptions, f32); 3] {
    let options = |reproducible, kv| SessionOptions { reproducible, kv, ..SessionOptions::default() };
    [
        ("reproducible", options(true, None), 1e-4),
        ("default with an f32 cache", options(false, Some(Kv::F32)), 1e-4),
        ("default", options(false, None), 5e-3),
    ]
}

/// All tokens alone and among other texts, short ones and long ones, in steps of many and of few of them.
fn check(config: &Config) {
    let Device { executor, driver, .. } = Device::open(&config.request).unwrap();
    let mut executor: Option<Box<dyn Executor>> = Some(executor);
    for fixture in ENCODERS.iter().map(|name| fixture(name)) {
        for (published, checkpoint, expected) in fixture.published() {
            for (mode, options, bound) in modes() {
                let what = format!("{}, {}, {published}, {mode}", config.name, fixture.name);
                let mut session = load(checkpoint.clone(), executor.take().unwrap(), &driver, options);
                let all = fixture.tokens.clone();
                let parts = [&all[..1], &all[..9], &all[20..], &all[3..4]].map(<[u32]>::to_vec);
                let texts = [vec![all.clone()], parts.to_vec(), vec![all.clone(); 40]].concat();
                let vectors = embed(&mut session, &driver, &texts);
                assert_eq!(vectors.len(), texts.len());
                for vector in vectors.iter().enumerate().filter(|(i, _)| texts[*i] == all).map(|(_, vector)| vector) {
                    let worst = difference(vector, &expected);
                    assert!(worst <= bound, "{what}: {worst:.1e}, at most {bound:.0e}");
                }
                println!("{what}: {:.1e}", difference(&vectors[0], &expected));
                for (part, vector) in parts.iter().zip(&vectors[1..]) {
                    let alone = embed(&mut session, &driver, std::slice::from_ref(part)).remove(0);
                    let worst = difference(vector, &alone);
                    assert!(worst <= bound, "{what}: {} tokens are {worst:.1e} off in a batch", part.len());
                }
                executor = Some(session.unload());
            }
        }
    }
}

fn embed(session: &mut Session, driver: &Driver, texts: &[Vec<u32>]) -> Vec<Vec<f32>> {
    driver.block_on(session.embed_tokens(texts)).unwrap()
}

#[test]
fn embeddings_are_the_reference_s_on_the_scalar_path() {
    check(&scalar());
}

#[test]
fn embeddings_are_the_reference_s_at_the_floor() {
    gpu(SwitchChoice::Floor).iter().for_each(check);
}

#[test]
fn embeddings_are_the_reference_s_with_subgroups_and_f16() {
    gpu(SwitchChoice::F16).iter().for_each(check);
}

#[test]
fn what_cannot_be_embedded_is_said() {
    let Device { executor, driver, .. } = Device::open(&scalar().request).unwrap();
    let bert = fixture("bert");
    let options = SessionOptions { context: Some(50), ..SessionOptions::default() };
    let mut session = load(bert.gguf(), executor, &driver, options);
    let mut refusal = |texts: &[Vec<u32>]| driver.block_on(session.embed_tokens(texts)).unwrap_err();
    assert!(matches!(refusal(&[vec![1], Vec::new()]), EngineError::EmptyText { index: 1 }));
    let long = refusal(&[vec![1], vec![1], vec![2; 51]]);
    assert!(matches!(long, EngineError::TextTooLong { index: 2, tokens: 51, context: 50 }), "{long}");
    assert!(matches!(refusal(&[vec![64]]), EngineError::UnknownToken { token: 64, vocab: 64 }));
    assert_eq!(embed(&mut session, &driver, &[]).len(), 0);
    assert_eq!(embed(&mut session, &driver, &[vec![2; 50]]).len(), 1, "errors leave no sequences open");
    let unknown = session.embedding_tokens("x", Some("query")).unwrap_err().to_string();
    assert!(unknown.contains("`query`: it has none"), "{unknown}");

    let sequence = session.open_sequence().unwrap();
    let logits = driver.block_on(session.forward(&rows(sequence, &[1, 2]), &[1])).unwrap_err();
    assert!(matches!(logits, EngineError::WritesNothing { .. }) && logits.to_string().contains("embed"), "{logits}");
    let answer = driver.block_on(session.generate(sequence, &[1, 2], GenerateOptions::default())).err().unwrap();
    assert!(matches!(answer, EngineError::WritesNothing { .. }));
}

/// A dense layer after the pooling, as a module of the repository: its weights are in a file of its own.
#[test]
fn dense_layers_follow_the_pooling() {
    let bert = fixture("bert");
    let (rows, cols) = (20, bert.pooled.len());
    let values = |len: usize| (0..len).map(|i| ((i * 37 + 11) % 64) as f32 / 32.0 - 1.0).collect::<Vec<f32>>();
    let (weight, bias) = (values(rows * cols), values(rows));
    let [weight_bytes, bias_bytes] = [&weight, &bias].map(|v| v.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>());
    let tensor = |shape: Vec<usize>, bytes| TensorView::new(Dtype::F32, shape, bytes).unwrap();
    let tensors = [("linear.weight", tensor(vec![rows, cols], &weight_bytes)), ("linear.bias", tensor(vec![rows], &bias_bytes))];
    let repository = bert
        .files("pooling_mode_mean_tokens", &["Dense", "Normalize"])
        .with("2_Dense/config.json", format!(r#"{{"in_features": {cols}, "out_features": {rows}, "bias": true}}"#))
        .with("2_Dense/model.safetensors", safetensors::serialize(tensors, None).unwrap());
    let multiplied = weight.chunks_exact(cols).map(|row| row.iter().zip(&bert.pooled).map(|(w, x)| w * x).sum::<f32>());
    let expected = normalised(&multiplied.zip(&bias).map(|(sum, bias)| sum + bias).collect::<Vec<_>>());
    let Device { executor, driver, .. } = Device::open(&scalar().request).unwrap();
    let options = SessionOptions { reproducible: true, ..SessionOptions::default() };
    let mut session = load(open(repository), executor, &driver, options);
    let vector = embed(&mut session, &driver, std::slice::from_ref(&bert.tokens)).remove(0);
    let worst = difference(&vector, &expected);
    assert!(worst <= 1e-4, "{worst:.1e}");
}

/// A decoder whose repository says how its states are pooled makes vectors and no text.
#[test]
fn decoders_with_a_pooling_embed() {
    let qwen = fixture_folder("qwen3");
    let files = Fixture { folder: qwen, name: "qwen3", tokens: Vec::new(), hidden: Vec::new(), pooled: Vec::new() };
    let Device { executor, driver, .. } = Device::open(&scalar().request).unwrap();
    let options = SessionOptions { reproducible: true, ..SessionOptions::default() };
    let mut session = load(files.repository("pooling_mode_lasttoken", true), executor, &driver, options);
    let texts: Vec<Vec<u32>> = [3, 30, 1].map(|len| (0..len).map(|i| (i * 7 + 2) % 60).collect()).to_vec();
    let together = embed(&mut session, &driver, &texts);
    for (text, vector) in texts.iter().zip(&together) {
        let alone = embed(&mut session, &driver, std::slice::from_ref(text)).remove(0);
        assert!(difference(vector, &alone) <= 1e-4);
    }
    assert!(cosine(&together[0], &together[1]) < 0.999, "another text, another vector");
}

/// Lists of settings that are refused, and what the error names.
#[test]
fn unknown_ways_to_pool_are_refused() {
    let bert = fixture("bert");
    for pooling in ["pooling_mode_max_tokens", "pooling_mode_weightedmean_tokens", "pooling_mode_of_next_year"] {
        let error = block_on(parhelion::models::build(&bert.repository(pooling, true), &parhelion::exec::DeviceLimits::FLOOR));
        let error = error.unwrap_err().to_string();
        assert!(error.contains("modules.1.config.pooling_mode_") && error.contains("the first token"), "{error}");
    }
}

#[derive(Deserialize)]
struct Reference {
    texts: Vec<Embedded>,
}

#[derive(Deserialize)]
struct Embedded {
    text: String,
    tokens: Vec<u32>,
    vector: Vec<f32>,
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// The published model: its tokens, its vectors one by one and in one step, and the cut that its repository asks for.
#[test]
fn all_minilm_l6_v2_is_the_reference() {
    let Some(directory) = minilm() else { return };
    let texts = serde_json::from_str::<Reference>(include_str!("../fixtures/all_minilm_l6_v2.json")).unwrap().texts;
    for config in [Some(scalar()), gpu(SwitchChoice::F16)].into_iter().flatten() {
        let Device { executor, driver, .. } = Device::open(&config.request).unwrap();
        let checkpoint = block_on(Checkpoint::open_path(&directory)).unwrap();
        let mut session = load(checkpoint, executor, &driver, SessionOptions::default());
        let all: Vec<&str> = texts.iter().map(|text| text.text.as_str()).collect();
        let together = driver.block_on(session.embed(&all)).unwrap();
        for (text, vector) in texts.iter().zip(&together) {
            assert_eq!(session.embedding_tokens(&text.text, None).unwrap().ids, text.tokens);
            let alone = driver.block_on(session.embed(&[&text.text])).unwrap().remove(0);
            for vector in [vector, &alone] {
                let length: f32 = vector.iter().map(|v| v * v).sum();
                assert!((length - 1.0).abs() < 1e-5, "{length}");
                let distance = 1.0 - cosine(vector, &text.vector);
                println!("{}: {:?}: {distance:.1e}", config.name, text.text);
                assert!(distance.abs() <= 1e-4, "{}: {:?}: {distance}", config.name, text.text);
            }
        }
        let long = session.embedding_tokens(&"word ".repeat(300), None).unwrap();
        assert_eq!((long.ids.len(), long.cut), (256, 46), "as sentence_bert_config.json says");
        assert_eq!((long.ids.first(), long.ids.last()), (Some(&101), Some(&102)));
    }
}
