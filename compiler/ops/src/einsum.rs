//! Einsum (<https://onnx.ai/onnx/operators/onnx__Einsum.html>); all opsets.
//!
//! Operands are taken from left to right. Each is first brought to one axis per label (a repeated label is a diagonal),
//! then contracted with what was made of those before it; labels that nothing later needs are summed on the way.

use crate::context::Context;
use crate::error::{Result, invalid};
use nnc_ir::op::{BinaryOp, ReduceOp};
use nnc_ir::{DType, Op, ValueId};

/// A subscript: a letter, or an axis of the ellipsis counted from its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Label {
    Ellipsis(std::cmp::Reverse<usize>),
    Letter(char),
}

/// A value with a label for each axis.
struct Term {
    value: ValueId,
    labels: Vec<Label>,
}

/// The sum of products the equation says.
pub fn einsum(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let equation = ctx.optional_string("equation")?.ok_or_else(|| invalid("attribute `equation` is missing"))?;
    let equation: String = equation.chars().filter(|c| !c.is_whitespace()).collect();
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left, Some(right)),
        None => (equation.as_str(), None),
    };
    let inputs = ctx.inputs()?;
    let subscripts: Vec<&str> = left.split(',').collect();
    if subscripts.len() != inputs.len() {
        return Err(invalid(format!("`{equation}` has {} terms for {} inputs", subscripts.len(), inputs.len())));
    }
    let mut terms = vec![];
    for (&value, text) in inputs.iter().zip(&subscripts) {
        let labels = parse(text, Some(ctx.rank(value)))?;
        terms.push(Term { value, labels });
    }
    let output = match right {
        Some(text) => {
            let ellipsis = terms.iter().flat_map(|t| &t.labels).filter(|l| matches!(l, Label::Ellipsis(_)));
            let depth = ellipsis.map(|l| if let Label::Ellipsis(i) = l { i.0 + 1 } else { 0 }).max().unwrap_or(0);
            let letters = text.chars().filter(char::is_ascii_alphabetic).count();
            parse(text, text.contains("...").then_some(letters + depth).or(Some(letters)))?
        }
        None => implicit_output(&terms),
    };
    let dtype = ctx.dtype(inputs[0]);
    // Contractions of bytes yield i32.
    let inner = if matches!(dtype, DType::U8 | DType::I8) { DType::I32 } else { dtype };
    let mut result: Option<Term> = None;
    for i in 0..terms.len() {
        let value = ctx.convert(terms[i].value, inner)?;
        let term = distinct_labels(ctx, Term { value, labels: terms[i].labels.clone() })?;
        let later: Vec<Label> =
            terms[i + 1..].iter().flat_map(|t| t.labels.iter().copied()).chain(output.clone()).collect();
        let term = match result {
            None => term,
            Some(before) => contract(ctx, before, term, &later)?,
        };
        result = Some(sum_unneeded(ctx, term, &later)?);
    }
    let Some(result) = result else { return Err(invalid("it has no inputs")) };
    let value = ordered(ctx, &result, &output, &equation)?;
    Ok(vec![ctx.convert(value, dtype)?])
}

/// The labels of a term; `...` stands for as many axes as `rank` leaves.
fn parse(text: &str, rank: Option<usize>) -> Result<Vec<Label>> {
    let bad = || invalid(format!("`{text}` is no valid list of subscripts for {} axes", rank.unwrap_or(0)));
    let letters = |part: &str| -> Result<Vec<Label>> {
        part.chars().map(|c| if c.is_ascii_alphabetic() { Ok(Label::Letter(c)) } else { Err(bad()) }).collect()
    };
    let labels = match text.split_once("...") {
        None => letters(text)?,
        Some((before, after)) => {
            let (mut labels, after) = (letters(before)?, letters(after)?);
            let axes = rank.and_then(|r| r.checked_sub(labels.len() + after.len())).ok_or_else(bad)?;
            labels.extend((0..axes).rev().map(|i| Label::Ellipsis(std::cmp::Reverse(i))));
            labels.extend(after);
            labels
        }
    };
    if rank.is_some_and(|r| r != labels.len()) { Err(bad()) } else { Ok(labels) }
}

/// Without `->`: the ellipsis, then the letters that occur once, in alphabetical order.
fn implicit_output(terms: &[Term]) -> Vec<Label> {
    let mut all: Vec<Label> = terms.iter().flat_map(|t| t.labels.iter().copied()).collect();
    all.sort_unstable();
    let groups = all.chunk_by(|a, b| a == b);
    groups.filter(|g| g.len() == 1 || matches!(g[0], Label::Ellipsis(_))).map(|g| g[0]).collect()
}

/// Takes the diagonal of axes that share a label.
fn distinct_labels(ctx: &mut Context, mut term: Term) -> Result<Term> {
    loop {
        let repeated = term.labels.iter().enumerate().find_map(|(j, label)| {
            let i = term.labels[..j].iter().position(|l| l == label)?;
            Some((i, j))
        });
        let Some((i, j)) = repeated else { return Ok(term) };
        let shape = ctx.shape(term.value);
        term.value = ctx.with_size(term.value, j, &shape[i], || "the size of axes of one label".to_owned())?;
        let shape = ctx.shape(term.value);
        let row = ctx.iota(DType::I64, &shape, i)?;
        let column = ctx.iota(DType::I64, &shape, j)?;
        let diagonal = ctx.binary(BinaryOp::Eq, row, column)?;
        let zero = ctx.scalar(ctx.dtype(term.value), 0.0);
        let kept = ctx.select(diagonal, term.value, zero)?;
        term.value = ctx.reduce(ReduceOp::Sum, kept, &[j], false)?;
        term.labels.remove(j);
    }
}

fn sum_unneeded(ctx: &mut Context, mut term: Term, needed: &[Label]) -> Result<Term> {
    let axes: Vec<usize> = (0..term.labels.len()).filter(|&a| !needed.contains(&term.labels[a])).collect();
    term.value = ctx.reduce(ReduceOp::Sum, term.value, &axes, false)?;
    term.labels.retain(|l| needed.contains(l));
    Ok(term)
}

/// The product of two terms, summed over the labels they share and nothing later needs.
fn contract(ctx: &mut Context, mut a: Term, mut b: Term, later: &[Label]) -> Result<Term> {
    let shared: Vec<Label> = a.labels.iter().copied().filter(|l| b.labels.contains(l)).collect();
    for label in shared {
        // A shared axis of size 1 beside another size repeats: the other term's axis stands for both.
        let (i, j) = (place(&a, label), place(&b, label));
        let (size_a, size_b) = (ctx.dim(a.value, i), ctx.dim(b.value, j));
        if size_a == size_b {
            continue;
        }
        if !size_a.is_const(1) && !size_b.is_const(1) {
            let wide = ctx.wider(&size_a, &size_b)?;
            (a.value, b.value) = (ctx.widen(a.value, i, &wide)?, ctx.widen(b.value, j, &wide)?);
            continue;
        }
        let (narrow, axis) = if size_a.is_const(1) { (&mut a, i) } else { (&mut b, j) };
        narrow.value = ctx.squeeze(narrow.value, &[axis])?;
        narrow.labels.remove(axis);
    }
    // Labels of one term alone that nothing needs are summed before multiplying.
    let needed: Vec<Label> = later.iter().chain(&b.labels).copied().collect();
    let a = sum_unneeded(ctx, a, &needed)?;
    let needed: Vec<Label> = later.iter().chain(&a.labels).copied().collect();
    let b = sum_unneeded(ctx, b, &needed)?;
    let (mut batch, mut summed, mut labels) = (vec![], vec![], vec![]);
    for (i, &label) in a.labels.iter().enumerate() {
        let Some(j) = b.labels.iter().position(|&l| l == label) else { continue };
        if later.contains(&label) {
            batch.push((i, j));
            labels.push(label);
        } else {
            summed.push((i, j));
        }
    }
    labels.extend(a.labels.iter().filter(|l| !b.labels.contains(l)));
    labels.extend(b.labels.iter().filter(|l| !a.labels.contains(l)));
    let out = ctx.dtype(a.value);
    let value = ctx.one(Op::Contract { batch, contract: summed, out }, &[a.value, b.value])?;
    Ok(Term { value, labels })
}

fn place(term: &Term, label: Label) -> usize {
    term.labels.iter().position(|&l| l == label).unwrap_or(0)
}

/// The result with its axes in the order of the output.
fn ordered(ctx: &mut Context, term: &Term, output: &[Label], equation: &str) -> Result<ValueId> {
    let perm: Option<Vec<usize>> = output.iter().map(|l| term.labels.iter().position(|k| k == l)).collect();
    let mut once: Vec<Label> = output.to_vec();
    once.sort_unstable();
    once.dedup();
    match perm {
        Some(perm) if once.len() == output.len() && perm.len() == ctx.rank(term.value) => {
            ctx.transpose(term.value, &perm)
        }
        _ => Err(invalid(format!("the output of `{equation}` names a label that no input has, or one twice"))),
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;
    use nnc_onnx::ElemType::Float;

    #[test]
    fn shapes() {
        for (equation, x, y, result) in [
            ("ij,jk->ik", "2 3", "3 4", "f32[2, 4]"),
            ("ij,jk", "2 3", "3 4", "f32[2, 4]"),
            ("bhid,bhjd->bhij", "b h i d", "b h j d", "f32[b, h, i, j]"),
            ("...ij,...jk->...ik", "5 2 3", "5 3 4", "f32[5, 2, 4]"),
            ("i,j->ji", "2", "3", "f32[3, 2]"),
            ("ij,ij->", "2 3", "2 3", "f32[]"),
            ("ii,i->i", "3 3", "3", "f32[3]"),
            ("ij,jk->iz", "2 3", "3 4", "names a label that no input has"),
            ("ij->i", "2 3", "3", "has 1 terms for 2 inputs"),
        ] {
            let sketch = sketch().input("x", Float, x).input("y", Float, y).node("Einsum", "x y -> z");
            let found = sketch.string("equation", equation).output("z").result_type();
            assert!(found.contains(result), "{equation}: {found}");
        }
    }

    #[test]
    fn values() {
        let x = || sketch().given("x", &[2, 2], &[1.0f32, 2.0, 3.0, 4.0]);
        for (equation, expected) in
            [("ii->i", "f32[2] 1 4"), ("ij->ji", "f32[2, 2] 1 3 2 4"), ("ij->", "f32[] 10"), ("ii", "f32[] 5")]
        {
            let found = x().node("Einsum", "x -> y").string("equation", equation).output("y").run();
            assert_eq!(found, expected, "{equation}");
        }
        let product = x().node("Einsum", "x x -> y").string("equation", "ij,kj->ki").output("y");
        assert_eq!(product.run(), "f32[2, 2] 5 11 11 25");
    }
}
