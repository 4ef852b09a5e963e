//! `parhelion doctor`'s checks, on every adapter with every set of switches.

use parhelion::doctor::{check_conformance, check_kernels, unchecked_kernels};
use parhelion_tests::harness::configurations;

#[test]
fn every_kernel_agrees_with_its_twin() {
    for configuration in configurations() {
        let mut reported = 0;
        let checks = configuration.waiter.block_on(check_kernels(&mut *configuration.gpu(), |_| reported += 1));
        assert_eq!(reported, checks.len());
        let failed: Vec<_> = checks.iter().filter(|check| !check.ok()).collect();
        assert!(failed.is_empty(), "{}: {failed:#?}", configuration.name);
    }
}

/// What browsers run of the conformance cases.
#[test]
fn a_tenth_of_the_conformance_cases_agrees() {
    for configuration in configurations() {
        let checks = configuration.waiter.block_on(check_conformance(&mut *configuration.gpu(), 0, 10, |_| true, |_| {}));
        let failed: Vec<_> = checks.iter().filter(|check| !check.ok()).collect();
        assert!(!checks.is_empty() && failed.is_empty(), "{}: {failed:#?}", configuration.name);
        println!("{}: {} cases", configuration.name, checks.len());
    }
}

#[test]
fn every_kernel_has_a_check() {
    for configuration in configurations() {
        let left_out: Vec<_> = unchecked_kernels(&configuration.device).iter().map(|kernel| kernel.variant).collect();
        assert!(left_out.is_empty(), "{}: {left_out:?}", configuration.name);
    }
}

#[test]
fn a_lost_device_fails_every_check() {
    let adapters = pollster::block_on(parhelion::gpu::Adapters::find());
    let options = parhelion::gpu::GpuOptions { floor: true, ..Default::default() };
    let mut gpu = pollster::block_on(parhelion::gpu::GpuExecutor::open(&adapters, 0, &options)).unwrap();
    gpu.handle().destroy();
    let waiter = gpu.waiter();
    let checks = waiter.block_on(check_kernels(&mut gpu, |_| {}));
    assert!(!checks.is_empty() && checks.iter().all(|check| !check.ok()));
}
