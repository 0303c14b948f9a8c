//! TreeEnsembleRegressor, TreeEnsembleClassifier and TreeEnsemble of `ai.onnx.ml`
//! (<https://onnx.ai/onnx/operators/index_ml.html>), all versions; classes are numbered.
//!
//! A row walks every tree to a leaf; the weights of its leaves are gathered and combined. Where the standard is silent, as
//! ONNX Runtime, but for two scored classes, of which the greater score wins.

use crate::context::Context;
use crate::error::{Result, invalid, unsupported};
use crate::forest::{Child, Forest, Question};
use crate::ml_linear::{integer_labels, transformed};
use crate::ml_tree_attributes::{Ensemble, classic, general};
use nnc_ir::op::{BinaryOp, ReduceOp, UnaryOp};
use nnc_ir::{DType, Dim, Op, Tensor, ValueId};
use rustc_hash::FxHashMap;

/// Most elements of the table of weights, where each leaf has one for every target.
const MOST_WEIGHTS: usize = 1 << 28;

/// How the weights of a row's leaves become a score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aggregate {
    Sum,
    Average,
    Min,
    Max,
}

impl Aggregate {
    fn reduce(self) -> ReduceOp {
        match self {
            Aggregate::Sum | Aggregate::Average => ReduceOp::Sum,
            Aggregate::Min => ReduceOp::Min,
            Aggregate::Max => ReduceOp::Max,
        }
    }

    /// The weight of a leaf that has none.
    fn none(self) -> f64 {
        match self {
            Aggregate::Sum | Aggregate::Average => 0.0,
            Aggregate::Min => f64::INFINITY,
            Aggregate::Max => f64::NEG_INFINITY,
        }
    }
}

/// A score for each target.
pub fn tree_ensemble_regressor(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let targets = usize::try_from(ctx.int("n_targets", 0)?).unwrap_or(0);
    let aggregate = match ctx.string("aggregate_function", "SUM")?.as_str() {
        "SUM" => Aggregate::Sum,
        "AVERAGE" => Aggregate::Average,
        "MIN" => Aggregate::Min,
        "MAX" => Aggregate::Max,
        other => return Err(invalid(format!("aggregate_function is `{other}`, it must be SUM, AVERAGE, MIN or MAX"))),
    };
    let ensemble = classic(ctx, "target")?;
    let x = features(ctx)?;
    let y = scores(ctx, x, &ensemble, targets, aggregate, DType::F32)?;
    let y = with_base(ctx, y, &ensemble.base)?;
    let name = ctx.string("post_transform", "NONE")?;
    Ok(vec![transformed(ctx, y, &name)?])
}

/// Version 5: scores of the features' type.
pub fn tree_ensemble(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let targets = usize::try_from(ctx.int("n_targets", 0)?).unwrap_or(0);
    let aggregate = match ctx.int("aggregate_function", 1)? {
        0 => Aggregate::Average,
        1 => Aggregate::Sum,
        2 => Aggregate::Min,
        3 => Aggregate::Max,
        other => return Err(invalid(format!("aggregate_function is {other}, it must be from 0 to 3"))),
    };
    let ensemble = general(ctx)?;
    let result = ctx.input(0).map(|x| ctx.dtype(x))?;
    let x = features(ctx)?;
    let y = scores(ctx, x, &ensemble, targets, aggregate, ctx.dtype(x))?;
    let name = match ctx.int("post_transform", 0)? {
        0 => "NONE",
        1 => "SOFTMAX",
        2 => "LOGISTIC",
        3 => "SOFTMAX_ZERO",
        4 => "PROBIT",
        other => return Err(invalid(format!("post_transform is {other}, it must be from 0 to 4"))),
    };
    let y = transformed(ctx, y, name)?;
    Ok(vec![ctx.convert(y, result)?])
}

/// The class with the greatest score, and the scores of all.
pub fn tree_ensemble_classifier(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let labels = integer_labels(ctx, ["classlabels_int64s", "classlabels_strings"])?;
    let ensemble = classic(ctx, "class")?;
    let name = ctx.string("post_transform", "NONE")?;
    let mut scored: Vec<usize> = ensemble.weights.iter().flatten().map(|&(class, _)| class).collect();
    scored.sort_unstable();
    scored.dedup();
    let x = features(ctx)?;
    if let ([low, high], [class]) = (&labels[..], &scored[..]) {
        return one_score(ctx, x, &ensemble, (*low, *high), *class, &name);
    }
    let y = scores(ctx, x, &ensemble, labels.len(), Aggregate::Sum, DType::F32)?;
    let y = with_base(ctx, y, &ensemble.base)?;
    let best = ctx.one(Op::ArgReduce { axis: 1, max: true, last: false }, &[y])?;
    let labels = ctx.ints_constant(&labels);
    let label = ctx.one(Op::Gather { axis: 0, batch: 0 }, &[labels, best])?;
    Ok(vec![label, transformed(ctx, y, &name)?])
}

/// Two classes of which one is scored: a probability where no weight is negative, else a number on one side of 0.
fn one_score(
    ctx: &mut Context,
    x: ValueId,
    ensemble: &Ensemble,
    (low, high): (i64, i64),
    class: usize,
    transform: &str,
) -> Result<Vec<ValueId>> {
    if ensemble.base.len() > 1 || (class == 1 && !ensemble.base.is_empty()) {
        return Err(unsupported(
            "base_values of two classes of which the trees score one are not supported; add them to leaves",
        ));
    }
    let y = scores(ctx, x, &with_class(ensemble, 0), 1, Aggregate::Sum, DType::F32)?;
    let y = with_base(ctx, y, &ensemble.base)?;
    let probability = ensemble.weights.iter().flatten().all(|&(_, weight)| weight >= 0.0);
    let positive = ctx.binary_scalar(BinaryOp::Gt, y, if probability { 0.5 } else { 0.0 })?;
    let (low, high) = (ctx.int_scalar(low), ctx.int_scalar(high));
    let label = ctx.select(positive, high, low)?;
    let rows = ctx.dim(y, 0);
    let label = ctx.reshape(label, &[rows])?;
    if class == 1 {
        let none = ctx.binary_scalar(BinaryOp::Mul, y, 0.0)?;
        let both = ctx.concat(&[none, y], 1)?;
        return Ok(vec![label, transformed(ctx, both, transform)?]);
    }
    let opposite = ctx.unary(UnaryOp::Neg, y)?;
    let both = match transform {
        "LOGISTIC" => {
            let both = ctx.concat(&[opposite, y], 1)?;
            ctx.unary(UnaryOp::Sigmoid, both)?
        }
        "PROBIT" => return Err(unsupported("post_transform `PROBIT` is not supported; use NONE, LOGISTIC or SOFTMAX")),
        _ if probability => {
            let rest = ctx.binary_scalar(BinaryOp::Add, opposite, 1.0)?;
            ctx.concat(&[rest, y], 1)?
        }
        _ => ctx.concat(&[opposite, y], 1)?,
    };
    Ok(vec![label, both])
}

/// The ensemble with all weights of one class.
fn with_class(ensemble: &Ensemble, class: usize) -> Ensemble {
    let renamed = |leaf: &Vec<(usize, f64)>| leaf.iter().map(|&(_, weight)| (class, weight)).collect();
    Ensemble { weights: ensemble.weights.iter().map(renamed).collect(), ..ensemble.clone() }
}

/// The input as rows of `f32` or `f64`.
fn features(ctx: &mut Context) -> Result<ValueId> {
    let x = ctx.input(0)?;
    let x = if ctx.rank(x) == 1 { ctx.unsqueeze(x, &[0])? } else { x };
    ctx.require_rank(x, 2, "the input")?;
    let dtype = if ctx.dtype(x) == DType::F64 { DType::F64 } else { DType::F32 };
    ctx.convert(x, dtype)
}

fn with_base(ctx: &mut Context, y: ValueId, base: &[f64]) -> Result<ValueId> {
    if base.is_empty() {
        return Ok(y);
    }
    if !ctx.dim(y, 1).is_const(base.len() as i64) {
        return Err(invalid(format!("there are {} base_values for {} scores", base.len(), ctx.show(y))));
    }
    let base = ctx.constant(Tensor::from_f64s(ctx.dtype(y), &[base.len()], base));
    ctx.add(y, base)
}

/// `[rows, targets]`: the weights of the leaves that each row comes to, combined.
fn scores(
    ctx: &mut Context,
    x: ValueId,
    ensemble: &Ensemble,
    targets: usize,
    aggregate: Aggregate,
    dtype: DType,
) -> Result<ValueId> {
    if targets == 0 {
        return Err(invalid("the number of targets is missing, or 0"));
    }
    if let Some((target, _)) = ensemble.weights.iter().flatten().find(|(target, _)| *target >= targets) {
        return Err(invalid(format!("a leaf has a weight for target {target}; there are {targets}")));
    }
    let trees = ensemble.forest.roots.len();
    let by_target = (targets > 1).then(|| trees_by_target(ensemble, targets)).flatten();
    let forest = by_target.as_ref().unwrap_or(&ensemble.forest);
    let (leaf, leaves) = walk(ctx, x, forest)?;
    let width = if by_target.is_some() { 1 } else { targets };
    let count = leaves.len().checked_mul(width).filter(|&count| count <= MOST_WEIGHTS);
    let count = count.ok_or_else(|| {
        unsupported(format!(
            "{} leaves with weights for {targets} targets are too many; split the targets",
            leaves.len()
        ))
    })?;
    let mut weights = vec![aggregate.none(); count];
    for (row, &leaf) in leaves.iter().enumerate() {
        for &(target, weight) in ensemble.weights.get(leaf).map_or(&[][..], Vec::as_slice) {
            let at = &mut weights[row * width + if width == 1 { 0 } else { target }];
            *at = if *at == aggregate.none() { weight } else { *at + weight };
        }
    }
    let rows = ctx.dim(x, 0);
    let mut y = match width {
        1 => {
            let weights = ctx.constant(Tensor::from_f64s(dtype, &[count], &weights));
            let found = ctx.one(Op::Gather { axis: 0, batch: 0 }, &[weights, leaf])?;
            let each = forest.roots.len() / targets;
            let found = ctx.reshape(found, &[rows, Dim::from(targets), Dim::from(each)])?;
            ctx.reduce(aggregate.reduce(), found, &[2], false)?
        }
        _ => {
            let weights = ctx.constant(Tensor::from_f64s(dtype, &[leaves.len(), targets], &weights));
            let found = ctx.one(Op::Gather { axis: 0, batch: 0 }, &[weights, leaf])?;
            ctx.reduce(aggregate.reduce(), found, &[1], false)?
        }
    };
    match aggregate {
        Aggregate::Sum => {}
        Aggregate::Average => y = ctx.binary_scalar(BinaryOp::Div, y, trees as f64)?,
        Aggregate::Min | Aggregate::Max => {
            // A target that no tree has a weight for.
            let none = ctx.binary_scalar(BinaryOp::Eq, y, aggregate.none())?;
            let zero = ctx.scalar(dtype, 0.0);
            y = ctx.select(none, zero, y)?;
        }
    }
    Ok(y)
}

/// Where each tree has weights for one target: the trees of the first target, then of the next, as many of each, filled up
/// with leaves of no weight.
fn trees_by_target(ensemble: &Ensemble, targets: usize) -> Option<Forest> {
    let forest = &ensemble.forest;
    let mut lists = vec![vec![]; targets];
    for &root in &forest.roots {
        let mut target = None;
        let (mut seen, mut stack) = (FxHashMap::default(), vec![root]);
        while let Some(child) = stack.pop() {
            match child {
                Child::Node(node) => {
                    // A branch that leads nowhere, or back, is told of when tables are made.
                    if let (Some(split), None) = (forest.splits.get(node), seen.insert(node, ())) {
                        stack.extend([split.yes, split.no]);
                    }
                }
                Child::Leaf(leaf) => {
                    for &(other, _) in ensemble.weights.get(leaf).map_or(&[][..], Vec::as_slice) {
                        if *target.get_or_insert(other) != other {
                            return None;
                        }
                    }
                }
            }
        }
        lists[target.unwrap_or(0)].push(root);
    }
    let most = lists.iter().map(Vec::len).max().unwrap_or(0);
    // One after all that have weights.
    let empty = Child::Leaf(ensemble.weights.len());
    for list in &mut lists {
        list.resize(most, empty);
    }
    Some(Forest { splits: forest.splits.clone(), roots: lists.concat() })
}

/// `i64[rows, trees]`, and what leaves those numbers are.
fn walk(ctx: &mut Context, x: ValueId, forest: &Forest) -> Result<(ValueId, Vec<usize>)> {
    let tables = forest.tables(ctx.dtype(x))?;
    let count = Dim::from(tables.features);
    // Also says that the input has as many.
    let x = if ctx.dim(x, 1) == count { x } else { ctx.slice_axis(x, 1, Dim::ZERO, count)? };
    let missing = forest.splits.iter().any(|split| split.missing_is_yes || split.question != Question::AtMost);
    let operands = [tables.thresholds, tables.nodes, tables.roots].map(|table| ctx.constant(table));
    let leaf = ctx.one(Op::TreeLeaf { missing }, &[x, operands[0], operands[1], operands[2]])?;
    Ok((leaf, tables.leaves))
}
