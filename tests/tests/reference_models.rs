//! Published models of other families than Llama against numpy in f32 over their dequantised weights, as `reference.rs` does with
//! SmolLM2, and within its bounds. Other devices are tested with every family in `families.rs`.

use std::path::Path;

use parhelion_cli::host::SwitchChoice;
use parhelion_tests::{
    fixtures::{gemma3, qwen2_5_coder},
    models::{gpu, scalar},
    reference::{Closeness, check_forced_tokens, check_tokens, prompts},
};

const GEMMA3: &str = include_str!("../fixtures/gemma3_numpy_f32.json");
const QWEN2_5_CODER: &str = include_str!("../fixtures/qwen2_5_coder_numpy_f32.json");

/// With pinned kernels where there is no GPU, and with the fastest on one: each is a minute or two where the CPU plays it.
fn check(model: &Path, reference: &str) {
    let prompts = prompts(reference);
    check_tokens(model, &prompts);
    let reproducible = Closeness { reproducible: true, margin: 0.02, tolerance: 1e-3 };
    check_forced_tokens(model, &prompts, &[scalar()], &reproducible);
    let default = Closeness { reproducible: false, margin: 0.1, tolerance: 3e-2 };
    check_forced_tokens(model, &prompts, gpu(SwitchChoice::F16).as_slice(), &default);
}

#[test]
fn gemma_3_270m_is_the_reference() {
    let Some(model) = gemma3() else { return };
    check(&model, GEMMA3);
}

#[test]
fn qwen2_5_coder_is_the_reference() {
    let Some(model) = qwen2_5_coder() else { return };
    check(&model, QWEN2_5_CODER);
}
