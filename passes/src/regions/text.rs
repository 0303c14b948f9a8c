//! The text form of regions, one a line:
//!
//! ```text
//! contraction node 3 -> %7 reads %0, %2 inlines %4, %5
//! ```
//!
//! Values and nodes are those of the graph that the regions belong to; between braces stand the regions of each subgraph of the
//! operation of the line before. Parsing what was printed gives the same regions.

use super::{Anchor, Region};
use nnc_ir::{NodeId, ValueId};
use std::fmt::Write;

/// Why a text holds no regions, or no layout.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct TextError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong.
    pub problem: String,
}

/// Prints regions.
pub fn print(regions: &[Region]) -> String {
    let mut text = String::new();
    print_at(regions, 0, &mut text);
    text
}

fn print_at(regions: &[Region], level: usize, text: &mut String) {
    let indent = "  ".repeat(level);
    for region in regions {
        let _ = write!(text, "{indent}{}", region.anchor.name());
        if let Some(node) = region.anchor.node() {
            let _ = write!(text, " node {}", node.0);
        }
        for (word, values) in [("->", &region.results), ("reads", &region.reads), ("inlines", &region.inlined)] {
            if !values.is_empty() {
                let names: Vec<String> = values.iter().map(|v| format!("%{}", v.0)).collect();
                let _ = write!(text, " {word} {}", names.join(", "));
            }
        }
        text.push('\n');
        for inside in &region.inside {
            let _ = writeln!(text, "{indent}{{");
            print_at(inside, level + 1, text);
            let _ = writeln!(text, "{indent}}}");
        }
    }
}

/// Reads what [`print()`] prints; empty lines and comments (`;`) are skipped.
///
/// # Errors
/// The first line that is no region.
pub fn parse(text: &str) -> Result<Vec<Region>, TextError> {
    // The lists that are open, the innermost last.
    let mut open: Vec<Vec<Region>> = vec![vec![]];
    for (number, line) in text.lines().enumerate() {
        let fail = |problem: String| TextError { line: number + 1, problem };
        let words: Vec<&str> =
            line.split(';').next().unwrap_or("").split([' ', ',']).filter(|w| !w.is_empty()).collect();
        match words[..] {
            [] => {}
            ["{"] => open.push(vec![]),
            ["}"] => {
                let (inside, around) =
                    (open.pop().unwrap_or_default(), open.last_mut().and_then(|list| list.last_mut()));
                let around = around.ok_or_else(|| fail("there is no region around this".into()))?;
                around.inside.push(inside);
            }
            _ => {
                let region = region(&words).map_err(fail)?;
                open.last_mut().ok_or_else(|| fail("there is no list of regions".into()))?.push(region);
            }
        }
    }
    let end = || TextError { line: text.lines().count(), problem: "a list of regions is not closed".into() };
    if open.len() > 1 { Err(end()) } else { open.pop().ok_or_else(end) }
}

fn region(words: &[&str]) -> Result<Region, String> {
    let (anchor, mut rest) = match words {
        ["rows", rest @ ..] => (Anchor::Rows, rest),
        [kind, "node", id, rest @ ..] => {
            let id = NodeId(id.parse().map_err(|_| format!("{id:?} is no number of a node"))?);
            let anchor = match *kind {
                "contraction" => Anchor::Contraction(id),
                "window" => Anchor::Window(id),
                "sequential" => Anchor::Sequential(id),
                other => return Err(format!("{other:?} is no kind of region")),
            };
            (anchor, rest)
        }
        [other, ..] => return Err(format!("{other:?} is no kind of region")),
        [] => return Err("there is nothing".into()),
    };
    let mut region = Region { anchor, results: vec![], reads: vec![], inlined: vec![], inside: vec![] };
    while let [word, following @ ..] = rest {
        let list = match *word {
            "->" => &mut region.results,
            "reads" => &mut region.reads,
            "inlines" => &mut region.inlined,
            other => return Err(format!("{other:?} is neither `->` nor `reads` nor `inlines`")),
        };
        let count = following.iter().take_while(|w| w.starts_with('%')).count();
        for name in &following[..count] {
            list.push(ValueId(name[1..].parse().map_err(|_| format!("{name:?} is no value"))?));
        }
        rest = &following[count..];
    }
    Ok(region)
}
