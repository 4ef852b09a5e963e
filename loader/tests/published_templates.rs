//! Published chat templates against the `transformers` library: the same bytes for the same conversations.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is amiss")]

use parhelion_loader::chat::CivilTime;
use parhelion_loader::{ChatOptions, ChatTemplate, HubFiles, LoadError, Message, Prompt};
use serde_json::{Value, json};

/// Written by `templates.py` beside it, with the templates.
const RENDERED: &str = include_str!("fixtures/templates/rendered.json");

fn template(source: &str, tokens: &Value) -> ChatTemplate {
    let tokenizer = json!({ "added_tokens": [{ "id": 0, "content": "<s>", "special": true }] }).to_string();
    let config = tokens.to_string();
    let files = HubFiles {
        name: "model",
        tokenizer_json: Some(tokenizer.as_bytes()),
        tokenizer_config: Some(config.as_bytes()),
        chat_template: Some(source.as_bytes()),
        ..HubFiles::default()
    };
    ChatTemplate::from_hub(&files).unwrap().unwrap()
}

fn message(fields: &Value) -> Message {
    let mut extra = fields.as_object().unwrap().clone();
    let mut text = |name| extra.shift_remove(name).unwrap().as_str().unwrap().to_owned();
    Message { role: text("role"), content: text("content"), extra }
}

fn render(template: &ChatTemplate, case: &Value) -> Result<Prompt, LoadError> {
    let messages: Vec<Message> = case["messages"].as_array().unwrap().iter().map(message).collect();
    let mut extra = case["variables"].as_object().unwrap().clone();
    let add_generation_prompt = extra.shift_remove("add_generation_prompt").is_some_and(|value| value == true);
    let options = ChatOptions { add_generation_prompt, now: CivilTime::new(2024, 11, 22, 13, 5, 9), extra };
    template.render(&messages, &options)
}

fn fnv1a(text: &str) -> String {
    let digest = text.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |digest, byte| (digest ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3));
    format!("{digest:016x}")
}

#[test]
fn published_templates_render_as_transformers_renders_them() {
    let fixture: Value = serde_json::from_str(RENDERED).unwrap();
    let cases = fixture["cases"].as_array().unwrap();
    let mut wrong = Vec::new();
    for (name, expected) in fixture["templates"].as_object().unwrap() {
        let path = format!("{}/tests/fixtures/templates/{name}.jinja", env!("CARGO_MANIFEST_DIR"));
        let template = template(&std::fs::read_to_string(path).unwrap(), &fixture["tokens"]);
        for (number, (case, expected)) in cases.iter().zip(expected.as_array().unwrap()).enumerate() {
            let rendered = render(&template, case);
            if let Some(directory) = std::env::var_os("PARHELION_DUMP_PROMPTS") {
                let text = rendered.as_ref().map_or_else(ToString::to_string, |prompt| prompt.text().to_owned());
                std::fs::write(std::path::Path::new(&directory).join(format!("{name}.{number}")), text).unwrap();
            }
            let as_expected = match (&rendered, expected["refused"].as_str()) {
                (Ok(prompt), None) => fnv1a(prompt.text()) == expected["digest"].as_str().unwrap(),
                (Err(error), Some("TemplateError")) => error.to_string().contains("the template refuses this conversation"),
                (Ok(_), Some("TemplateError")) | (Err(_), None) => false,
                // Python's own errors, such as iterating over tools that are None, which is an empty list here.
                (_, Some(_)) => true,
            };
            if !as_expected {
                let got = rendered.map_or_else(|error| error.to_string(), |prompt| format!("{} bytes", prompt.text().len()));
                wrong.push(format!("{name}, conversation {number}: {got}, expected {expected}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}
