//! Every kernel on the device against its scalar twin.

use std::io::Write;

use parhelion::doctor::{KernelCheck, Worst, check_kernels, small_cases};
use serde_json::{Value, json};

use crate::commands::{CommandError, Context};
use crate::host::Device;
use crate::progress::Unit;

/// The checks of one kernel variant.
pub(super) struct VariantChecks {
    variant: &'static str,
    checks: Vec<KernelCheck>,
}

/// Runs the cases that the device can run, each on the device and on the CPU, and sorts them by kernel variant.
pub(super) fn check(context: &Context, device: &mut Device) -> Vec<VariantChecks> {
    let total = small_cases(device.executor.device()).len() as u64;
    let progress = context.progress();
    progress.begin("checking kernels", Unit::Items, Some(total), 0);
    let at_once = context.interrupt.at_once();
    let mut done = 0;
    let checks = device.driver.block_on(check_kernels(device.executor.as_mut(), |_| {
        done += 1;
        progress.reached(done);
    }));
    drop(at_once);
    progress.end();
    let mut variants: Vec<VariantChecks> = Vec::new();
    for check in checks {
        match variants.iter_mut().find(|variant| variant.variant == check.variant) {
            Some(variant) => variant.checks.push(check),
            None => variants.push(VariantChecks { variant: check.variant, checks: vec![check] }),
        }
    }
    variants
}

impl VariantChecks {
    /// How many cases were run.
    pub(super) fn cases(&self) -> usize {
        self.checks.len()
    }

    /// How many of them failed.
    pub(super) fn failures(&self) -> usize {
        self.failed().count()
    }

    fn failed(&self) -> impl Iterator<Item = &KernelCheck> {
        self.checks.iter().filter(|check| !check.ok())
    }

    /// The case that came closest to its bound, or went furthest past it.
    fn worst(&self) -> Option<(&KernelCheck, &Worst)> {
        let ran = self.checks.iter().filter_map(|check| Some((check, check.outcome.as_ref().ok()?)));
        ran.max_by(|(_, a), (_, b)| part_of_bound(a).total_cmp(&part_of_bound(b)))
    }

    pub(super) fn print(&self, out: &mut impl Write) -> Result<(), CommandError> {
        let verdict = if self.failures() == 0 { "ok" } else { "FAIL" };
        let worst = self.worst().map(|(_, worst)| match worst.error {
            0.0 => "exact".to_owned(),
            error => format!("error {error:.1e}, bound {:.1e}", worst.bound),
        });
        writeln!(out, "  {verdict:<4} {:<34} {}", self.variant, worst.unwrap_or_default())?;
        for check in self.failed() {
            writeln!(out, "         {}: {}", check.label, outcome(check))?;
        }
        Ok(())
    }

    pub(super) fn as_json(&self) -> Value {
        let worst = |(check, worst): (&KernelCheck, &Worst)| {
            json!({
                "case": check.label, "binding": worst.binding, "index": worst.index, "expected": worst.expected,
                "got": worst.got, "error": worst.error, "bound": worst.bound, "bound_reason": check.reason,
            })
        };
        let failed: Vec<_> = self.failed().map(|check| json!({ "case": check.label, "why": outcome(check) })).collect();
        json!({
            "kernel": self.variant,
            "cases": self.cases(),
            "ok": failed.is_empty(),
            "worst": self.worst().map(worst),
            "failed": failed,
        })
    }
}

fn outcome(check: &KernelCheck) -> String {
    match &check.outcome {
        Ok(worst) => worst.to_string(),
        Err(error) => error.to_string(),
    }
}

/// How much of its bound an error takes: nothing where there is no error, everything where none is allowed.
fn part_of_bound(worst: &Worst) -> f32 {
    match (worst.error, worst.bound) {
        (0.0, _) => 0.0,
        (error, bound) if bound > 0.0 && !error.is_nan() => error / bound,
        _ => f32::INFINITY,
    }
}
