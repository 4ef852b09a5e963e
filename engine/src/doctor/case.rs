//! One kernel call with its data and the error it may have: what `doctor` and the conformance tests are made of.

use std::{fmt, sync::Arc};

use bytemuck::Pod;
use parhelion_shaders::{BindingInfo, Call};

use crate::exec::DeviceInfo;

/// A call and the data of its buffers.
#[derive(Debug, Clone)]
pub struct Case {
    /// The shape in words: `7 rows of 513`.
    pub label: String,
    /// Why the error bounds are what they are.
    pub reason: &'static str,
    /// The call; each slot is bound to its data.
    pub call: Call<Operand>,
}

/// The contents of a bound buffer before the call and what is compared after it. Buffers that the kernel only reads are not
/// compared.
#[derive(Debug, Clone)]
pub struct Operand {
    words: Vec<u32>,
    compare: Compare,
}

#[derive(Debug, Clone)]
enum Compare {
    Words,
    Floats { cols: usize, stride: usize, bound: Bound },
    Judged(Judge),
    Nothing,
}

/// Gives the error of a word and the error allowed, from its index, what is expected and what was got.
#[derive(Clone)]
struct Judge(Arc<dyn Fn(usize, u32, u32) -> (f32, f32) + Send + Sync>);

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Judge")
    }
}

/// What outputs hold before the call: a NaN that no kernel computes, so that elements left out are found.
const UNWRITTEN: u32 = 0xffc0_dead;

impl Operand {
    /// Plain data; if the kernel writes it, every word must come out as the twin's.
    pub fn new<T: Pod>(data: &[T]) -> Self {
        Self { words: bytemuck::pod_collect_to_vec(bytemuck::cast_slice::<T, u8>(data)), compare: Compare::Words }
    }

    /// An output of `rows` rows of `cols` floats, `stride` floats apart; what lies between `cols` and `stride` may hold anything.
    pub fn output(rows: usize, cols: usize, stride: usize, bound: Bound) -> Self {
        Self { words: vec![UNWRITTEN; rows * stride], compare: Compare::Floats { cols, stride, bound } }
    }

    /// An output of `count` words that must come out as the twin's.
    pub fn output_words(count: usize) -> Self {
        Self { words: vec![UNWRITTEN; count], compare: Compare::Words }
    }

    /// Compares as rows of `cols` floats, `stride` floats apart: for data that the kernel changes in place.
    #[must_use]
    pub fn floats(self, cols: usize, stride: usize, bound: Bound) -> Self {
        Self { compare: Compare::Floats { cols, stride, bound }, ..self }
    }

    /// Compares word by word with a rule of its own: for packed data.
    #[must_use]
    pub fn judged(self, judge: impl Fn(usize, u32, u32) -> (f32, f32) + Send + Sync + 'static) -> Self {
        Self { compare: Compare::Judged(Judge(Arc::new(judge))), ..self }
    }

    /// Does not compare: for data whose meaning another output covers.
    #[must_use]
    pub fn unchecked(self) -> Self {
        Self { compare: Compare::Nothing, ..self }
    }

    pub(super) fn words(&self) -> &[u32] {
        &self.words
    }

    pub(super) fn bytes(&self) -> u64 {
        4 * self.words.len() as u64
    }
}

/// How far an element may be from the twin's.
#[derive(Clone)]
pub enum Bound {
    /// `absolute + relative * |expected|`.
    Within {
        /// Error allowed at 0.
        absolute: f32,
        /// Error allowed for each unit of the expected value.
        relative: f32,
    },
    /// A bound of its own for each element, given its index in the buffer and the expected value.
    Each(Arc<dyn Fn(usize, f32) -> f32 + Send + Sync>),
}

impl Bound {
    /// The same bits, but for the sign of zero.
    pub const EXACT: Self = Self::Within { absolute: 0.0, relative: 0.0 };

    /// `absolute` at any value.
    pub fn absolute(absolute: f32) -> Self {
        Self::Within { absolute, relative: 0.0 }
    }

    /// `relative` of the expected value, and no less than `relative` of `scale`: the usual size of values that cancellation
    /// leaves small results of.
    pub fn relative(relative: f32, scale: f32) -> Self {
        Self::Within { absolute: relative * scale, relative }
    }

    /// A bound for each element from its index in the buffer and the expected value.
    pub fn each(bound: impl Fn(usize, f32) -> f32 + Send + Sync + 'static) -> Self {
        Self::Each(Arc::new(bound))
    }

    fn at(&self, index: usize, expected: f32) -> f32 {
        match self {
            Self::Within { absolute, relative } => absolute + relative * expected.abs(),
            Self::Each(bound) => bound(index, expected),
        }
    }
}

impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Within { absolute, relative } => write!(f, "{absolute:e} + {relative:e} * |expected|"),
            Self::Each(_) => write!(f, "its own for each element"),
        }
    }
}

/// The element whose error is the largest part of its bound.
#[derive(Debug, Clone, PartialEq)]
pub struct Worst {
    /// The binding's name; empty if nothing was compared.
    pub binding: &'static str,
    /// The element's index in the buffer.
    pub index: usize,
    /// What the twin gave.
    pub expected: f32,
    /// What the executor gave.
    pub got: f32,
    /// The absolute difference; infinite where only one of them is finite.
    pub error: f32,
    /// The error allowed.
    pub bound: f32,
}

impl Worst {
    /// Whether the error is within the bound.
    pub fn ok(&self) -> bool {
        self.error <= self.bound
    }

    fn ratio(&self) -> f32 {
        match self.error / self.bound {
            _ if self.error == 0.0 => 0.0,
            ratio if ratio.is_nan() => f32::INFINITY,
            ratio => ratio,
        }
    }
}

impl fmt::Display for Worst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { binding, index, expected, got, error, bound } = self;
        write!(f, "{binding}[{index}] is {got:e} and the twin's is {expected:e}: error {error:e}, bound {bound:e}")
    }
}

/// The written buffers of a case after its call, by slot.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    pub(super) written: Vec<(&'static BindingInfo, Vec<u32>)>,
}

impl Outcome {
    /// The words of a written binding; none if the kernel writes no such binding.
    pub fn words(&self, name: &str) -> Option<&[u32]> {
        self.written.iter().find(|(info, _)| info.name == name).map(|(_, words)| &words[..])
    }
}

impl Case {
    /// Whether a device can run the case's kernel.
    pub fn runs_on(&self, device: &DeviceInfo) -> bool {
        device.switches.allow(self.call.kernel.needs)
    }

    /// Compares what an executor wrote with what the twin wrote. A case that compares nothing fails.
    pub fn compare(&self, expected: &Outcome, got: &Outcome) -> Worst {
        let mut worst = Worst { binding: "", index: 0, expected: 0.0, got: 0.0, error: f32::INFINITY, bound: 0.0 };
        for ((info, expected), (_, got)) in expected.written.iter().zip(&got.written) {
            let operand = self.call.bindings.iter().find(|(slot, _)| *slot == info.slot).map(|(_, operand)| operand);
            let Some(operand) = operand else { continue };
            for (index, (&expected, &got)) in expected.iter().zip(got).enumerate() {
                let Some((error, bound)) = operand.compare.element(index, expected, got) else { continue };
                let (expected, got) = operand.compare.shown(expected, got);
                let element = Worst { binding: info.name, index, expected, got, error, bound };
                if worst.binding.is_empty() || element.ratio() > worst.ratio() {
                    worst = element;
                }
            }
        }
        worst
    }

    /// What reflection knows of a slot.
    pub(super) fn info(&self, slot: u32) -> Option<&'static BindingInfo> {
        self.call.kernel.bindings.iter().find(|info| info.slot == slot)
    }
}

impl Compare {
    /// The error and the bound of one element; none if it is not compared.
    fn element(&self, index: usize, expected: u32, got: u32) -> Option<(f32, f32)> {
        match self {
            Self::Nothing => None,
            Self::Words => Some((if expected == got { 0.0 } else { f32::INFINITY }, 0.0)),
            Self::Judged(Judge(judge)) => Some(judge(index, expected, got)),
            Self::Floats { cols, stride, .. } if index % stride >= *cols => None,
            Self::Floats { .. } if got == UNWRITTEN && expected != UNWRITTEN => Some((f32::INFINITY, 0.0)),
            Self::Floats { bound, .. } => {
                let (expected, got) = (f32::from_bits(expected), f32::from_bits(got));
                Some((difference(expected, got), if expected.is_finite() { bound.at(index, expected) } else { 0.0 }))
            }
        }
    }

    /// The values as floats, for messages: words as their numbers.
    fn shown(&self, expected: u32, got: u32) -> (f32, f32) {
        match self {
            Self::Floats { .. } => (f32::from_bits(expected), f32::from_bits(got)),
            Self::Words | Self::Judged(_) | Self::Nothing => (expected as f32, got as f32),
        }
    }
}

/// The absolute difference; not-a-numbers are alike, infinities only if they are the same.
fn difference(expected: f32, got: f32) -> f32 {
    match (expected.is_nan(), got.is_nan()) {
        (true, true) => 0.0,
        (false, false) if expected == got => 0.0,
        (false, false) if expected.is_finite() && got.is_finite() => (expected - got).abs(),
        _ => f32::INFINITY,
    }
}
