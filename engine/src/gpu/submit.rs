//! Submitting recordings in pieces that are measured. The last piece of a recording waits for the read that follows it, so that both
//! are one submission: nobody can tell, since nothing is seen of a step but what is read after it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Duration,
};

use super::{
    device::Gpu,
    pace::{Done, Load, Pace, TARGET},
    prepared::Prepared,
    wait::Outstanding,
};
use crate::{
    exec::{DispatchTime, SharedClock},
    recording::Recording,
};

/// Cuts, submits and measures.
#[derive(Debug)]
pub(super) struct Submitter {
    clock: Option<SharedClock>,
    pace: Pace,
    measured: mpsc::Receiver<Done>,
    report: mpsc::Sender<Done>,
    outstanding: Outstanding,
    held: Option<Held>,
}

/// A piece that was encoded and not submitted.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) commands: wgpu::CommandBuffer,
    load: Load,
}

impl Submitter {
    /// Without a clock, recordings are not cut.
    pub(super) fn new(clock: Option<SharedClock>, outstanding: Outstanding) -> Self {
        let (report, measured) = mpsc::channel();
        Self { clock, pace: Pace::default(), measured, report, outstanding, held: None }
    }

    /// What pieces are cut by.
    pub(super) fn pace(&mut self) -> &mut Pace {
        &mut self.pace
    }

    /// Submits a recording but for its last piece, which is held.
    pub(super) fn submit(&mut self, gpu: &Gpu, prepared: &Prepared) {
        self.flush(gpu);
        self.pace.learn(self.measured.try_iter());
        let ends = match self.clock {
            Some(_) => self.pace.cut(prepared.work(), prepared.load()),
            None => vec![prepared.work().len()],
        };
        let mut first = 0;
        for end in ends {
            self.flush(gpu);
            let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            prepared.encode(first..end, &mut encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default()));
            self.held = Some(Held { commands: encoder.finish(), load: prepared.load_of(first..end) });
            first = end;
        }
    }

    /// Submits what is held: before anything else goes to the queue.
    pub(super) fn flush(&mut self, gpu: &Gpu) {
        if let Some(held) = self.held.take() {
            let submitted = self.now();
            let index = gpu.queue.submit([held.commands]);
            if let Some(answered) = self.watch(gpu, held.load, submitted) {
                self.outstanding.push(index, answered);
            }
        }
    }

    /// What is held, for a read to submit together with its copy, and the time.
    pub(super) fn take(&mut self) -> (Option<Held>, Option<Duration>) {
        (self.held.take(), self.now())
    }

    /// Measures the submission just made of what was held.
    pub(super) fn measure(&self, gpu: &Gpu, load: Load, submitted: Option<Duration>) {
        self.watch(gpu, load, submitted);
    }

    fn now(&self) -> Option<Duration> {
        self.clock.as_ref().map(SharedClock::now)
    }

    /// Has the end of the last submission reported. Gives what is set then.
    fn watch(&self, gpu: &Gpu, load: Load, submitted: Option<Duration>) -> Option<Arc<AtomicBool>> {
        let (clock, submitted) = self.clock.clone().zip(submitted)?;
        let answered = Arc::<AtomicBool>::default();
        let (report, looking, reported) = (self.report.clone(), self.outstanding.looking(), Arc::clone(&answered));
        gpu.queue.on_submitted_work_done(move || {
            reported.store(true, Ordering::Release);
            let late = looking.load(Ordering::Acquire);
            // The executor is gone when this fails.
            let _ = report.send(Done { load, submitted, done: clock.now(), late });
        });
        Some(answered)
    }

    /// The longest that a submission took; none without a clock.
    pub(super) fn longest(&mut self) -> Option<Duration> {
        self.pace.learn(self.measured.try_iter());
        self.clock.as_ref().map(|_| self.pace.longest())
    }

    /// What the slowest dispatch of a recording is expected to take.
    pub(super) fn slowest(&mut self, recording: &Recording) -> DispatchTime {
        if self.clock.is_none() {
            return DispatchTime::Unlimited;
        }
        self.pace.learn(self.measured.try_iter());
        let mut slowest = Duration::ZERO;
        for step in &recording.steps {
            let slot = self.pace.slot(step.call.kernel.variant);
            match self.pace.expect((slot, step.work)).or((step.work == 0).then_some(Duration::ZERO)) {
                Some(expected) => slowest = slowest.max(expected),
                None => return DispatchTime::Unknown,
            }
        }
        DispatchTime::Slowest { expected: slowest, wanted: TARGET }
    }
}

impl Held {
    /// The commands and what they have to do.
    pub(super) fn split(self) -> (wgpu::CommandBuffer, Load) {
        (self.commands, self.load)
    }
}
