//! The memory plan's independent checker: it knows the steps, the kernels and the offsets, nothing of the planner's
//! reasons. It runs in every build.
//!
//! Rules:
//! 1. every offset is a multiple of 64 and not negative, every buffer ends inside the workspace;
//! 2. two workspace buffers share no byte unless the last step that uses one comes before the first step that uses
//!    the other; or the one is written, element for element, over the other in the step that last reads it
//!    (`overwrite.rs` finds that out from the kernel).
//!
//! Symbolic plans are checked at several assignments of the symbols, small, large and mixed: within their bounds, and
//! such that what `plan` checks of sizes holds. A data-dependent buffer has the size of its bound.

mod overwrite;
#[cfg(test)]
mod tests;

use nnc_ir::{Dim, Symbol};
use nnc_kernels::plan::{Argument, Place, Program, Step};

/// A violated rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("memory plan: {0}")]
pub struct MemoryError(String);

/// A workspace buffer that some step uses.
struct Life {
    buffer: usize,
    name: String,
    /// The first and the last step that uses it; steps inside `If` and `While` count as the step they are in.
    first: usize,
    last: usize,
    offset: Dim,
    bytes: Dim,
}

/// Checks the plan of a program.
///
/// # Errors
/// The first violation found.
pub fn check(program: &Program) -> Result<(), MemoryError> {
    let lives = lives(program)?;
    if program.workspace_bytes.as_const().is_some() {
        return check_at(program, &lives, &|_| None).unwrap_or(Ok(()));
    }
    for sample in 0..SAMPLES.len() {
        let values: Vec<i64> = program.dims.iter().map(|(symbol, _)| value_of(program, symbol, sample)).collect();
        let value_of = |symbol: Symbol| values.get(symbol.0 as usize).copied();
        let legal = program.checks.iter().all(|check| {
            matches!((check.left.eval(&value_of), check.right.eval(&value_of)), (Some(l), Some(r)) if check.relation.holds(l, r))
        });
        if legal {
            // Sizes that overflow at run time are refused by `plan`.
            check_at(program, &lives, &value_of).unwrap_or(Ok(()))?;
        }
    }
    Ok(())
}

fn lives(program: &Program) -> Result<Vec<Life>, MemoryError> {
    let mut lives: Vec<Option<Life>> = program.buffers.iter().map(|_| None).collect();
    for (position, step) in program.steps.iter().enumerate() {
        let mut nested = vec![step];
        while let Some(step) = nested.pop() {
            let used: Vec<&Argument> = match step {
                Step::Run { arguments, .. } => arguments.iter().collect(),
                Step::Bind { source, .. } => vec![source],
                Step::Check(_) | Step::Allocate { .. } | Step::Release { .. } => vec![],
                Step::If { condition, then, otherwise } => {
                    nested.extend(then.iter().chain(otherwise));
                    vec![condition]
                }
                Step::While { condition, body } => {
                    nested.extend(body);
                    vec![condition]
                }
            };
            for argument in used {
                let index = argument.buffer.0 as usize;
                let Some(buffer) = program.buffers.get(index) else {
                    return Err(MemoryError(format!("there is no buffer {index}")));
                };
                let Place::Workspace { offset } = &buffer.place else { continue };
                let life = lives[index].get_or_insert_with(|| Life {
                    buffer: index,
                    name: buffer.name.clone(),
                    first: position,
                    last: position,
                    offset: offset.clone(),
                    bytes: buffer.bytes.clone(),
                });
                life.last = position;
            }
        }
    }
    Ok(lives.into_iter().flatten().collect())
}

const SAMPLES: [i64; 8] = [0, 1, 7, 130, 1021, 16, 224, 4099];

/// The value that a sample gives a symbol: different per symbol in most samples, within its bounds.
fn value_of(program: &Program, symbol: Symbol, sample: usize) -> i64 {
    let info = program.dims.get(symbol);
    let spread = match sample {
        0 | 5 | 6 => 0,
        s => i64::from(symbol.0) * (s as i64 * 13 % 5),
    };
    let value = SAMPLES[sample] + spread;
    // Just above the least size is where windows barely fit.
    let value = if value < info.min { info.min.saturating_add(value) } else { value };
    value.clamp(info.min, info.max.max(info.min))
}

/// Checks one assignment; `None` when a size has no value under it.
fn check_at(
    program: &Program,
    lives: &[Life],
    value_of: &impl Fn(Symbol) -> Option<i64>,
) -> Option<Result<(), MemoryError>> {
    let total = program.workspace_bytes.eval(value_of)?;
    let mut spans = Vec::with_capacity(lives.len());
    for life in lives {
        let (start, bytes) = (life.offset.eval(value_of)?, life.bytes.eval(value_of)?);
        if start < 0 || start % 64 != 0 {
            return Some(Err(MemoryError(format!("buffer {} lies at {start}", life.name))));
        }
        let end = start.checked_add(bytes.max(0))?;
        if end > total {
            return Some(Err(MemoryError(format!("buffer {} ends past the workspace", life.name))));
        }
        spans.push((start, end));
    }
    // Sweep by address: only neighbours in memory can share bytes.
    let mut order: Vec<usize> = (0..lives.len()).filter(|&i| spans[i].0 < spans[i].1).collect();
    order.sort_unstable_by_key(|&i| spans[i]);
    for (k, &a) in order.iter().enumerate() {
        for &b in order[k + 1..].iter().take_while(|&&b| spans[b].0 < spans[a].1) {
            let meet = lives[a].first <= lives[b].last && lives[b].first <= lives[a].last;
            if meet && !replaces(program, &lives[a], &lives[b]) && !replaces(program, &lives[b], &lives[a]) {
                let (a, b) = (&lives[a].name, &lives[b].name);
                return Some(Err(MemoryError(format!("buffers {a} and {b} share bytes"))));
            }
        }
    }
    Some(Ok(()))
}

/// Whether `new` is written over `old` by the step that is the last to read it.
fn replaces(program: &Program, old: &Life, new: &Life) -> bool {
    if old.last != new.first || old.offset != new.offset || old.bytes != new.bytes {
        return false;
    }
    let Some(Step::Run { kernel, arguments, .. }) = program.steps.get(old.last) else { return false };
    let Some(kernel) = program.kernels.get(kernel.0 as usize) else { return false };
    let place = |buffer: usize| {
        let mut found = arguments.iter().enumerate().filter(|(_, a)| a.buffer.0 as usize == buffer);
        match (found.next(), found.next()) {
            (Some(only), None) => Some(only),
            _ => None,
        }
    };
    let (Some((read, from)), Some((write, to))) = (place(old.buffer), place(new.buffer)) else { return false };
    from.offset == to.offset && overwrite::is_element_for_element(kernel, read, write)
}
