//! Stop strings in streamed text: what may be the beginning of one is held back until it is known not to be.

/// Watches streamed text for stop strings.
#[derive(Debug, Clone, Default)]
pub(crate) struct StopStrings {
    strings: Vec<String>,
    held: String,
}

/// What came of a piece of text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Passed {
    /// Text that can be shown.
    pub text: String,
    /// Whether a stop string was met; it and what follows are dropped.
    pub stopped: bool,
}

impl StopStrings {
    /// Watches for `strings`; empty ones are ignored.
    pub(super) fn new(strings: &[String]) -> Self {
        Self { strings: strings.iter().filter(|s| !s.is_empty()).cloned().collect(), held: String::new() }
    }

    /// Adds text and returns what can be shown.
    pub(super) fn push(&mut self, text: &str) -> Passed {
        self.held.push_str(text);
        if let Some(at) = self.strings.iter().filter_map(|stop| self.held.find(stop.as_str())).min() {
            let text = self.held[..at].to_owned();
            self.held.clear();
            return Passed { text, stopped: true };
        }
        let keep = self.strings.iter().map(|stop| overlap(&self.held, stop)).max().unwrap_or(0);
        let text = self.held.drain(..self.held.len() - keep).collect();
        Passed { text, stopped: false }
    }

    /// What was held back, once no more text comes.
    pub(super) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// Bytes of the longest end of `text` that is a beginning of `stop`.
fn overlap(text: &str, stop: &str) -> usize {
    let ends = stop.char_indices().map(|(at, _)| at).skip(1).filter(|&len| text.ends_with(&stop[..len]));
    ends.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(stops: &[&str], pieces: &[&str]) -> (String, bool) {
        let mut watch = StopStrings::new(&stops.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
        let mut shown = String::new();
        for piece in pieces {
            let passed = watch.push(piece);
            shown.push_str(&passed.text);
            if passed.stopped {
                return (shown, true);
            }
        }
        shown.push_str(&watch.finish());
        (shown, false)
    }

    #[test]
    fn a_stop_string_across_pieces_is_cut() {
        assert_eq!(run(&["\n\nUser:"], &["Hello\n", "\nUs", "er: hi"]), ("Hello".into(), true));
    }

    #[test]
    fn a_beginning_that_comes_to_nothing_is_shown() {
        assert_eq!(run(&["END"], &["E", "N", "E", "N", "T"]), ("ENENT".into(), false));
    }

    #[test]
    fn the_earliest_of_several_wins() {
        assert_eq!(run(&["c", "ab"], &["xabc"]), ("x".into(), true));
    }

    #[test]
    fn characters_stay_whole() {
        assert_eq!(run(&["日本"], &["日", "曜"]), ("日曜".into(), false));
        assert_eq!(run(&["日本"], &["今日", "本"]), ("今".into(), true));
    }
}
