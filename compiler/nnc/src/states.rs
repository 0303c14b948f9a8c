//! `--state INPUT=OUTPUT` and `--state past_*=present_*`: outputs that are kept as inputs of the next run.

use nnc_ir::Graph;
use nnc_passes::layout;

use crate::errors::{Failure, Result};

/// An input and the output that is kept as it, by name; one `*` in each stands for the same text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tie {
    /// What the input is called.
    pub input: String,
    /// What the output is called.
    pub output: String,
}

/// Reads the arguments of all `--state` options.
///
/// # Errors
/// When one is malformed.
pub fn parse(texts: &[String]) -> Result<Vec<Tie>> {
    let one = |text: &String| {
        let (input, output) = text.split_once('=')?;
        let stars = |name: &str| name.matches('*').count();
        let fits = !input.is_empty() && !output.is_empty() && stars(input) == stars(output) && stars(input) <= 1;
        fits.then(|| Tie { input: input.to_owned(), output: output.to_owned() })
    };
    let malformed = |text: &String| {
        Failure::user(format!(
            "--state {text}: not INPUT=OUTPUT, both with one * or none; write past=present or past_*=present_*"
        ))
    };
    texts.iter().map(|text| one(text).ok_or_else(|| malformed(text))).collect()
}

/// The inputs and outputs of a graph that are tied, by position.
///
/// # Errors
/// When there is no such input or output, one is tied twice, or they cannot be.
pub fn resolve(ties: &[Tie], graph: &Graph) -> Result<Vec<(usize, usize)>> {
    let mut all: Vec<(usize, usize)> = vec![];
    for tie in ties {
        let said = |problem: String| Failure::user(format!("--state {}={}: {problem}", tie.input, tie.output));
        let before = all.len();
        for (input, &value) in graph.inputs.iter().enumerate() {
            let Some(name) = graph.values.get(value.index()).map(|v| v.name.as_str()) else { continue };
            let Some(wanted) = counterpart(tie, name) else { continue };
            let output = graph.outputs.iter().position(|(name, _)| *name == wanted);
            let output = output.ok_or_else(|| said(format!("input {name:?}: there is no output {wanted:?}")))?;
            if all.iter().any(|&(i, o)| i == input || o == output) {
                return Err(said(format!("input {name:?}, output {wanted:?}: one is a state's already")));
            }
            layout::state_of(graph, input, output)
                .map_err(|problem| said(format!("input {name:?}, output {wanted:?}: {problem}")))?;
            all.push((input, output));
        }
        if all.len() == before {
            let names: Vec<&str> = graph.inputs.iter().map(|v| graph.values[v.index()].name.as_str()).collect();
            return Err(said(format!("there is no such input; there are {}", names.join(", "))));
        }
    }
    Ok(all)
}

/// The output that an input of this name is tied to.
fn counterpart(tie: &Tie, name: &str) -> Option<String> {
    match tie.input.split_once('*') {
        None => (tie.input == name).then(|| tie.output.clone()),
        Some((before, after)) => {
            let middle = name.strip_prefix(before)?.strip_suffix(after)?;
            Some(tie.output.replacen('*', middle, 1))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(states: &[&str]) -> Result<Vec<(usize, usize)>> {
        let text = "dim past in 0..9
dim free in 0..
graph @g(%0 x: f32[2], %1 past_k: f32[2, past], %2 past_v: f32[2, past], %3 h: f32[3], %4 f: f32[free])
    -> (y: %5, present_v: %6, present_k: %7, h_new: %8, f_new: %9) {
  %5 = neg %0 : f32[2]
  %10 = reshape %5 shape=[2, 1] : f32[2, 1]
  %6 = concat %2, %10 axis=1 : f32[2, past + 1]
  %7 = concat %1, %10 axis=1 : f32[2, past + 1]
  %8 = neg %3 : f32[3]
  %9 = concat %4, %0 axis=0 : f32[free + 2]
}
";
        let graph = nnc_ir::parse::graph(text).unwrap();
        let states: Vec<String> = states.iter().map(|s| (*s).to_owned()).collect();
        resolve(&parse(&states)?, &graph)
    }

    #[test]
    fn by_name_and_by_pattern() {
        assert_eq!(resolved(&["past_k=present_k", "h=h_new"]).unwrap(), [(1, 2), (3, 3)]);
        assert_eq!(resolved(&["past_*=present_*"]).unwrap(), [(1, 2), (2, 1)]);
    }

    #[test]
    fn what_cannot_be_is_said() {
        for (states, words) in [
            (&["past_k"][..], "not INPUT=OUTPUT"),
            (&["past_*=present_k"], "not INPUT=OUTPUT"),
            (&["past_**=present_**"], "not INPUT=OUTPUT"),
            (&["=y"], "not INPUT=OUTPUT"),
            (&["nothing=y"], "there is no such input; there are x, past_k"),
            (&["x=z"], "there is no output \"z\""),
            (&["x=y", "x=h_new"], "already"),
            (&["past_*=present_*", "past_k=present_k"], "already"),
            (&["x=present_k"], "f32 of 1 axes"),
            (&["f=f_new"], "bound what it is made of with --dim"),
        ] {
            let error = resolved(states).unwrap_err().to_string();
            assert!(error.contains(words), "{states:?}: {error}");
        }
    }
}
