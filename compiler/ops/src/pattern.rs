//! Regular expressions as tables of automata.
//!
//! The syntax is that of the crate `regex-automata`, which has what RE2 has; but as in RE2, words, digits and spaces are
//! ASCII's (<https://github.com/google/re2/wiki/Syntax>).

use crate::error::{Result, invalid, unsupported};
use nnc_ir::Tensor;
use regex_automata::dfa::{Automaton as _, StartKind, dense};
use regex_automata::util::primitives::StateID;
use regex_automata::{Anchored, Input, MatchKind};
use rustc_hash::FxHashMap;

/// The most memory that making an automaton may take, and that it may.
const MOST_BYTES: usize = 1 << 24;

/// The tables of [`nnc_ir::Op::RunAutomaton`], and which states are those of strings that match.
pub(crate) struct Automaton {
    pub classes: Tensor,
    pub next: Tensor,
    pub accepts: Vec<bool>,
}

/// The pattern with the classes that RE2 restricts to ASCII written out.
fn ascii_classes(pattern: &str) -> String {
    let mut text = String::with_capacity(pattern.len());
    let mut characters = pattern.chars();
    // How deep in brackets, and whether the next character is the first within.
    let (mut depth, mut first) = (0usize, false);
    while let Some(c) = characters.next() {
        let opens = c == '[' && (depth == 0 || !first);
        match c {
            '\\' => {
                let Some(escaped) = characters.next() else {
                    text.push(c);
                    break;
                };
                let (members, negated) = match escaped {
                    'w' | 'W' => ("0-9A-Za-z_", escaped == 'W'),
                    'd' | 'D' => ("0-9", escaped == 'D'),
                    's' | 'S' => (r"\t\n\f\r ", escaped == 'S'),
                    'b' | 'B' if depth == 0 => {
                        text.push_str(&format!(r"(?-u:\{escaped})"));
                        continue;
                    }
                    _ => {
                        text.extend([c, escaped]);
                        first = false;
                        continue;
                    }
                };
                match (depth, negated) {
                    (_, true) => text.push_str(&format!("[^{members}]")),
                    (0, false) => text.push_str(&format!("[{members}]")),
                    (_, false) => text.push_str(members),
                }
            }
            '[' => {
                depth += usize::from(opens);
                text.push(c);
            }
            ']' if !first => {
                depth = depth.saturating_sub(1);
                text.push(c);
            }
            _ => text.push(c),
        }
        first = opens || (first && c == '^');
    }
    text
}

/// The automaton that says whether a pattern matches all of a string.
pub(crate) fn automaton(pattern: &str) -> Result<Automaton> {
    let config = dense::Config::new()
        .start_kind(StartKind::Anchored)
        // All matches, not only that which is preferred: one of them may be all of the string.
        .match_kind(MatchKind::All)
        .dfa_size_limit(Some(MOST_BYTES))
        .determinize_size_limit(Some(MOST_BYTES));
    let dfa = dense::Builder::new().configure(config).build(&ascii_classes(pattern)).map_err(|error| {
        let what = format!("the pattern `{pattern}`: {error}");
        if error.is_size_limit_exceeded() { unsupported(what) } else { invalid(what) }
    })?;
    let no_start = |_| unsupported(format!("the pattern `{pattern}` needs to know what is before the string"));
    let start = dfa.start_state_forward(&Input::new("").anchored(Anchored::Yes)).map_err(no_start)?;
    let byte_classes = dfa.byte_classes();
    let classes: Vec<u8> = (0..=u8::MAX).map(|byte| byte_classes.get(byte)).collect();
    let width = classes.iter().max().map_or(1, |&most| usize::from(most) + 1);
    let mut of_class = vec![0u8; width];
    (0..=u8::MAX).zip(&classes).for_each(|(byte, &class)| of_class[usize::from(class)] = byte);
    let mut numbers: FxHashMap<StateID, i64> = FxHashMap::from_iter([(start, 0)]);
    let mut states = vec![start];
    let mut next: Vec<i64> = vec![];
    let mut accepts = vec![];
    while let Some(&state) = states.get(accepts.len()) {
        accepts.push(dfa.is_match_state(dfa.next_eoi_state(state)));
        for &byte in &of_class {
            let to = dfa.next_state(state, byte);
            next.push(*numbers.entry(to).or_insert_with(|| {
                states.push(to);
                states.len() as i64 - 1
            }));
        }
    }
    let classes = Tensor::from_slice(&[classes.len()], &classes);
    Ok(Automaton { classes, next: Tensor::from_slice(&[states.len(), width], &next), accepts })
}

#[cfg(test)]
mod tests {
    use super::ascii_classes;

    #[test]
    fn classes_of_ascii() {
        for (pattern, expected) in [
            (r"\w+\.", r"[0-9A-Za-z_]+\."),
            (r"[\w.-]\D", r"[0-9A-Za-z_.-][^0-9]"),
            (r"[^]\s]", r"[^]\t\n\f\r ]"),
            (r"\bx[\S]", r"(?-u:\b)x[[^\t\n\f\r ]]"),
            (r"\\w\[\d", r"\\w\[[0-9]"),
        ] {
            assert_eq!(ascii_classes(pattern), expected, "{pattern}");
        }
    }
}
