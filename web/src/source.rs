//! Model files whose bytes JavaScript reads: from the origin's private file system, or from a file that the user picked.

use std::{borrow::Cow, cell::RefCell, future::Future, pin::Pin, rc::Rc};

use js_sys::{Promise, Uint8Array};
use parhelion::session::EngineError;
use parhelion_loader::{LoadError, Source};
use wasm_bindgen::{JsCast, JsValue, prelude::wasm_bindgen};
use wasm_bindgen_futures::JsFuture;

use crate::error;

#[wasm_bindgen(typescript_custom_section)]
const BYTE_SOURCE: &str = "
/** Random access to a model file. */
export interface ByteSource {
  readonly name: string;
  readonly size: number;
  /** Exactly `length` bytes from `offset`; rejects if they cannot be had. */
  read(offset: number, length: number): Promise<Uint8Array>;
}
";

#[wasm_bindgen]
extern "C" {
    /// What JavaScript reads a file with.
    #[wasm_bindgen(typescript_type = "ByteSource")]
    pub type ByteSource;

    #[wasm_bindgen(method, getter)]
    fn name(this: &ByteSource) -> String;

    #[wasm_bindgen(method, getter)]
    fn size(this: &ByteSource) -> f64;

    #[wasm_bindgen(method, catch)]
    fn read(this: &ByteSource, offset: f64, length: f64) -> Result<Promise, JsValue>;
}

/// What opening or reading a file was rejected with: it says more than the engine's error can hold. All files of a model share it.
#[derive(Debug, Default, Clone)]
pub(crate) struct Rejection(Rc<RefCell<Option<JsValue>>>);

impl Rejection {
    /// Keeps it and gives its message.
    pub(crate) fn keep(&self, rejected: JsValue) -> String {
        let message = rejected.dyn_ref::<js_sys::Error>().map(|error| String::from(error.message()));
        *self.0.borrow_mut() = Some(rejected);
        message.unwrap_or_else(|| "it was refused without a reason".to_owned())
    }
}

/// The source's own error where reading failed: it knows more than the engine's.
pub(crate) fn told(rejection: &Rejection, failure: &EngineError) -> JsValue {
    match rejection.0.borrow_mut().take() {
        Some(rejected) => rejected,
        None => error::engine(failure),
    }
}

/// A [`ByteSource`] as the loader reads it.
pub(crate) struct JsSource {
    source: ByteSource,
    name: String,
    len: u64,
    rejection: Rejection,
}

impl JsSource {
    /// None if the size is no whole number of bytes that numbers can count.
    pub(crate) fn new(source: ByteSource, rejection: Rejection) -> Option<Self> {
        const MOST: f64 = 9_007_199_254_740_992.0; // 2^53: every whole number up to here has an f64
        let size = source.size();
        let whole = size.fract() == 0.0 && (0.0..=MOST).contains(&size);
        whole.then(|| Self { name: source.name(), len: size as u64, rejection, source })
    }

    async fn read_bytes(&self, offset: u64, len: usize) -> Result<Vec<u8>, LoadError> {
        let failed = |reason: String| LoadError::Read { file: self.name.clone(), offset, len: len as u64, reason };
        if offset.checked_add(len as u64).is_none_or(|end| end > self.len) {
            return Err(failed(format!("the file ends at byte {}", self.len)));
        }
        let answer = match self.source.read(offset as f64, len as f64) {
            Ok(promise) => JsFuture::from(promise).await,
            Err(thrown) => Err(thrown),
        };
        let bytes: Uint8Array = answer.and_then(JsCast::dyn_into).map_err(|rejected| failed(self.rejection.keep(rejected)))?;
        if bytes.length() as usize != len {
            return Err(failed(format!("the source gave {} bytes", bytes.length())));
        }
        Ok(bytes.to_vec())
    }
}

impl Source for JsSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.len
    }

    fn read<'a>(&'a self, offset: u64, len: usize) -> Pin<Box<dyn Future<Output = Result<Cow<'a, [u8]>, LoadError>> + 'a>> {
        Box::pin(async move { self.read_bytes(offset, len).await.map(Cow::Owned) })
    }
}
