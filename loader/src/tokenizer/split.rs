//! Splitting text by a pattern, in linear time.

use std::ops::Range;

use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson;
use regex_automata::util::pool::Pool;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input, PatternID};

/// The longest pattern, in bytes; the longest published one (DeepSeek LLM's letters) has about 1,100.
const MAX_PATTERN: usize = 8 << 10;
/// Bytes that a compiled pattern may take; published ones take under 400 KiB.
const MAX_COMPILED: usize = 1 << 20;
/// Bytes that the states of an automaton may take before it begins anew; published patterns stay below.
const MAX_STATES: usize = 4 << 20;
/// An automaton that has begun anew so often, and made a new state for every few bytes of text, gives up: making
/// a state takes far longer than a step.
const MAX_RESTARTS: usize = 2;
const LEAST_BYTES_PER_STATE: usize = 8;
/// Steps of the automaton for each byte of text. Published patterns take two to four; a pattern made to scan the rest
/// of the text for every match runs out.
const STEPS_PER_BYTE: usize = 64;

/// The published patterns' last resort: white space but for its last character where a word follows, which then begins
/// the word. Looking ahead needs a backtracking engine, whose time a hostile text can drive up; here `\s+` is matched
/// and the character given back.
const FREED: &str = r"\s+(?!\S)";

/// Possessive repetition in published patterns, and the plain one that matches the same: what is repeated cannot begin
/// what follows, so that there is nothing to give back.
const PLAIN: [(&str, &str); 2] =
    [(r"[^\r\n\p{L}\p{N}]?+\p{L}", r"[^\r\n\p{L}\p{N}]?\p{L}"), (r"[^\s\p{L}\p{N}]++[\r\n]", r"[^\s\p{L}\p{N}]+[\r\n]")];

/// What the two automata keep between searches.
type Caches = (Cache, Cache);
type MakeCaches = Box<dyn Fn() -> Caches + Send + Sync>;

/// A regular expression that tokenizers split by, with the meaning that the Oniguruma library gives it, and none but
/// the one look-ahead that published patterns have.
pub(super) struct Pattern {
    forward: Box<DFA>,
    backward: Box<DFA>,
    caches: Pool<Caches, MakeCaches>,
    /// The alternative that gives its last character back.
    freed: Option<PatternID>,
}

impl Pattern {
    /// Compiles `source`.
    ///
    /// # Errors
    /// What is wrong with it, or not supported: look-around other than `\s+(?!\S)` as the last alternative but one,
    /// back-references, possessive repetition, word boundaries, matches of nothing, and patterns over the limits.
    pub(super) fn new(source: &str) -> Result<Self, String> {
        if source.len() > MAX_PATTERN {
            return Err(format!("the pattern has {} bytes; expected at most {MAX_PATTERN}", source.len()));
        }
        let plain = PLAIN.iter().fold(source.to_owned(), |source, (possessive, plain)| source.replace(possessive, plain));
        let source = plain.as_str();
        if has_possessive(source) {
            return Err("possessive repetition (`?+`, `*+`, `++`) is not supported".to_owned());
        }
        let (alternatives, freed) = alternatives(source)?;
        let forward = Box::new(compile(&alternatives, false)?);
        let backward = Box::new(compile(&alternatives, true)?);
        if forward.get_nfa().has_empty() {
            return Err("the pattern matches nothing at all, which would split between all characters".to_owned());
        }
        let (one, other) = (forward.clone(), backward.clone());
        let caches = Pool::new(Box::new(move || (one.create_cache(), other.create_cache())) as MakeCaches);
        Ok(Self { forward, backward, caches, freed })
    }

    /// A pattern that finds `text` itself.
    ///
    /// # Errors
    /// As [`Pattern::new`].
    pub(super) fn literal(text: &str) -> Result<Self, String> {
        let escaped: String = text.chars().flat_map(|c| if c.is_ascii_punctuation() { vec!['\\', c] } else { vec![c] }).collect();
        Self::new(&escaped)
    }

    /// The matches in `text` from left to right.
    ///
    /// # Errors
    /// Says that the pattern takes more than linear time on this text.
    pub(super) fn find_all(&self, text: &str) -> Result<Vec<Range<usize>>, String> {
        let mut caches = self.caches.get();
        let (forward, backward) = &mut *caches;
        let mut search = Search { pattern: self, text, steps: text.len().saturating_mul(STEPS_PER_BYTE).saturating_add(4096) };
        let mut found = Vec::new();
        let mut position = 0;
        while position < text.len() {
            let Some((alternative, end)) = search.end(forward, position)? else {
                break;
            };
            let start = search.start(backward, alternative, position..end)?;
            let end = if Some(alternative) == self.freed { freed_end(text, start..end) } else { end };
            found.push(start..end);
            position = end;
        }
        Ok(found)
    }
}

/// Where a run of white space ends once its last character is given back: not at the end of the text, and not a run of
/// one character, which stays a word of its own.
fn freed_end(text: &str, run: Range<usize>) -> usize {
    let last = text[run.clone()].char_indices().next_back().map_or(0, |(at, _)| at);
    if run.end == text.len() || last == 0 { run.end } else { run.start + last }
}

/// One pass over a text, with the steps that are left to it.
struct Search<'p, 't> {
    pattern: &'p Pattern,
    text: &'t str,
    steps: usize,
}

impl Search<'_, '_> {
    fn step(&mut self) -> Result<(), String> {
        self.steps = self.steps.checked_sub(1).ok_or_else(|| {
            format!("the splitting pattern takes more than {STEPS_PER_BYTE} steps a byte on a text of {} bytes", self.text.len())
        })?;
        Ok(())
    }

    /// The end of the leftmost match from `position` on, and the alternative that matched: the first that can.
    fn end(&mut self, cache: &mut Cache, position: usize) -> Result<Option<(PatternID, usize)>, String> {
        let dfa = &self.pattern.forward;
        let input = Input::new(self.text).range(position..);
        let mut state = dfa.start_state_forward(cache, &input).map_err(|error| error.to_string())?;
        let mut found = None;
        cache.search_start(position);
        // A match shows one byte after its end.
        for (at, &byte) in self.text.as_bytes().iter().enumerate().skip(position) {
            self.step()?;
            state = dfa.next_state(cache, state, byte).map_err(|error| error.to_string())?;
            if state.is_match() {
                found = Some((dfa.match_pattern(cache, state, 0), at));
            } else if state.is_dead() {
                cache.search_finish(at);
                return Ok(found);
            } else if state.is_quit() {
                return Err(format!("the splitting pattern cannot go past byte {byte:#04x}"));
            }
        }
        cache.search_finish(self.text.len());
        state = dfa.next_eoi_state(cache, state).map_err(|error| error.to_string())?;
        if state.is_match() {
            found = Some((dfa.match_pattern(cache, state, 0), self.text.len()));
        }
        Ok(found)
    }

    /// The start of the match of `alternative` that ends where `range` does.
    fn start(&mut self, cache: &mut Cache, alternative: PatternID, range: Range<usize>) -> Result<usize, String> {
        let dfa = &self.pattern.backward;
        let input = Input::new(self.text).range(range.clone()).anchored(Anchored::Pattern(alternative));
        let mut state = dfa.start_state_reverse(cache, &input).map_err(|error| error.to_string())?;
        let mut start = range.end;
        cache.search_start(range.end);
        for at in range.clone().rev() {
            self.step()?;
            state = dfa.next_state(cache, state, self.text.as_bytes()[at]).map_err(|error| error.to_string())?;
            if state.is_match() {
                start = at + 1;
            } else if state.is_dead() {
                cache.search_finish(at);
                return Ok(start);
            }
        }
        cache.search_finish(range.start);
        state = match range.start {
            0 => dfa.next_eoi_state(cache, state),
            before => dfa.next_state(cache, state, self.text.as_bytes()[before - 1]),
        }
        .map_err(|error| error.to_string())?;
        Ok(if state.is_match() { range.start } else { start })
    }
}

/// An automaton for `alternatives`; `backward` reads from a match's end and finds the longest.
fn compile(alternatives: &[&str], backward: bool) -> Result<DFA, String> {
    let kind = if backward { regex_automata::MatchKind::All } else { regex_automata::MatchKind::LeftmostFirst };
    DFA::builder()
        // Oniguruma's `^` and `$` mean lines.
        .syntax(syntax::Config::new().multi_line(true).nest_limit(64))
        .thompson(thompson::Config::new().reverse(backward).nfa_size_limit(Some(MAX_COMPILED)))
        .configure(
            DFA::config()
                .match_kind(kind)
                .starts_for_each_pattern(backward)
                .skip_cache_capacity_check(true)
                .cache_capacity(MAX_STATES)
                .minimum_cache_clear_count(Some(MAX_RESTARTS))
                .minimum_bytes_per_state(Some(LEAST_BYTES_PER_STATE)),
        )
        .build_many(alternatives)
        .map_err(|error| match std::error::Error::source(&error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        })
}

/// The alternatives of `source` around [`FREED`], which becomes `\s+`, and the one which that is.
fn alternatives(source: &str) -> Result<(Vec<&str>, Option<PatternID>), String> {
    let unsupported = || format!("look-around other than `{FREED}` before a last `\\s+` is not supported");
    let Some(at) = source.find(FREED) else {
        return Ok((vec![source], None));
    };
    let (before, after) = (&source[..at], &source[at + FREED.len()..]);
    let closes = is_whole(before.strip_suffix('|').unwrap_or(before));
    if !closes || !matches!(after, "" | r"|\s+" | r"|\s") {
        return Err(unsupported());
    }
    match before.strip_suffix('|') {
        Some(before) => Ok((vec![before, r"\s+"], Some(PatternID::new_unchecked(1)))),
        None if before.is_empty() => Ok((vec![r"\s+"], Some(PatternID::ZERO))),
        None => Err(unsupported()),
    }
}

/// Whether no group or class of `source` is left open.
fn is_whole(source: &str) -> bool {
    let (mut groups, mut classes) = (0_usize, 0_usize);
    let mut characters = source.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => {
                characters.next();
            }
            '[' => classes += 1,
            ']' => classes = classes.saturating_sub(1),
            '(' if classes == 0 => groups += 1,
            ')' if classes == 0 => groups = groups.saturating_sub(1),
            _ => {}
        }
    }
    groups == 0 && classes == 0
}

/// Whether a repetition is followed by `+`: Oniguruma then gives nothing back, where the engine here would repeat the
/// repetition.
fn has_possessive(source: &str) -> bool {
    let mut classes = 0_usize;
    let mut repeats = false;
    let mut characters = source.chars();
    while let Some(character) = characters.next() {
        let repeated = repeats;
        repeats = false;
        match character {
            '\\' => {
                characters.next();
            }
            '[' => classes += 1,
            ']' => classes = classes.saturating_sub(1),
            '+' if classes == 0 && repeated => return true,
            '+' | '*' | '?' if classes == 0 => repeats = true,
            _ => {}
        }
    }
    false
}
