//! Errors as JavaScript sees them: an `Error` whose `code` says which kind it is.

use parhelion::{exec::ExecError, models::ModelError, plan::PlanError, session::EngineError, weights::WeightError};
use parhelion_loader::LoadError;
use wasm_bindgen::JsValue;

/// An `Error` with a `code`.
pub(crate) fn error(code: &str, message: &str) -> JsValue {
    let error = js_sys::Error::new(message);
    // A fresh object takes any field.
    let _ = js_sys::Reflect::set(&error, &"code".into(), &code.into());
    error.into()
}

/// An engine's error with its code.
pub(crate) fn engine(failure: &EngineError) -> JsValue {
    error(code(failure), &failure.to_string())
}

/// An option that is not what it should be.
pub(crate) fn option(failure: impl std::fmt::Display) -> JsValue {
    error("option", &failure.to_string())
}

/// The model is answering, or gone.
pub(crate) fn busy() -> JsValue {
    error("busy", "the model is busy with another answer: wait for it or stop it")
}

fn code(failure: &EngineError) -> &'static str {
    match failure {
        EngineError::Load(failure) => load_code(failure),
        EngineError::Model(ModelError::Load(failure)) => load_code(failure),
        EngineError::Model(ModelError::Weight(failure)) | EngineError::Weight(failure) => weight_code(failure),
        EngineError::Model(_) => "unsupported-model",
        EngineError::Plan(PlanError::Limit(failure)) | EngineError::Exec(failure) => exec_code(failure),
        EngineError::WritesNothing { .. } | EngineError::EmbedsNothing { .. } => "unsupported-model",
        EngineError::EmptyPrompt | EngineError::Option { .. } | EngineError::UnknownToken { .. } => "option",
        EngineError::EmptyText { .. } | EngineError::UnknownTextPrompt { .. } => "option",
        EngineError::PromptTooLong { .. } | EngineError::TextTooLong { .. } => "prompt-too-long",
        EngineError::NoChatTemplate { .. } => "no-chat-template",
        _ => "internal",
    }
}

fn load_code(failure: &LoadError) -> &'static str {
    match failure {
        LoadError::Unsupported { .. } => "unsupported-model",
        LoadError::Template { .. } => "template",
        LoadError::Read { .. } => "storage",
        LoadError::NotFound { .. } | LoadError::MissingFile { .. } => "not-found",
        _ => "bad-file",
    }
}

fn weight_code(failure: &WeightError) -> &'static str {
    match failure {
        WeightError::Load(failure) => load_code(failure),
        WeightError::Exec(failure) => exec_code(failure),
        WeightError::Format { .. } => "unsupported-model",
        WeightError::Row { .. } => "over-limit",
        _ => "bad-file",
    }
}

fn exec_code(failure: &ExecError) -> &'static str {
    match failure {
        ExecError::NoDevice { .. } => "no-device",
        ExecError::MissingFeature { .. } => "missing-feature",
        ExecError::OverLimit { .. } => "over-limit",
        ExecError::OutOfMemory { .. } => "out-of-memory",
        ExecError::DeviceLost { .. } => "device-lost",
        ExecError::WrongResults { .. } => "wrong-results",
        _ => "internal",
    }
}
