//! A check that is quick enough to be made before a model is loaded: the kernels that the model will use, with the very constants it
//! will use them with, on small shapes, in one submission.

use parhelion_shaders::{
    Call, Kernel, activate, attention_decode, attention_prefill,
    axes::{Delta, Kv, Reduce, Sinks, Tile, Weight},
    delta_net, embed, gate_heads, matmul, matvec, rope_kv, route, scale_logits, short_conv,
};

use super::{
    Case, KernelCheck,
    attention::{AttentionSetup, Norms},
    check::mixed_samplers,
    dense::{
        Addition, Centring, Embedding, ExpertProduct, Gate, Gathering, LogitScaling, Mixture, Normalisation, Pooling, Product,
        RangeNormalisation, Routing, Scales,
    },
    quantise::Quantisation,
    run::run_all,
    state::{small_convolution, small_dropping, small_gating, small_recurrence},
};
use crate::{
    cpu::CpuExecutor,
    exec::{ExecError, Executor, Serial},
    ops::{
        activate::Activation,
        attention::AttentionShape,
        delta_net::{Decay, HeadOrder},
        embed::EntryOf,
        rope_table::{Pairing, RopeConfig, RopeTable},
    },
    quantise::QuantType,
    recording::Recording,
};

/// Checks every kernel that `recordings` use against its scalar twin, and leaves nothing allocated. Pipelines that it makes are
/// those that the recordings need.
///
/// # Errors
/// What the executor reports. Kernels that compute wrongly are told by [`KernelCheck::error`].
pub async fn quick_check(executor: &mut dyn Executor, recordings: &[Recording]) -> Result<Vec<KernelCheck>, ExecError> {
    let device = executor.device().clone();
    let cases = cases_of(recordings);
    let mut twins = CpuExecutor::new(Box::new(Serial));
    let twin_device = twins.device().clone();
    let got = run_all(&cases, executor, &device).await?;
    let expected = run_all(&cases, &mut twins, &twin_device).await?;
    let check = |((case, got), expected): ((Case, Result<_, _>), Result<_, _>)| {
        let outcome = expected.and_then(|expected| Ok(case.compare(&expected, &got?)));
        KernelCheck { variant: case.call.kernel.variant, label: case.label, reason: case.reason, outcome }
    };
    Ok(cases.into_iter().zip(got).zip(expected).map(check).collect())
}

/// A small case of each kernel with each set of constants that the recordings use.
pub fn cases_of(recordings: &[Recording]) -> Vec<Case> {
    let mut seen: Vec<&Call<_>> = Vec::new();
    for call in recordings.iter().flat_map(|recording| recording.steps.iter().map(|step| &step.call)) {
        if seen.iter().all(|known| known.kernel.variant != call.kernel.variant || known.constants != call.constants) {
            seen.push(call);
        }
    }
    seen.into_iter().filter_map(case_of).collect()
}

/// A small case of a call's kernel with the call's constants.
pub(super) fn case_of<B>(call: &Call<B>) -> Option<Case> {
    let kernel = call.kernel;
    let case = match kernel.name {
        "embed" => {
            let used = embed::constants(call);
            let index = EntryOf::of_code(used.index)?;
            // entries by nothing are the table's first
            let first_token = if index == EntryOf::First { 0 } else { 7 };
            let scales = Scales::Moderate;
            Embedding { format: Weight::of(kernel)?, first_token, tokens: 20, cols: 70, rows: 9, scales, index, add: used.add }.case()
        }
        "gather_rows" => Gathering { rows: 9, count: 5, cols: 70 }.case(),
        "rms_norm" => {
            Normalisation { delta: Delta::of(kernel)?, reduce: Reduce::of(kernel)?, rows: 3, cols: 577, magnitude: 3.0, delta_scale: 0.5 }
                .case()
        }
        "layer_norm" => {
            Centring { delta: Delta::of(kernel)?, reduce: Reduce::of(kernel)?, rows: 3, cols: 577, magnitude: 3.0, offset: 1.0 }.case()
        }
        "mean_rows" => Pooling { sequences: vec![3, 1, 17], cols: 70 }.case(),
        "rms_norm_columns" => RangeNormalisation { reduce: Reduce::of(kernel)?, rows: 3, ranges: [129, 70], magnitude: 3.0 }.case(),
        "activate" => {
            let used = activate::constants(call);
            let activation = Activation::of_code(used.activation)?;
            Gate { activation, gated: used.gated, rows: 3, cols: 130, magnitude: 4.0 }.case()
        }
        "add" => Addition { rows: 3, cols: 130, scale: 0.5 }.case(),
        "scale_logits" => {
            let cap = scale_logits::constants(call).capped.then_some(2.0);
            LogitScaling { rows: 3, cols: 130, scale: 0.5, cap, magnitude: 8.0 }.case()
        }
        "matvec" => {
            let used = matvec::constants(call);
            let cols = if used.ragged { 300 } else { 320 };
            if used.experts {
                let product = ExpertProduct::new(Weight::of(kernel)?, 2, [3, 5], 37, cols);
                let product = ExpertProduct { tensors: [2, 37], bias: used.with_bias, ..product };
                return Some(with_constants_of(call, product.case(Reduce::of(kernel)?, used.lanes, used.rows)));
            }
            Product { bias: used.with_bias, ..Product::new(Weight::of(kernel)?, 2, 37, cols) }.matvec(
                Reduce::of(kernel)?,
                used.lanes,
                used.rows,
            )
        }
        "matmul" => {
            let used = matmul::constants(call);
            // One row and one column more than a tile.
            let product = Product::new(Weight::of(kernel)?, used.tile_x + 1, used.tile_w + 1, 70);
            Product { bias: used.with_bias, ..product }.matmul(Tile::of(kernel)?, used.tile_x)
        }
        "short_conv" => {
            let used = short_conv::constants(call);
            small_convolution(used.taps, used.gated)
        }
        "delta_net" => {
            let used = delta_net::constants(call);
            let order = if used.tiled { HeadOrder::Tiled } else { HeadOrder::Grouped };
            let decay = if used.log_decay { Decay::Logarithm } else { Decay::Negative };
            small_recurrence([used.key_dim, used.value_dim], order, decay)
        }
        "gate_heads" => small_gating(Reduce::of(kernel)?, gate_heads::constants(call).normed),
        "drop_gates" => small_dropping(),
        "mix_experts" => Mixture { tokens: 3, used: 4, cols: 130, magnitude: 2.0 }.case(),
        "route" => {
            let route::Constants { experts, used, sigmoid, biased, renormalise, .. } = route::constants(call);
            Routing { tokens: 3, experts: [used, experts], sigmoid, biased, renormalise, magnitude: 4.0 }.case()
        }
        "logits_process" => mixed_samplers().process(),
        "sample" => mixed_samplers().sample(),
        "quantise" | "quantise_k" => quantisation_of(kernel)?.case()?,
        _ => around_the_cache(call)?,
    };
    Some(with_constants_of(call, case))
}

/// The same constants make the same pipeline.
fn with_constants_of<B>(call: &Call<B>, case: Case) -> Case {
    Case { call: Call { constants: call.constants.clone(), ..case.call }, ..case }
}

/// Blocks of every kind that is hard.
fn quantisation_of(kernel: &Kernel) -> Option<Quantisation> {
    let small = |&to| Quantisation { to, rows: 3, blocks: 8, first_row: 2, hard: true };
    QuantType::ALL.iter().map(small).find(|case| case.kernel().variant == kernel.variant)
}

/// Two sequences, one longer than a split.
fn around_the_cache<B>(call: &Call<B>) -> Option<Case> {
    let kernel = call.kernel;
    let with_sinks = Sinks::of(kernel) == Some(Sinks::Heads);
    let capped = |pairs: u32, group: u32, softcap: bool, format| {
        let one = AttentionSetup::new(format, [2 * group, 2, 2 * pairs], 1, 1);
        let (softcap, sinks) = (softcap.then_some(2.0), with_sinks.then_some("sinks"));
        let shape = AttentionShape { softcap, sinks, ..one.shape };
        AttentionSetup { shape, sequences: vec![(5, 2), (140, 3)], ..one }
    };
    let setup = |pairs, group, format| capped(pairs, group, false, format);
    Some(match kernel.name {
        "attention_decode" => {
            let used = attention_decode::constants(call);
            capped(used.pairs, used.queries, used.softcap, Kv::of(kernel)?).decode()
        }
        "attention_merge" => setup(parhelion_shaders::attention_merge::constants(call).pairs, 3, Kv::F32).merge(),
        "attention_prefill" => {
            let used = attention_prefill::constants(call);
            capped(used.pairs, 3, used.softcap, Kv::of(kernel)?).prefill()
        }
        "rope_kv" => {
            let used = rope_kv::constants(call);
            let pairing = if used.interleaved { Pairing::Interleaved } else { Pairing::Half };
            let table = RopeTable::new(&RopeConfig::new(1e4, 2 * used.pairs, pairing), 512).ok()?;
            setup(used.pairs, 3, Kv::of(kernel)?).rope(Reduce::of(kernel)?, Norms::of(call), &table)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use parhelion_shaders::KERNELS;

    use super::*;
    use crate::{
        doctor::small_cases,
        exec::{DeviceInfo, DeviceLimits, Switches},
    };

    #[test]
    fn every_kernel_has_a_case_with_the_constants_of_its_call() {
        let device = DeviceInfo {
            name: String::new(),
            backend: String::new(),
            driver: String::new(),
            software: false,
            switches: Switches { subgroups: true, f16: true },
            limits: DeviceLimits { subgroup_min: 8, subgroup_max: 64, ..DeviceLimits::FLOOR },
            steps_in_flight: 1,
        };
        let calls: Vec<_> = small_cases(&device).into_iter().map(|case| case.call).collect();
        for kernel in KERNELS {
            let call = calls.iter().find(|call| call.kernel.variant == kernel.variant).unwrap();
            let case = case_of(call).unwrap();
            assert_eq!((case.call.kernel.variant, &case.call.constants), (kernel.variant, &call.constants));
        }
    }
}
