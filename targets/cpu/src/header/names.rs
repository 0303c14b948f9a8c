//! Identifiers for tensors that differ in every name the header makes of them, and text for comments.
//!
//! A tensor `x` of a model `m` has the constants `M_INPUT_X` or `M_OUTPUT_X`, the macros `M_X_RANK`, `M_X_DIM0`,
//! `M_X_DIM0_MAX`, `M_X_ELEMENTS`, and the argument `in_x` or `out_x`. Identifiers ignore case, as macros are in capitals;
//! a name that already is an identifier keeps it before one that has to be changed.

use nnc_kernels::Program;
use nnc_kernels::plan::Parameter;
use rustc_hash::{FxHashMap, FxHashSet};

/// The most characters of an identifier made from a name, and of a comment.
const LONGEST: usize = 200;

/// The identifiers of inputs and outputs.
pub(super) struct Names {
    pub(super) inputs: Vec<String>,
    pub(super) outputs: Vec<String>,
}

impl Names {
    pub(super) fn new(program: &Program) -> Names {
        let all = || {
            let inputs = program.inputs.iter().map(|p| ("INPUT", p));
            inputs.chain(program.outputs.iter().map(|p| ("OUTPUT", p)))
        };
        let mut taken = Taken::default();
        // The numbers of inputs and outputs, and the size of the workspace.
        taken.names.extend(["INPUTS", "OUTPUTS", "WORKSPACE_BYTES"].map(str::to_owned));
        let exact = |p: &Parameter| p.name.len() <= LONGEST && identifier(&p.name) == p.name;
        let mut names: Vec<Option<String>> = all().map(|_| None).collect();
        for wanted in [true, false] {
            for ((kind, parameter), name) in all().zip(&mut names) {
                if exact(parameter) == wanted {
                    *name = Some(taken.take(kind, parameter));
                }
            }
        }
        let mut names = names.into_iter().map(Option::unwrap_or_default);
        let inputs = names.by_ref().take(program.inputs.len()).collect();
        Names { inputs, outputs: names.collect() }
    }
}

/// The names that are given away, in capitals and without the model's.
#[derive(Default)]
struct Taken {
    names: FxHashSet<String>,
    /// The number that was last put behind a name, so that many equal ones do not try them all.
    numbers: FxHashMap<String, usize>,
}

impl Taken {
    fn take(&mut self, kind: &str, parameter: &Parameter) -> String {
        let base = identifier(&parameter.name);
        let mut name = base.clone();
        loop {
            let made = derived(kind, &name.to_uppercase(), parameter.shape.len());
            if made.iter().all(|m| !self.names.contains(m)) {
                self.names.extend(made);
                return name;
            }
            let number = self.numbers.entry(base.to_uppercase()).or_insert(1);
            *number += 1;
            name = format!("{base}_{number}");
        }
    }
}

/// What the header calls a tensor. The shape's macros stand for both kinds, so that of two tensors with one name, an
/// input and an output, one gets a number.
fn derived(kind: &str, name: &str, rank: usize) -> Vec<String> {
    let mut all = vec![format!("{kind}_{name}"), format!("{name}_RANK"), format!("{name}_ELEMENTS")];
    all.extend((0..rank).flat_map(|i| [format!("{name}_DIM{i}"), format!("{name}_DIM{i}_MAX")]));
    all
}

/// Letters, digits and underscores, not beginning with a digit.
pub(super) fn identifier(text: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let mut name: String = text.chars().take(LONGEST).map(letter).collect();
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        name.insert(0, '_');
    }
    name
}

/// Identifiers for names that differ whatever their case; a number follows what is there already.
pub(super) fn distinct<'n>(names: impl Iterator<Item = &'n str>) -> Vec<String> {
    let mut taken = FxHashSet::default();
    let mut numbers: FxHashMap<String, usize> = FxHashMap::default();
    let mut take = |name: &str| {
        let base = identifier(name);
        let mut name = base.clone();
        while !taken.insert(name.to_uppercase()) {
            let number = numbers.entry(base.to_uppercase()).or_insert(1);
            *number += 1;
            name = format!("{base}_{number}");
        }
        name
    };
    names.map(&mut take).collect()
}

/// Text for a comment: it cannot end the comment, begin another, form a trigraph, or look like what it is not.
pub(super) fn comment(text: &str) -> String {
    let mut out = String::new();
    let mut last = ' ';
    for c in text.chars().take(LONGEST) {
        let c = match c {
            // At the end of a line it would join it to the next.
            '\\' => '/',
            c if nnc_abi::is_plain(c) => c,
            _ => '?',
        };
        if matches!((last, c), ('*', '/') | ('/', '*') | ('?', '?')) {
            out.push(' ');
        }
        out.push(c);
        last = c;
    }
    out
}

#[cfg(test)]
mod tests;
