//! The template language as published templates expect it, which is as the `transformers` library sets up Jinja.

use std::borrow::Cow;
use std::sync::LazyLock;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State};
use minijinja_contrib::pycompat::unknown_method_callback;
use regex::{Captures, Regex};

use super::json;
use super::limits;
use super::time::CivilTime;

/// Nesting of blocks, macros and calls; a call counts about ten. wasm32's stack is 1 MiB.
const RECURSION_LIMIT: usize = 200;

/// An environment with `templates`, each a name and a source.
pub(super) fn build(templates: impl Iterator<Item = (&'static str, String)>) -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_recursion_limit(RECURSION_LIMIT);
    // Prompts are no HTML.
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_unknown_method_callback(python_method);
    environment.add_filter("tojson", to_json);
    environment.add_test("iterable", is_iterable);
    environment.add_function("raise_exception", raise_exception);
    environment.add_filter(limits::NO_LIST, limits::no_list);
    environment.add_function(limits::CHECK, limits::check_values);
    for (name, source) in templates {
        environment.add_template_owned(name, limits::checked(&source)?)?;
    }
    Ok(environment)
}

/// The template engine's budget: instructions, and one for each 64 bytes of data made. It bounds time and memory
/// (about 7 MiB and 128 times the input). Published templates take about 200 instructions a message, and
/// one or two for each byte of a tool's description.
pub(super) fn fuel(messages: usize, input_size: usize) -> u64 {
    100_000 + 2_000 * messages as u64 + 2 * input_size as u64
}

/// The most bytes that a template may write: tool descriptions and wrapping are written once or twice a message.
pub(super) fn output_limit(input_size: usize) -> usize {
    input_size.saturating_mul(8).saturating_add(4 << 20)
}

/// `source` without `{% generation %}` and `{% endgeneration %}`, which mark the answers' text for training and change
/// nothing in the output; each becomes a block that always runs, so that white space is trimmed as around any tag.
pub(super) fn without_generation_tags(source: &str) -> Cow<'_, str> {
    static TAGS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\{%([-+]?)\s*(end)?generation\s*([-+]?)%\}").ok());
    let Some(tags) = TAGS.as_ref() else { return Cow::Borrowed(source) };
    tags.replace_all(source, |tag: &Captures| {
        let block = if tag.get(2).is_some() { "endif" } else { "if true" };
        format!("{{%{} {block} {}%}}", &tag[1], &tag[3])
    })
}

/// `strftime_now(format)` for a given time.
pub(super) fn strftime_now(now: CivilTime) -> Value {
    Value::from_function(move |format: &str| now.format(format).map_err(|reason| Error::new(ErrorKind::InvalidOperation, reason)))
}

/// `raise_exception(message)`: how templates refuse a conversation.
fn raise_exception(message: &str) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, format!("the template refuses this conversation: {message}")))
}

/// Python's methods. What they make is paid for first: a string joined by itself has the square of its length.
fn python_method(state: &mut State, value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    if let Some(text) = value.as_str() {
        let length = |at: usize| args.get(at).map_or(0, |arg| arg.as_str().map_or_else(|| arg.len().unwrap_or(0), str::len));
        let made = match method {
            "join" => length(0).saturating_mul(text.len()),
            "replace" => (text.len() / length(0).max(1) + 1).saturating_mul(length(1)),
            _ => 0,
        };
        let wide = text.as_bytes().windows(5).any(|five| five.iter().all(u8::is_ascii_digit));
        if method == "format" && (wide || text.contains(":{")) {
            return Err(Error::new(
                ErrorKind::InvalidOperation,
                "format: widths over 9999, and widths that are arguments, are not supported",
            ));
        }
        state.consume_fuel((text.len().saturating_add(made) / 64) as u64)?;
    }
    unknown_method_callback(state, value, method, args)
}

/// `value is iterable`: as in Python, where None is not.
fn is_iterable(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable | ValueKind::Map | ValueKind::String | ValueKind::Undefined)
}

/// `value | tojson(indent=None, ensure_ascii=False, sort_keys=False)`, as Python's `json.dumps` writes.
fn to_json(state: &State, value: &Value, options: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let style = json::Style {
        indent,
        ascii: options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
        sort_keys: options.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
    };
    // Separators other than the default are rare and only ever the default ones written out.
    let _: Option<Value> = options.get("separators")?;
    options.assert_all_used()?;
    json::write(state, value, &style)
}
