//! Every kernel variant that a device can run, on small fixed shapes.

use parhelion_shaders::{
    KERNELS, Kernel,
    axes::{Kv, Reduce},
    shared::Sampler,
};

use super::{
    Case, Worst,
    attention::{AttentionSetup, Norms},
    conformance::conformance_part,
    dense, quantise,
    sampling::{GREEDY, SamplingSetup},
    state,
};
use crate::{
    cpu::CpuExecutor,
    exec::{DeviceInfo, ExecError, Executor, Serial},
    ops::{
        attention::AttentionShape,
        rope_table::{Pairing, RopeConfig, RopeTable},
    },
};

/// What came of one case of a kernel variant.
#[derive(Debug, Clone)]
pub struct KernelCheck {
    /// The variant: `matvec_q4_0_subgroup`.
    pub variant: &'static str,
    /// The shape in words.
    pub label: String,
    /// Why the bound is what it is.
    pub reason: &'static str,
    /// The element whose error is the largest part of its bound, or what kept the case from running.
    pub outcome: Result<Worst, ExecError>,
}

impl KernelCheck {
    /// Whether the kernel ran and every element is within its bound.
    pub fn ok(&self) -> bool {
        self.outcome.as_ref().is_ok_and(Worst::ok)
    }

    /// What is wrong with `device`, on which the check was made; none if nothing is.
    pub fn error(&self, device: &DeviceInfo) -> Option<ExecError> {
        let needs = KERNELS.iter().find(|kernel| kernel.variant == self.variant).map(|kernel| kernel.needs).unwrap_or_default();
        let detail = match &self.outcome {
            Ok(worst) if worst.ok() => return None,
            Ok(worst) => worst.to_string(),
            Err(ExecError::InvalidCall { reason, .. }) => reason.clone(),
            Err(error) => return Some(error.clone()),
        };
        Some(ExecError::WrongResults { device: device.name.clone(), kernel: self.variant, needs, detail })
    }
}

/// Runs the small cases of every kernel variant that `executor` can run, and compares each with the scalar twin. `report` is
/// given each check as it is done. Once the device is lost, the checks that remain fail with that error.
pub async fn check_kernels(executor: &mut dyn Executor, report: impl FnMut(&KernelCheck)) -> Vec<KernelCheck> {
    let cases = small_cases(executor.device());
    check_cases(executor, cases, report).await
}

/// Runs part `part` of `parts` of the conformance cases of the kernels that are `wanted`, as [`check_kernels`] runs the small ones: see
/// [`conformance_part`].
pub async fn check_conformance(
    executor: &mut dyn Executor,
    part: usize,
    parts: usize,
    wanted: impl Fn(&Kernel) -> bool,
    report: impl FnMut(&KernelCheck),
) -> Vec<KernelCheck> {
    let listed = conformance_part(executor.device(), part, parts);
    let listed = listed.into_iter().filter(|listed| wanted(listed.kernel));
    check_cases(executor, listed.map(|listed| listed.case()), report).await
}

async fn check_cases(
    executor: &mut dyn Executor,
    cases: impl IntoIterator<Item = Case>,
    mut report: impl FnMut(&KernelCheck),
) -> Vec<KernelCheck> {
    let device = executor.device().clone();
    let mut twins = CpuExecutor::new(Box::new(Serial));
    let mut checks = Vec::new();
    for case in cases {
        let outcome = check(&case, executor, &device, &mut twins).await;
        let check = KernelCheck { variant: case.call.kernel.variant, label: case.label, reason: case.reason, outcome };
        report(&check);
        checks.push(check);
    }
    checks
}

async fn check(case: &Case, executor: &mut dyn Executor, device: &DeviceInfo, twins: &mut CpuExecutor) -> Result<Worst, ExecError> {
    let twin_device = twins.device().clone();
    let expected = case.run(twins, &twin_device).await?;
    let got = case.run(executor, device).await?;
    Ok(case.compare(&expected, &got))
}

/// Small cases of every kernel variant that `device` can run.
pub fn small_cases(device: &DeviceInfo) -> Vec<Case> {
    let mut cases = [dense::small(device.limits.subgroup_max), around_the_cache(), sampling(), quantise::small(), state::small()].concat();
    cases.retain(|case| case.runs_on(device));
    cases
}

/// Kernel variants that `device` can run and the small cases leave out: none, or the cases are behind the kernels.
pub fn unchecked_kernels(device: &DeviceInfo) -> Vec<&'static Kernel> {
    let cases = small_cases(device);
    let has_case = |kernel: &&Kernel| cases.iter().any(|case| case.call.kernel.variant == kernel.variant);
    KERNELS.iter().copied().filter(|kernel| device.switches.allow(kernel.needs) && !has_case(kernel)).collect()
}

/// Two sequences, one longer than a split, with heads in groups of three.
fn around_the_cache() -> Vec<Case> {
    let mut cases = Vec::new();
    for &format in Kv::ALL {
        let one = AttentionSetup::new(format, [6, 2, 64], 1, 1);
        let setup = AttentionSetup { sequences: vec![(5, 2), (200, 3)], ..one };
        let full = AttentionShape { softcap: Some(1.0), sinks: Some("sinks"), ..setup.shape };
        for setup in [setup.clone(), AttentionSetup { shape: full, ..setup.clone() }] {
            cases.extend([setup.decode(), setup.merge(), setup.prefill()]);
        }
        let table = RopeTable::new(&RopeConfig::new(1e4, 48, Pairing::Half), 512);
        for (table, &reduce) in table.iter().flat_map(|table| Reduce::ALL.iter().map(move |reduce| (table, reduce))) {
            cases.extend(Norms::ALL.map(|norms| setup.rope(reduce, norms, table)));
        }
    }
    cases
}

fn sampling() -> Vec<Case> {
    let setup = mixed_samplers();
    vec![setup.process(), setup.sample()]
}

/// Every filter once, over a vocabulary of several chunks that ends inside one.
pub(super) fn mixed_samplers() -> SamplingSetup {
    let random = Sampler { temperature: 0.8, seed_lo: 7, seed_hi: 1, step: 3, ..GREEDY };
    let samplers = vec![
        GREEDY,
        Sampler { repetition: 1.2, frequency: 0.1, presence: 0.5, ..GREEDY },
        random,
        Sampler { top_k: 40, top_p: 0.9, ..random },
        Sampler { min_p: 0.05, ..random },
    ];
    SamplingSetup::random("random logits", 1003, samplers, 1)
}
