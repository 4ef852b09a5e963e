//! Reads under way, and what native hosts wait for them with: there nothing makes progress unless the device is polled.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

#[cfg(not(target_arch = "wasm32"))]
use super::device::{Gpu, Health};
#[cfg(not(target_arch = "wasm32"))]
use crate::exec::ExecError;

/// Submissions that somebody wants to know the end of, reads and pieces that are measured, oldest first.
#[derive(Debug, Clone, Default)]
pub(super) struct Outstanding {
    submitted: Arc<Mutex<VecDeque<Submitted>>>,
    /// Whether the device is asked what is done by now: what is answered then was done some time before.
    looking: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Submitted {
    #[cfg_attr(target_arch = "wasm32", expect(dead_code, reason = "browsers poll devices themselves"))]
    index: wgpu::SubmissionIndex,
    answered: Arc<AtomicBool>,
}

impl Outstanding {
    /// Adds a submission and forgets those that were answered since.
    pub(super) fn push(&self, index: wgpu::SubmissionIndex, answered: Arc<AtomicBool>) {
        let mut all = self.lock();
        all.retain(|submitted| !submitted.answered.load(Ordering::Acquire));
        all.push_back(Submitted { index, answered });
    }

    /// Set while answers come late.
    pub(super) fn looking(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.looking)
    }

    /// Takes out the oldest submission that has no answer.
    #[cfg(not(target_arch = "wasm32"))]
    fn pop(&self) -> Option<wgpu::SubmissionIndex> {
        let mut all = self.lock();
        all.retain(|submitted| !submitted.answered.load(Ordering::Acquire));
        all.pop_front().map(|submitted| submitted.index)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Submitted>> {
        self.submitted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for reads on native hosts. It may be sent to another thread.
#[cfg(not(target_arch = "wasm32"))]
#[derive(Debug, Clone)]
pub struct Waiter {
    device: wgpu::Device,
    health: Arc<Health>,
    outstanding: Outstanding,
}

#[cfg(not(target_arch = "wasm32"))]
impl Waiter {
    pub(super) fn new(gpu: &Gpu, outstanding: Outstanding) -> Self {
        Self { device: gpu.device.clone(), health: Arc::clone(&gpu.health), outstanding }
    }

    /// Blocks until the oldest read under way, or the oldest piece of a recording before it, has its answer; what was submitted
    /// after it may still run. False if none is under way.
    ///
    /// # Errors
    /// [`ExecError::DeviceLost`] and whatever else went wrong with the device.
    pub fn wait(&self) -> Result<bool, ExecError> {
        self.outstanding.looking.store(true, Ordering::Release);
        let looked = self.poll(wgpu::PollType::Poll);
        self.outstanding.looking.store(false, Ordering::Release);
        looked?;
        let Some(oldest) = self.outstanding.pop() else { return Ok(false) };
        self.poll(wgpu::PollType::Wait { submission_index: Some(oldest), timeout: None })?;
        Ok(true)
    }

    /// Runs a future to its end, waiting for reads whenever it cannot go on, and for its waker when no read is under way.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let mut future = std::pin::pin!(future);
        let waker = std::task::Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut context = std::task::Context::from_waker(&waker);
        loop {
            if let std::task::Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return output;
            }
            // An error reaches the caller through the future, which checks the device as well.
            if let Ok(false) = self.wait() {
                std::thread::park();
            }
        }
    }

    /// Has the device answer, after a submission or at once. wgpu panics here when the driver reports that the device is lost, although the loss was
    /// handed to the device's callback before: the panic is caught and told as the error it is.
    fn poll(&self, wait: wgpu::PollType) -> Result<(), ExecError> {
        let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.device.poll(wait)));
        self.health.check()?;
        match polled {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(ExecError::Device { reason: error.to_string() }),
            Err(_) => {
                let lost = ExecError::DeviceLost { reason: "the driver failed while it was waited for".into() };
                self.health.set(lost.clone());
                Err(lost)
            }
        }
    }
}

/// Wakes a thread that waits in [`Waiter::block_on`].
#[cfg(not(target_arch = "wasm32"))]
struct Unpark(std::thread::Thread);

#[cfg(not(target_arch = "wasm32"))]
impl std::task::Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
