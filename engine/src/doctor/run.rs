//! Runs cases on an executor, in buffers of their own with guarded borders.

use parhelion_shaders::{Access, BindingInfo, Call};

use super::{Case, Operand, Outcome};
use crate::{
    exec::{DeviceInfo, ExecError, Executor},
    recorder::fit_to_device,
    recording::{BufferDesc, BufferId, BufferSlice, BufferUse, Recording, Step},
};

/// Bytes before each bound range: an offset that bindings may have, so that offsets are tested too.
const LEAD: u64 = 256;
/// Bytes after each bound range that nobody may write.
const TAIL: u64 = 4096;
/// What the bytes around bound ranges hold.
const SENTINEL: u32 = 0x5e17_1e1f;

/// Runs cases together, in one submission, and gives what each wrote.
///
/// # Errors
/// What the executor reports. For a case that wrote outside the ranges it was bound to, [`ExecError::InvalidCall`] in its place.
pub(super) async fn run_all(
    cases: &[Case],
    executor: &mut dyn Executor,
    device: &DeviceInfo,
) -> Result<Vec<Result<Outcome, ExecError>>, ExecError> {
    let descs: Vec<_> =
        cases.iter().flat_map(|case| case.call.bindings.iter().map(|(slot, operand)| buffer(case, *slot, operand))).collect();
    let buffers = executor.allocate(&descs).await?;
    let outcomes = run_in(cases, executor, &buffers, device).await;
    executor.release(&buffers);
    outcomes
}

async fn run_in(
    cases: &[Case],
    executor: &mut dyn Executor,
    buffers: &[BufferId],
    device: &DeviceInfo,
) -> Result<Vec<Result<Outcome, ExecError>>, ExecError> {
    let mut rest = buffers;
    let mut own = Vec::with_capacity(cases.len());
    let mut recording = Recording::default();
    for case in cases {
        let (first, after) = rest.split_at(case.call.bindings.len());
        for (&buffer, (_, operand)) in first.iter().zip(&case.call.bindings) {
            executor.write(buffer, 0, bytemuck::cast_slice(&surrounded(operand.words())))?;
        }
        recording.steps.push(step(case, first, device));
        own.push(first);
        rest = after;
    }
    let prepared = executor.prepare(&recording).await?;
    executor.submit(prepared)?;
    let mut reads = Vec::new();
    for (i, (case, buffers)) in cases.iter().zip(own).enumerate() {
        for (&buffer, (slot, operand)) in buffers.iter().zip(&case.call.bindings) {
            if let Some(info) = case.info(*slot).filter(|info| info.access == Access::ReadWrite) {
                let size = LEAD + operand.bytes() + TAIL;
                reads.push((i, info, executor.read(BufferSlice::whole(buffer, size))));
            }
        }
    }
    let mut outcomes: Vec<_> = cases.iter().map(|_| Ok(Outcome { written: Vec::new() })).collect();
    for (i, info, read) in reads {
        let words: Vec<u32> = bytemuck::pod_collect_to_vec(&read.await?);
        let inside = unwrap_sentinels(&cases[i], info, &words);
        match (inside, &mut outcomes[i]) {
            (Ok(inside), Ok(outcome)) => outcome.written.push((info, inside)),
            (Err(error), outcome) => *outcome = Err(error),
            (_, Err(_)) => {}
        }
    }
    executor.forget(prepared);
    Ok(outcomes)
}

impl Case {
    /// Runs the call in fresh buffers of `executor`, `device` being the one it is meant for, and gives what it wrote.
    ///
    /// # Errors
    /// What the executor reports; [`ExecError::InvalidCall`] if the call wrote outside the ranges it was bound to.
    pub async fn run(&self, executor: &mut dyn Executor, device: &DeviceInfo) -> Result<Outcome, ExecError> {
        let nothing = || ExecError::Device { reason: "a case gave no outcome".into() };
        run_all(std::slice::from_ref(self), executor, device).await?.pop().ok_or_else(nothing)?
    }
}

fn step(case: &Case, buffers: &[BufferId], device: &DeviceInfo) -> Step {
    let bindings = case.call.bindings.iter().zip(buffers);
    let bindings = bindings.map(|((slot, operand), &buffer)| (*slot, BufferSlice { buffer, offset: LEAD, size: operand.bytes() }));
    let mut call = Call {
        kernel: case.call.kernel,
        constants: case.call.constants.clone(),
        params: case.call.params.clone(),
        bindings: bindings.collect(),
        grid: case.call.grid,
    };
    fit_to_device(&mut call, &device.limits);
    Step { label: case.label.clone(), call, work: 0 }
}

fn buffer(case: &Case, slot: u32, operand: &Operand) -> BufferDesc {
    let name = case.info(slot).map_or("unknown slot", |info| info.name);
    BufferDesc { label: name.to_owned(), size: LEAD + operand.bytes() + TAIL, usage: BufferUse::Scratch }
}

/// The bound range without what surrounds it.
fn unwrap_sentinels(case: &Case, info: &BindingInfo, words: &[u32]) -> Result<Vec<u32>, ExecError> {
    let (lead, tail) = (LEAD as usize / 4, words.len().saturating_sub(TAIL as usize / 4));
    let touched = |at: &usize| !(lead..tail).contains(at) && words[*at] != SENTINEL;
    match (0..words.len()).find(touched) {
        None => Ok(words[lead..tail].to_vec()),
        Some(at) => Err(ExecError::InvalidCall {
            step: case.label.clone(),
            kernel: case.call.kernel.variant,
            reason: format!("`{}` was written outside its range: word {} of {}", info.name, at as i64 - lead as i64, tail - lead),
        }),
    }
}

fn surrounded(words: &[u32]) -> Vec<u32> {
    let mut all = vec![SENTINEL; LEAD as usize / 4];
    all.extend_from_slice(words);
    all.resize(all.len() + TAIL as usize / 4, SENTINEL);
    all
}
