//! The one public door: a loaded model with its sequences. Asynchronous throughout; nothing here waits, spawns or reads a
//! clock of its own.

use std::{rc::Rc, time::Duration};

use parhelion_loader::{ChatOptions, ChatTemplate, Checkpoint, Message, Specials, Tokenizer};
use parhelion_shaders::axes::Kv;

use crate::{
    exec::{DeviceInfo, DeviceLimits, Executor, MemoryReport},
    models::{self, BuildOptions, Config},
    plan::{Buffers, KvGroup, Plan, PlanMemory, PlanOptions},
    recording::{BufferId, Recording},
    shape::{Bounds, StepShape},
    weights::{self, LoadProgress},
};

mod embed;
mod error;
mod generate;
mod options;
mod published;
mod saved;
mod sequences;
mod step;
mod stop;

pub use crate::exec::Clock;
pub use embed::TextTokens;
pub use error::EngineError;
pub use generate::{Generation, Token};
pub use options::{Cancel, FinishReason, GenerateOptions, Sampling, SessionOptions, Timings};
pub use parhelion_shaders::axes::Kv as KvFormat;
pub(crate) use published::gguf_entries as sampling_entries;
pub use saved::RestoreError;
pub use sequences::SequenceId;
pub use step::{Input, RowInput};

use sequences::{Ring, Sequences};
use step::PreparedSteps;

/// What a loaded model is.
#[derive(Debug, Clone)]
pub struct SessionInfo {
    /// The file's architecture.
    pub architecture: String,
    /// Sizes.
    pub config: Config,
    /// Tokens of context for each sequence.
    pub context: u32,
    /// Elements of all weights in the file.
    pub parameters: u64,
    /// What the plan allocates.
    pub memory: PlanMemory,
    /// How long loading took.
    pub load: Duration,
}

/// A model on a device.
pub struct Session {
    executor: Box<dyn Executor>,
    clock: Rc<dyn Clock>,
    file: String,
    tokenizer: Tokenizer,
    template: Option<ChatTemplate>,
    plan: Plan,
    buffers: Buffers,
    /// All of them, to give them back.
    allocated: Vec<BufferId>,
    prepared: PreparedSteps,
    sequences: Sequences,
    info: SessionInfo,
    /// Tells the model from others.
    identity: u64,
}

/// A model fitted to a device, with every byte accounted for and none allocated yet.
pub struct Prepared {
    plan: Plan,
    config: Config,
    context: u32,
}

impl Prepared {
    /// Plans a checkpoint for a device.
    ///
    /// # Errors
    /// [`EngineError::Model`] if the file holds no model that can be run, [`EngineError::Plan`] if it does not fit the device.
    pub async fn new(checkpoint: &Checkpoint, device: &DeviceInfo, options: SessionOptions) -> Result<Self, EngineError> {
        // A dispatch cannot be interrupted, and one over a large weight takes a CPU long.
        let most = if device.software { SOFTWARE_PART } else { u64::MAX };
        let limits = DeviceLimits { max_binding: device.limits.max_binding.min(most), ..device.limits };
        let wanted = options.context.unwrap_or(SessionOptions::DEFAULT_CONTEXT);
        let for_session = BuildOptions { quant: options.quant, context: Some(wanted) };
        let built = models::build_with(checkpoint, &limits, for_session).await?;
        let bounds = match &built.config.embedding {
            Some(embedding) => embed::bounds(embedding, built.config.context, options),
            None => {
                let context = wanted.clamp(1, built.config.context.max(1));
                let sequences = options.sequences.max(1);
                let rows = options.chunk.clamp(1, context).max(sequences);
                Bounds { rows, outputs: rows.min(OUTPUTS.max(sequences)), context, sequences }
            }
        };
        let kv = options.kv.unwrap_or(if options.reproducible { Kv::F32 } else { Kv::F16 });
        let plan_options = PlanOptions { bounds, kv, reproducible: options.reproducible };
        let plan = Plan::new(built.model, built.weights, device.clone(), plan_options)?;
        Ok(Self { plan, config: built.config, context: bounds.context })
    }

    /// The dispatches of usual steps, as data, for [`crate::doctor::quick_check`]: they are bound to no buffers of a device.
    ///
    /// # Errors
    /// [`EngineError::Plan`] if an operator cannot be recorded.
    pub fn recordings(&self) -> Result<Vec<Recording>, EngineError> {
        let ids = (0..).map(BufferId).take(self.plan.descriptions().len()).collect();
        let buffers = self.plan.bind(ids)?;
        step::usual_steps(&self.plan).into_iter().map(|shape| Ok(self.plan.record(&buffers, shape)?)).collect()
    }

    /// Bytes that loading will allocate.
    pub fn memory(&self) -> PlanMemory {
        self.plan.memory()
    }

    /// How the KV cache is stored.
    pub fn kv_format(&self) -> KvFormat {
        self.plan.options().kv
    }

    /// How much of the KV cache layers keep: first those that keep all of it, then those with windows.
    pub fn kv_groups(&self) -> &[KvGroup] {
        self.plan.kv_groups()
    }

    /// The model's sizes.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Tokens of context for each sequence.
    pub fn context(&self) -> u32 {
        self.context
    }
}

/// Bytes of a weight's largest part on devices that the CPU plays.
const SOFTWARE_PART: u64 = 8 << 20;

/// Logits of this many rows are computed in one step at the most; more outputs take more steps.
const OUTPUTS: u32 = 16;

impl Session {
    /// Allocates what was prepared for the executor's device, and streams the checkpoint's weights.
    ///
    /// # Errors
    /// What the file or the device reports: see [`EngineError`].
    pub async fn load(
        checkpoint: Checkpoint,
        prepared: Prepared,
        mut executor: Box<dyn Executor>,
        clock: Rc<dyn Clock>,
        progress: &mut dyn FnMut(LoadProgress),
    ) -> Result<Self, EngineError> {
        let started = clock.now();
        let tokenizer = checkpoint.tokenizer().await?;
        let template = checkpoint.chat_template().await?;
        let Prepared { plan, config, context } = prepared;
        let allocated = executor.allocate(&plan.descriptions()).await?;
        let buffers = plan.bind(allocated.clone())?;
        weights::load(&checkpoint, plan.weights(), &buffers.weights, executor.as_mut(), progress).await?;
        for (table, slice) in plan.model().tables.iter().zip(&buffers.tables) {
            executor.write(slice.buffer, slice.offset, &table.bytes)?;
        }
        for (group, table) in plan.kv_groups().iter().zip(buffers.page_tables()).skip(1) {
            executor.write(table.buffer, table.offset, bytemuck::cast_slice(&group.ring(&plan.options().bounds)))?;
        }
        let info = SessionInfo {
            architecture: checkpoint.architecture()?.to_owned(),
            config,
            context,
            parameters: checkpoint.tensors().map(parhelion_loader::TensorInfo::elems).sum(),
            memory: plan.memory(),
            load: clock.now().saturating_sub(started),
        };
        let sequences = Sequences::new(plan.options().bounds.sequences, plan.pages(), plan.has_state(), rings(&plan));
        let file = checkpoint.name().to_owned();
        let identity = saved::identity(&checkpoint).await?;
        Ok(Self {
            executor,
            clock,
            file,
            tokenizer,
            template,
            plan,
            buffers,
            allocated,
            prepared: PreparedSteps::default(),
            sequences,
            info,
            identity,
        })
    }

    /// Ends the session: gives its memory back and its executor to whoever wants to run something else there.
    pub fn unload(mut self) -> Box<dyn Executor> {
        self.executor.release(&self.allocated);
        self.executor
    }

    /// What was loaded.
    pub fn info(&self) -> &SessionInfo {
        &self.info
    }

    /// The device and its switches.
    pub fn device(&self) -> &DeviceInfo {
        self.executor.device()
    }

    /// Bytes allocated on the device.
    pub fn memory(&self) -> MemoryReport {
        self.executor.memory()
    }

    /// The longest that the device was busy with one submission; none where that is not measured.
    pub fn longest_submit(&mut self) -> Option<Duration> {
        self.executor.longest_submit()
    }

    /// The model's tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Tokens of a conversation, rendered by the model's own chat template and ready for its answer. Special tokens inside a
    /// message's content stay text.
    ///
    /// # Errors
    /// [`EngineError::NoChatTemplate`], [`EngineError::WritesNothing`], or what the template refuses.
    pub fn chat_tokens(&self, messages: &[Message], options: &ChatOptions) -> Result<Vec<u32>, EngineError> {
        self.refuse_embeddings()?;
        let template = self.template.as_ref().ok_or_else(|| EngineError::NoChatTemplate { file: self.file.clone() })?;
        Ok(self.tokenizer.encode_prompt(&template.render(messages, options)?)?)
    }

    /// Tokens of plain text that is to be continued, after the token that the model expects first. Control tokens in it stay
    /// text.
    ///
    /// # Errors
    /// [`EngineError::Load`] when the encoder fails; [`EngineError::WritesNothing`].
    pub fn text_tokens(&self, text: &str) -> Result<Vec<u32>, EngineError> {
        self.refuse_embeddings()?;
        let first = self.tokenizer.bos().filter(|_| self.tokenizer.add_bos());
        let rest = self.tokenizer.encode(text, Specials::Text)?;
        Ok(first.into_iter().chain(rest).collect())
    }

    /// Opens an empty sequence.
    ///
    /// # Errors
    /// [`EngineError::Sequence`] if as many are open as the session was loaded for.
    pub fn open_sequence(&mut self) -> Result<SequenceId, EngineError> {
        let most = self.plan.options().bounds.sequences;
        self.sequences.open().ok_or_else(|| EngineError::Sequence { reason: format!("all {most} sequences are in use: close one") })
    }

    /// Ends a sequence and frees its part of the cache.
    pub fn close_sequence(&mut self, id: SequenceId) {
        self.sequences.close(id);
    }

    /// The tokens of a sequence whose keys and values are in the cache.
    ///
    /// # Errors
    /// [`EngineError::Sequence`] if it was closed.
    pub fn cached_tokens(&self, id: SequenceId) -> Result<&[u32], EngineError> {
        self.sequences.get(id).map(|sequence| sequence.tokens.as_slice()).ok_or_else(closed)
    }

    /// Forgets all but the first `len` tokens of a sequence, and returns how many are left. Those are fewer where a model has recurrent
    /// state: that cannot be cut back, so as many are left as the state before the last step of [`Session::forward`] or before the
    /// last token of the prompt of [`Session::generate`] stands for, or none. None are left either where layers with a window have
    /// overwritten what the next token would see, which takes more than a step's rows after it. The others must be given again.
    pub fn truncate(&mut self, id: SequenceId, len: usize) -> usize {
        self.sequences.truncate(id, len)
    }

    /// The dispatches of one step, as data: for profiles and for finding which of them goes wrong on a device.
    ///
    /// # Errors
    /// [`EngineError::Plan`] if the step is outside the plan's bounds.
    pub fn recording(&self, shape: StepShape) -> Result<Recording, EngineError> {
        Ok(self.plan.record(&self.buffers, shape)?)
    }
}

/// What layers with windows keep of a sequence.
fn rings(plan: &Plan) -> Vec<Ring> {
    let ring = |group: &KvGroup| Some(Ring { window: group.window? as usize, entries: group.entries() as usize });
    plan.kv_groups().iter().filter_map(ring).collect()
}

fn closed() -> EngineError {
    EngineError::Sequence { reason: "the sequence was closed".into() }
}
