//! A loaded model.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use js_sys::{Float32Array, Function};
use parhelion::{
    gpu::DeviceHandle,
    session::{Cancel as EngineCancel, EngineError, RowInput, SequenceId, Session},
};
use parhelion_loader::{ChatOptions, Message, Specials, chat::CivilTime};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use wasm_bindgen::{JsValue, prelude::wasm_bindgen};

use crate::{
    device::DeviceReport,
    error,
    load::{self, Loaded},
    repository::Checkpoint,
    request::{Finished, GenerateRequest, LoadRequest, from_js, milliseconds, to_js},
    source::{Rejection, told},
};

/// Stops an answer between two of its tokens, or between two chunks of its prompt.
#[wasm_bindgen]
#[derive(Debug, Default, Clone)]
pub struct Cancel(Rc<Cell<bool>>);

#[wasm_bindgen]
impl Cancel {
    /// Asks for nothing yet.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops the answer.
    pub fn cancel(&self) {
        self.0.set(true);
    }
}

/// A model on a device. It gives one answer at a time; meanwhile other calls that need it are refused as busy.
#[wasm_bindgen]
pub struct Model {
    /// Empty while an answer is under way and after the end.
    session: RefCell<Option<Session>>,
    sequence: SequenceId,
    device: DeviceReport,
    handle: Option<DeviceHandle>,
    rejection: Rejection,
    disposed: Cell<bool>,
}

/// What a model is and takes.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ModelReport<'a> {
    architecture: &'a str,
    parameters: u64,
    context: u32,
    vocab: u32,
    layers: u32,
    /// What the model makes: `text` or `vectors`.
    makes: &'static str,
    device: &'a DeviceReport,
    memory: MemoryReport,
    load_ms: f64,
    /// The longest that one submission kept the device busy; none where it is not measured.
    longest_submit_ms: Option<f64>,
}

#[derive(Serialize)]
struct MemoryReport {
    now: u64,
    peak: u64,
    weights: u64,
    kv: u64,
    scratch: u64,
}

/// A turn of a conversation as JavaScript writes it.
#[derive(Deserialize)]
struct MessageRequest {
    role: String,
    #[serde(default)]
    content: String,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

#[wasm_bindgen]
impl Model {
    /// Opens a device, fits the model to it, and streams the weights there, which uses `checkpoint` up. `events` is called with plain objects as loading
    /// goes on.
    pub async fn load(checkpoint: &Checkpoint, options: JsValue, events: Function) -> Result<Model, JsValue> {
        let request: LoadRequest = from_js(options)?;
        let (checkpoint, rejection) = checkpoint.take()?;
        let loaded = load::load(checkpoint, request, &events).await.map_err(|failure| told(&rejection, &failure))?;
        let Loaded { session, sequence, device, handle } = loaded;
        Ok(Self { session: RefCell::new(Some(session)), sequence, device, handle, rejection, disposed: Cell::new(false) })
    }

    /// What the model is and what it takes.
    pub fn info(&self) -> Result<JsValue, JsValue> {
        self.with(|session| {
            let longest_submit = session.longest_submit();
            let info = session.info();
            let memory = session.memory();
            to_js(&ModelReport {
                architecture: &info.architecture,
                parameters: info.parameters,
                context: info.context,
                vocab: session.tokenizer().vocab_size(),
                layers: info.config.layers,
                makes: if info.config.embedding.is_some() { "vectors" } else { "text" },
                device: &self.device,
                memory: MemoryReport {
                    now: memory.total(),
                    peak: memory.peak,
                    weights: info.memory.weights,
                    kv: info.memory.kv,
                    scratch: info.memory.scratch,
                },
                load_ms: milliseconds(info.load),
                longest_submit_ms: longest_submit.map(milliseconds),
            })
        })
    }

    /// Token ids of a text; `special` turns the names of control tokens in it into those tokens.
    pub fn tokenize(&self, text: &str, special: bool) -> Result<Vec<u32>, JsValue> {
        let specials = if special { Specials::Parse } else { Specials::Text };
        self.with(|session| session.tokenizer().encode(text, specials).map_err(|failure| error::engine(&failure.into())))
    }

    /// Token ids of a text that is to be continued, after the token that the model expects first.
    #[wasm_bindgen(js_name = textTokens)]
    pub fn text_tokens(&self, text: &str) -> Result<Vec<u32>, JsValue> {
        self.with(|session| session.text_tokens(text).map_err(|failure| error::engine(&failure)))
    }

    /// The text of token ids.
    pub fn detokenize(&self, ids: &[u32]) -> Result<String, JsValue> {
        self.with(|session| Ok(session.tokenizer().decode(ids)))
    }

    /// Token ids of a conversation, ready for its answer. `options` are variables of the model's template, such as `tools`.
    #[wasm_bindgen(js_name = chatTokens)]
    pub fn chat_tokens(&self, messages: JsValue, options: JsValue) -> Result<Vec<u32>, JsValue> {
        let messages: Vec<MessageRequest> = from_js(messages)?;
        let messages: Vec<Message> =
            messages.into_iter().map(|message| Message { extra: message.extra, ..Message::new(message.role, message.content) }).collect();
        let extra: Option<Map<String, Value>> = from_js(options)?;
        let options = ChatOptions { add_generation_prompt: true, now: now(), extra: extra.unwrap_or_default() };
        self.with(|session| session.chat_tokens(&messages, &options).map_err(|failure| error::engine(&failure)))
    }

    /// Answers `prompt`. `on_token` is called with id, text and logarithm of probability of each token; tokens of `generated`
    /// were given before a device was lost and are gone on from.
    pub async fn generate(
        &self,
        prompt: Vec<u32>,
        generated: Vec<u32>,
        options: JsValue,
        cancel: &Cancel,
        on_token: Function,
    ) -> Result<JsValue, JsValue> {
        let request: Option<GenerateRequest> = from_js(options)?;
        let mut options = request.unwrap_or_default().options()?;
        let stop = cancel.clone();
        options.cancel = EngineCancel::when(move || stop.0.get());
        let mut session = self.take()?;
        let finished = answer(&mut session, self.sequence, [&prompt, &generated], options, &on_token).await;
        self.put_back(session);
        match finished {
            Ok(finished) => to_js(&finished),
            Err(failure) => Err(told(&self.rejection, &failure)),
        }
    }

    /// Logits after each token from number `from` on, one row of the vocabulary's size after another: for tests and tools.
    pub async fn logits(&self, tokens: Vec<u32>, from: u32) -> Result<Float32Array, JsValue> {
        let mut session = self.take()?;
        session.truncate(self.sequence, 0);
        let rows: Vec<RowInput<'_>> = tokens.iter().map(|&token| RowInput::token(self.sequence, token)).collect();
        let outputs: Vec<u32> = (from..tokens.len() as u32).collect();
        let logits = session.forward(&rows, &outputs).await;
        self.put_back(session);
        let logits = logits.map_err(|failure| error::engine(&failure))?.concat();
        Ok(Float32Array::from(&logits[..]))
    }

    /// Vectors of texts, one after the other, all of one length; `prompt` is the model's name for what the texts are for.
    pub async fn embed(&self, texts: Vec<String>, prompt: Option<String>) -> Result<Float32Array, JsValue> {
        let mut session = self.take()?;
        let vectors = embed(&mut session, &texts, prompt.as_deref()).await;
        self.put_back(session);
        let vectors = vectors.map_err(|failure| told(&self.rejection, &failure))?.concat();
        Ok(Float32Array::from(&vectors[..]))
    }

    /// Tokens in the cache.
    #[wasm_bindgen(js_name = contextUsed)]
    pub fn context_used(&self) -> Result<usize, JsValue> {
        self.with(|session| {
            let tokens = session.cached_tokens(self.sequence).map_err(|failure| error::engine(&failure))?;
            Ok(tokens.len())
        })
    }

    /// Destroys the device under the model, as a driver's reset does.
    #[wasm_bindgen(js_name = loseDevice)]
    pub fn lose_device(&self) {
        if let Some(handle) = &self.handle {
            handle.destroy();
        }
    }

    /// Frees the model's memory on the device, and the device. Every later call is refused.
    pub fn dispose(&self) {
        self.disposed.set(true);
        self.session.borrow_mut().take();
        self.lose_device();
    }

    fn with<T>(&self, read: impl FnOnce(&mut Session) -> Result<T, JsValue>) -> Result<T, JsValue> {
        match &mut *self.session.borrow_mut() {
            Some(session) => read(session),
            None => Err(self.missing()),
        }
    }

    fn take(&self) -> Result<Session, JsValue> {
        self.session.borrow_mut().take().ok_or_else(|| self.missing())
    }

    fn put_back(&self, session: Session) {
        if !self.disposed.get() {
            *self.session.borrow_mut() = Some(session);
        }
    }

    fn missing(&self) -> JsValue {
        if self.disposed.get() { error::error("disposed", "the model was disposed of: load it again") } else { error::busy() }
    }
}

async fn embed(session: &mut Session, texts: &[String], prompt: Option<&str>) -> Result<Vec<Vec<f32>>, EngineError> {
    let tokens: Result<Vec<_>, EngineError> = texts.iter().map(|text| Ok(session.embedding_tokens(text, prompt)?.ids)).collect();
    session.embed_tokens(&tokens?).await
}

async fn answer(
    session: &mut Session,
    sequence: SequenceId,
    [prompt, generated]: [&[u32]; 2],
    options: parhelion::session::GenerateOptions,
    on_token: &Function,
) -> Result<Finished, EngineError> {
    let mut generation = session.resume(sequence, prompt, generated, options).await?;
    while let Some(token) = generation.next().await? {
        // What the caller's function throws must not leave the answer half done.
        let _ = on_token.call3(&JsValue::NULL, &token.id.into(), &token.text.into(), &token.logprob.into());
    }
    Ok(Finished {
        reason: generation.finish_reason().map_or("cancelled", |reason| reason.name()),
        rest: generation.rest().to_owned(),
        timings: generation.timings().into(),
    })
}

/// The user's local time, which templates may write into the prompt.
fn now() -> Option<CivilTime> {
    let date = js_sys::Date::new_0();
    let part = |value: u32| u8::try_from(value).ok();
    let year = u16::try_from(date.get_full_year()).ok()?;
    let (month, day) = (part(date.get_month() + 1)?, part(date.get_date())?);
    CivilTime::new(year, month, day, part(date.get_hours())?, part(date.get_minutes())?, part(date.get_seconds())?)
}
