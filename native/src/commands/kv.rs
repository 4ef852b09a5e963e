//! What the KV cache of a model takes, by groups of layers.

use std::io::{self, Write};

use parhelion::plan::KvGroup;
use parhelion::session::Prepared;
use serde_json::{Value, json};

use crate::progress::bytes;

/// The KV cache of one sequence.
pub(super) struct KvReport {
    context: u32,
    format: &'static str,
    /// With recurrent state.
    bytes: u64,
    /// Those that have layers.
    groups: Vec<KvGroup>,
}

impl KvReport {
    pub(super) fn new(prepared: &Prepared) -> Self {
        let groups = prepared.kv_groups().iter().filter(|group| group.layers > 0).copied().collect();
        Self { context: prepared.context(), format: prepared.kv_format().name(), bytes: prepared.memory().kv, groups }
    }

    /// Bytes of recurrent state, whose size does not depend on the context.
    fn state(&self) -> u64 {
        self.groups.iter().fold(self.bytes, |left, group| left.saturating_sub(group.bytes))
    }

    pub(super) fn print(&self, out: &mut impl Write, indent: &str) -> io::Result<()> {
        let Self { context, format, .. } = self;
        writeln!(out, "{indent}KV cache in {format} for {context} tokens of context: {}", bytes(self.bytes))?;
        for group in &self.groups {
            let layers = if group.layers == 1 { "1 layer".to_owned() } else { format!("{} layers", group.layers) };
            let kept = match group.window {
                Some(window) => format!(" with a window of {window}, the last {} tokens", group.entries().min(*context)),
                None => ", all tokens".to_owned(),
            };
            writeln!(out, "{indent}  {layers}{kept}: {}", bytes(group.bytes))?;
        }
        if self.state() > 0 {
            writeln!(out, "{indent}  recurrent state: {}", bytes(self.state()))?;
        }
        Ok(())
    }

    pub(super) fn as_json(&self) -> Value {
        let group = |group: &KvGroup| {
            json!({
                "layers": group.layers, "window": group.window, "tokens": group.entries().min(self.context), "bytes": group.bytes,
            })
        };
        json!({
            "context": self.context, "format": self.format, "bytes": self.bytes, "state_bytes": self.state(),
            "groups": self.groups.iter().map(group).collect::<Vec<_>>(),
        })
    }
}
