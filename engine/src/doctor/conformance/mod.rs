//! The conformance cases: every kernel variant over many shapes, the same in native tests and in browsers.

pub mod attention;
pub mod dense;
pub mod sample;
pub mod state;

use parhelion_shaders::{Kernel, axes::Weight};

use super::{Case, quantise::conformance as quantisations};
use crate::exec::DeviceInfo;

/// A case that is made when it is run: some hold many megabytes.
pub struct Listed {
    /// The kernel variant that it checks.
    pub kernel: &'static Kernel,
    /// Whether it has more rows, tokens or entries than software devices and 32-bit address spaces get through in good time.
    pub large: bool,
    make: Box<dyn Fn() -> Case>,
}

impl Listed {
    fn new(kernel: &'static Kernel, make: impl Fn() -> Case + 'static) -> Self {
        Self { kernel, large: false, make: Box::new(make) }
    }

    fn large(self, large: bool) -> Self {
        Self { large, ..self }
    }

    /// Makes the case.
    pub fn case(&self) -> Case {
        (self.make)()
    }
}

/// Every conformance case that `device` can run.
pub fn conformance_cases(device: &DeviceInfo) -> Vec<Listed> {
    let mut all = Vec::new();
    for &format in Weight::ALL {
        all.extend(dense::matvec(device, format));
        all.extend(dense::experts(device, format));
        all.extend(dense::matmul(format));
        all.extend(dense::embed(format));
    }
    all.extend(dense::route());
    all.extend(dense::mix_experts());
    all.extend(dense::add_embedding());
    all.extend(dense::rms_norm());
    all.extend(dense::layer_norm());
    all.extend(dense::mean_rows());
    all.extend(dense::rms_norm_columns());
    all.extend(dense::activate());
    all.extend(dense::add());
    all.extend(dense::scale_logits());
    all.extend(dense::gather_rows());
    all.extend(attention::decode(device));
    all.extend(attention::merge(device));
    all.extend(attention::prefill(device));
    all.extend(attention::prefill_of_shared_tiles(device));
    all.extend(attention::rope());
    all.extend(state::short_conv());
    all.extend(state::delta_net());
    all.extend(state::gate_heads());
    all.extend(state::drop_gates());
    all.extend(sample::process(device));
    all.extend(sample::choose(device));
    all.extend(quantisations().into_iter().map(|case| Listed::new(case.call.kernel, move || case.clone())));
    all.retain(|listed| device.switches.allow(listed.kernel.needs));
    all
}

/// Part `part` of `parts` of the cases, the large ones left out: a fixed share of each kernel variant's cases, and one case at the
/// least of each. The parts together are all cases that are not large.
pub fn conformance_part(device: &DeviceInfo, part: usize, parts: usize) -> Vec<Listed> {
    let (part, parts) = (part % parts.max(1), parts.max(1));
    let mut by_variant: Vec<(&'static str, Vec<Listed>)> = Vec::new();
    for listed in conformance_cases(device).into_iter().filter(|listed| !listed.large) {
        let variant = listed.kernel.variant;
        match by_variant.iter_mut().find(|(known, _)| *known == variant) {
            Some((_, cases)) => cases.push(listed),
            None => by_variant.push((variant, vec![listed])),
        }
    }
    let share = |(_, cases): (_, Vec<Listed>)| {
        let first = part % cases.len();
        cases.into_iter().skip(first).step_by(parts)
    };
    by_variant.into_iter().flat_map(share).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use parhelion_shaders::KERNELS;

    use super::*;
    use crate::exec::{DeviceLimits, Switches};

    fn device(subgroups: bool, f16: bool) -> DeviceInfo {
        DeviceInfo {
            name: String::new(),
            backend: String::new(),
            driver: String::new(),
            software: false,
            switches: Switches { subgroups, f16 },
            limits: DeviceLimits { subgroup_min: 4, subgroup_max: 32, ..DeviceLimits::FLOOR },
            steps_in_flight: 1,
        }
    }

    #[test]
    fn each_part_has_every_kernel_that_the_device_can_run() {
        for device in [device(false, false), device(true, false), device(true, true)] {
            let expected: BTreeSet<_> = KERNELS.iter().filter(|k| device.switches.allow(k.needs)).map(|k| k.variant).collect();
            let small = conformance_cases(&device).iter().filter(|listed| !listed.large).count();
            let mut sizes = Vec::new();
            for part in 0..10 {
                let cases = conformance_part(&device, part, 10);
                let variants: BTreeSet<_> = cases.iter().map(|listed| listed.kernel.variant).collect();
                assert_eq!(variants, expected, "part {part}");
                sizes.push(cases.len());
            }
            assert!(sizes.iter().sum::<usize>() >= small, "{sizes:?} of {small}");
            assert!(sizes.iter().all(|size| *size <= small / 10 + expected.len()), "{sizes:?} of {small}");
        }
    }

    #[test]
    fn what_is_listed_is_what_is_made() {
        for listed in conformance_part(&device(true, true), 3, 10) {
            assert_eq!(listed.case().call.kernel.variant, listed.kernel.variant);
        }
    }
}
