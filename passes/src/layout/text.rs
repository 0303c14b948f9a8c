//! The text form of layouts, one value a line:
//!
//! ```text
//! %7 in 2 at 58*64 + 64 by 3364*64; 3712; 64; 1 around 0 0; 1 1; 1 1; 0 0
//! %9 in 1 at 0 by 64; 1 alias
//! %12 joins 0; 2
//! state input 1 output 1 axis 2 up to 1024
//! ```
//!
//! A value lies in a buffer, from an element on, at strides by axis; around it there may be a border, (low, high) by axis; an
//! alias is written as the value that it is a reshape of; a concatenation joins operands that are written where it lies. States
//! stand at the end, in order.
//! Parsing what was printed gives the same layout.

use super::{Border, Layout, Storage};
use crate::regions::TextError;
use nnc_ir::{Dim, Graph, ValueId};
use nnc_kernels::plan::BufferId;
use std::fmt::Write;

/// Prints the layout of a graph.
pub fn print(graph: &Graph, layout: &Layout) -> String {
    let mut text = String::new();
    for (position, storage) in layout.storage.iter().enumerate() {
        let value = ValueId(position as u32);
        if let Some(Storage { buffer, offset, strides }) = storage {
            let strides: Vec<String> = strides.iter().map(|s| graph.dims.display(s).to_string()).collect();
            let offset = graph.dims.display(offset);
            let _ = write!(text, "%{position} in {} at {offset} by {}", buffer.0, strides.join("; "));
            if let Some(halo) = layout.halo.get(&value) {
                let sides: Vec<String> = halo.iter().map(|(low, high)| format!("{low} {high}")).collect();
                let _ = write!(text, " around {}", sides.join("; "));
            }
            text.push_str(if layout.aliases.contains(&value) { " alias\n" } else { "\n" });
        }
        let joined = layout.placed.range((value, 0)..=(value, usize::MAX));
        let joined: Vec<String> = joined.map(|(_, operand)| operand.to_string()).collect();
        if !joined.is_empty() {
            let _ = writeln!(text, "%{position} joins {}", joined.join("; "));
        }
    }
    layout.states.iter().for_each(|state| {
        let _ = writeln!(text, "state {state}");
    });
    text
}

/// Reads what [`print()`] prints of a graph.
///
/// # Errors
/// The first line that says nothing of a value of the graph.
pub fn parse(graph: &Graph, text: &str) -> Result<Layout, TextError> {
    let mut layout = Layout { storage: vec![None; graph.values.len()], ..Layout::default() };
    for (number, line) in text.lines().enumerate() {
        parse_line(graph, &mut layout, line).map_err(|problem| TextError { line: number + 1, problem })?;
    }
    Ok(layout)
}

fn parse_line(graph: &Graph, layout: &mut Layout, line: &str) -> Result<(), String> {
    let (name, rest) = line.split_once(' ').ok_or("a line is a value and what is said of it")?;
    if name == "state" {
        layout.states.push(rest.parse()?);
        return Ok(());
    }
    let number = name.strip_prefix('%').and_then(|n| n.parse::<u32>().ok());
    let value = number.map(ValueId).filter(|v| v.index() < graph.values.len());
    let value = value.ok_or_else(|| format!("there is no value {name:?}"))?;
    if let Some(joined) = rest.strip_prefix("joins ") {
        for operand in joined.split("; ") {
            layout.placed.insert((value, operand.parse().map_err(|_| format!("{operand:?} is no number"))?));
        }
        return Ok(());
    }
    let rest = match rest.strip_suffix(" alias") {
        Some(rest) => {
            layout.aliases.insert(value);
            rest
        }
        None => rest,
    };
    let (rest, sides) = match rest.split_once(" around ") {
        Some((rest, sides)) => (rest, Some(sides)),
        None => (rest, None),
    };
    let (place, strides) = rest.split_once(" by ").ok_or("there are no strides")?;
    let (buffer, offset) = place.split_once(" at ").ok_or("there is no first element")?;
    let buffer = buffer.strip_prefix("in ").and_then(|n| n.parse().ok()).map(BufferId);
    let buffer = buffer.ok_or("there is no buffer")?;
    let dim = |text: &str| graph.dims.parse(text).map_err(|e| format!("{text:?}: {e}"));
    let strides: Vec<Dim> = match strides {
        "" => vec![],
        _ => strides.split("; ").map(dim).collect::<Result<_, _>>()?,
    };
    if let Some(sides) = sides {
        let halo = sides.split("; ").map(side).collect::<Result<Vec<(usize, usize)>, String>>()?;
        if halo.len() != graph.shape(value).len() {
            return Err("a border has other axes than its value".into());
        }
        layout.borders.insert(buffer, Border::around(graph.shape(value), &halo));
        layout.halo.insert(value, halo);
    }
    layout.storage[value.index()] = Some(Storage { buffer, offset: dim(offset)?, strides });
    Ok(())
}

fn side(text: &str) -> Result<(usize, usize), String> {
    let sizes = text.split_once(' ').and_then(|(low, high)| Some((low.parse().ok()?, high.parse().ok()?)));
    sizes.ok_or_else(|| format!("{text:?} are no two sides of a border"))
}
