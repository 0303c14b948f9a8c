//! TreeEnsembleRegressor, TreeEnsembleClassifier and TreeEnsemble of `ai.onnx.ml`
//! (<https://onnx.ai/onnx/operators/index_ml.html>), all versions; classes are numbered.
//!
//! A row walks every tree to a leaf; the weights of its leaves are gathered and combined. Where the standard is silent, as
//! ONNX Runtime, but for two scored classes, of which the greater score wins.

use crate::context::Context;
use crate::error::{Result, invalid, unsupported};
use crate::forest::{Child, Forest, Question};
use crate::ml_labels::Labels;
use crate::ml_linear::{of_targets, rows, transformed};
use crate::ml_tree_attributes::{Ensemble, classic, general};
use nnc_ir::op::{BinaryOp, ReduceOp, UnaryOp};
use nnc_ir::{DType, Dim, Op, Tensor, ValueId};
use rustc_hash::{FxHashMap, FxHashSet};

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
    let base = ensemble.base.clone();
    let y = scores(ctx, x, ensemble, targets, aggregate, DType::F32)?.sums;
    let y = with_base(ctx, y, &base)?;
    let name = ctx.string("post_transform", "NONE")?;
    Ok(vec![of_targets(ctx, y, targets, &name)?])
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
    let base = ensemble.base.clone();
    let y = scores(ctx, x, ensemble, targets, aggregate, ctx.dtype(x))?.sums;
    let y = with_base(ctx, y, &base)?;
    let name = match ctx.int("post_transform", 0)? {
        0 => "NONE",
        1 => "SOFTMAX",
        2 => "LOGISTIC",
        3 => "SOFTMAX_ZERO",
        4 => "PROBIT",
        other => return Err(invalid(format!("post_transform is {other}, it must be from 0 to 4"))),
    };
    let y = of_targets(ctx, y, targets, name)?;
    Ok(vec![ctx.convert(y, result)?])
}

/// The class with the greatest score, and the scores of all.
pub fn tree_ensemble_classifier(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let labels = ctx.labels(["classlabels_int64s", "classlabels_strings"])?;
    let ensemble = classic(ctx, "class")?;
    let name = ctx.string("post_transform", "NONE")?;
    let mut scored: Vec<usize> = ensemble.weights.iter().flatten().map(|&(class, _)| class).collect();
    scored.sort_unstable();
    scored.dedup();
    let x = features(ctx)?;
    if let (2, [class]) = (labels.len(), &scored[..]) {
        return one_score(ctx, x, ensemble, &labels, *class, &name);
    }
    let base = ensemble.base.clone();
    let Scores { sums, scored } = scores(ctx, x, ensemble, labels.len(), Aggregate::Sum, DType::F32)?;
    let y = with_base(ctx, sums, &base)?;
    // Of classes that no leaf of the row scores none wins, unless all have a score to begin with.
    let compared = match scored.filter(|_| base.is_empty()) {
        Some(scored) => {
            let none = ctx.scalar(DType::F32, f64::NEG_INFINITY);
            ctx.select(scored, y, none)?
        }
        None => y,
    };
    let label = ctx.greatest(compared, &labels)?;
    let scores = transformed(ctx, y, &name)?;
    Ok(ctx.classified(label, scores))
}

/// Two classes of which one is scored: a probability where no weight is negative, else a number on one side of 0.
fn one_score(
    ctx: &mut Context,
    x: ValueId,
    mut ensemble: Ensemble,
    labels: &Labels,
    class: usize,
    transform: &str,
) -> Result<Vec<ValueId>> {
    let probability = ensemble.weights.iter().flatten().all(|&(_, weight)| weight >= 0.0);
    let base = std::mem::take(&mut ensemble.base);
    if base.len() > 2 {
        return Err(invalid(format!("there are {} base_values for 2 classes", base.len())));
    }
    // It is the only target.
    ensemble.weights.iter_mut().flatten().for_each(|(target, _)| *target = 0);
    let Scores { sums, scored } = scores(ctx, x, ensemble, 1, Aggregate::Sum, DType::F32)?;
    // What a class begins with counts where a leaf scores it, and of two such numbers the second replaces the trees'.
    let score = match (class, &base[..]) {
        (0, &[first, ..]) => ctx.binary_scalar(BinaryOp::Add, sums, first)?,
        (_, &[_, second]) => ctx.full(DType::F32, second, &ctx.shape(sums))?,
        _ => sums,
    };
    let score = match scored {
        Some(scored) => {
            let zero = ctx.scalar(DType::F32, 0.0);
            ctx.select(scored, score, zero)?
        }
        None => score,
    };
    let none = ctx.full(DType::F32, 0.0, &ctx.shape(score))?;
    let both = if class == 0 { [score, none] } else { [none, score] };
    let both = ctx.concat(&both, 1)?;
    let both = match (class, base.len()) {
        (0, 0 | 1) => both_of_one(ctx, score, probability, transform)?,
        (_, 2) => transformed(ctx, both, transform)?,
        _ => {
            let both = transformed(ctx, both, transform)?;
            match scored {
                Some(scored) => {
                    let alone = both_of_one(ctx, score, probability, transform)?;
                    ctx.select(scored, both, alone)?
                }
                None => both,
            }
        }
    };
    let positive = ctx.binary_scalar(BinaryOp::Gt, score, if probability { 0.5 } else { 0.0 })?;
    let label = ctx.either(positive, labels)?;
    Ok(ctx.classified(label, both))
}

/// The scores of two classes from that of one, `[rows, 1]`.
fn both_of_one(ctx: &mut Context, score: ValueId, probability: bool, transform: &str) -> Result<ValueId> {
    let opposite = ctx.unary(UnaryOp::Neg, score)?;
    match transform {
        "PROBIT" => Err(unsupported(
            "post_transform `PROBIT` of one score of two classes says nothing of the other; use NONE, or score both",
        )),
        "NONE" | "SOFTMAX" | "SOFTMAX_ZERO" if probability => {
            let rest = ctx.binary_scalar(BinaryOp::Add, opposite, 1.0)?;
            ctx.concat(&[rest, score], 1)
        }
        "LOGISTIC" => {
            let both = ctx.concat(&[opposite, score], 1)?;
            ctx.unary(UnaryOp::Sigmoid, both)
        }
        _ => ctx.concat(&[opposite, score], 1),
    }
}

/// The input as rows of `f32` or `f64`.
fn features(ctx: &mut Context) -> Result<ValueId> {
    let x = rows(ctx)?;
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

/// What the leaves that each row comes to say of each target, `[rows, targets]`.
struct Scores {
    /// Their weights, combined.
    sums: ValueId,
    /// Whether one of them has a weight for it; `None` where that is so for all rows and targets.
    scored: Option<ValueId>,
}

fn scores(
    ctx: &mut Context,
    x: ValueId,
    mut ensemble: Ensemble,
    targets: usize,
    aggregate: Aggregate,
    dtype: DType,
) -> Result<Scores> {
    if targets == 0 {
        return Err(invalid("the number of targets is missing, or 0"));
    }
    if let Some((target, _)) = ensemble.weights.iter().flatten().find(|(target, _)| *target >= targets) {
        return Err(invalid(format!("a leaf has a weight for target {target}; there are {targets}")));
    }
    let trees = ensemble.forest.roots.len();
    // Whether each leaf has a single weight.
    let mut single = targets == 1;
    if let Some(roots) = trees_by_target(&ensemble, targets) {
        (ensemble.forest.roots, single) = (roots, true);
    }
    let (leaf, leaves) = walk(ctx, x, &ensemble.forest)?;
    let width = if single { 1 } else { targets };
    let count = leaves.len().checked_mul(width).filter(|&count| count <= MOST_WEIGHTS);
    let count = count.ok_or_else(|| {
        unsupported(format!(
            "{} leaves with weights for {targets} targets are too many; split the targets",
            leaves.len()
        ))
    })?;
    let mut weights = vec![aggregate.none(); count];
    let mut weighted = vec![0u8; count];
    for (row, &leaf) in leaves.iter().enumerate() {
        for &(target, weight) in ensemble.of_leaf(leaf) {
            let place = row * width + if single { 0 } else { target };
            weighted[place] = 1;
            let at = &mut weights[place];
            *at = if *at == aggregate.none() { weight } else { *at + weight };
        }
    }
    let shape = [leaves.len(), targets];
    let shape = if single { &shape[..1] } else { &shape };
    let (rows, each) = (ctx.dim(x, 0), ensemble.forest.roots.len() / targets);
    // What the leaves that rows come to have in a table.
    let combined = |ctx: &mut Context, table: Tensor, op: ReduceOp| {
        let table = ctx.constant(table);
        let mut found = ctx.gather(table, leaf)?;
        if single {
            found = ctx.reshape(found, &[rows.clone(), Dim::from(targets), Dim::from(each)])?;
        }
        ctx.reduce(op, found, &[if single { 2 } else { 1 }], false)
    };
    let mut y = combined(ctx, Tensor::from_f64s(dtype, shape, &weights), aggregate.reduce())?;
    let scored = if always_scored(&ensemble, targets) {
        None
    } else {
        let weighted = combined(ctx, Tensor::from_slice(shape, &weighted), ReduceOp::Max)?;
        Some(ctx.convert(weighted, DType::Bool)?)
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
    Ok(Scores { sums: y, scored })
}

/// Whether for each target there is a tree all of whose leaves have a weight for it.
fn always_scored(ensemble: &Ensemble, targets: usize) -> bool {
    let mut scored = vec![false; targets];
    for &root in &ensemble.forest.roots {
        let leaves = leaves_below(&ensemble.forest, root);
        // For each target how many leaves have a weight for it, and the last of them.
        let mut counts: FxHashMap<usize, (usize, usize)> = FxHashMap::default();
        for (i, &leaf) in leaves.iter().enumerate() {
            for &(target, _) in ensemble.of_leaf(leaf) {
                let (count, last) = counts.entry(target).or_insert((0, usize::MAX));
                if *last != i {
                    (*count, *last) = (*count + 1, i);
                }
            }
        }
        counts.iter().filter(|(_, (count, _))| *count == leaves.len()).for_each(|(&target, _)| scored[target] = true);
    }
    scored.into_iter().all(|scored| scored)
}

/// The leaves that a root leads to. A branch that leads nowhere, or back, is told of when tables are made.
fn leaves_below(forest: &Forest, root: Child) -> Vec<usize> {
    let (mut leaves, mut seen, mut stack) = (vec![], FxHashSet::default(), vec![root]);
    while let Some(child) = stack.pop() {
        match child {
            Child::Node(node) => {
                if let (Some(split), true) = (forest.splits.get(node), seen.insert(node)) {
                    stack.extend([split.yes, split.no]);
                }
            }
            Child::Leaf(leaf) => leaves.push(leaf),
        }
    }
    leaves
}

/// Where each tree has weights for one target: the trees of the first target, then of the next, as many of each, filled up
/// with leaves of no weight. `None` also where those would be too many.
fn trees_by_target(ensemble: &Ensemble, targets: usize) -> Option<Vec<Child>> {
    let forest = &ensemble.forest;
    if targets == 1 || targets.checked_mul(forest.roots.len()).is_none_or(|roots| roots > MOST_WEIGHTS) {
        return None;
    }
    let mut lists = vec![vec![]; targets];
    for &root in &forest.roots {
        let mut target = None;
        for leaf in leaves_below(forest, root) {
            for &(other, _) in ensemble.of_leaf(leaf) {
                if *target.get_or_insert(other) != other {
                    return None;
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
    Some(lists.concat())
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

#[cfg(test)]
mod tests {
    use crate::testing::{Sketch, sketch};
    use nnc_onnx::Attribute;

    /// A tree that asks feature `feature` whether it is, in some way, to 1.0: yes weighs 1, no weighs 2.
    fn tree(mode: &str, feature: i64, yes: i64, targets: i64) -> Sketch {
        let x = sketch().given("x", &[4, 1], &[0.5f32, 1.0, 1.5, f32::NAN]);
        let x = x.node("TreeEnsembleRegressor", "x -> y").domain("ai.onnx.ml").int("n_targets", targets);
        let modes = [mode, "LEAF", "LEAF"].map(|mode| mode.as_bytes().to_vec());
        let x = x.attribute("nodes_modes", Attribute::Strings(modes.to_vec()));
        let x = x.attribute("nodes_values", Attribute::Floats(vec![1.0, 0.0, 0.0]));
        let x = x.int_list("nodes_treeids", &[0; 3]).int_list("nodes_nodeids", &[0, 1, 2]);
        let x = x.int_list("nodes_featureids", &[feature, 0, 0]);
        let x = x.int_list("nodes_truenodeids", &[yes, 0, 0]).int_list("nodes_falsenodeids", &[2, 0, 0]);
        let x = x.int_list("target_treeids", &[0, 0]).int_list("target_nodeids", &[1, 2]);
        let x = x.int_list("target_ids", &[0, 0]).attribute("target_weights", Attribute::Floats(vec![1.0, 2.0]));
        x.output("y")
    }

    #[test]
    fn questions_hold_at_the_threshold_and_for_nan() {
        for (mode, results) in [
            ("BRANCH_LEQ", "1 1 2 2"),
            ("BRANCH_LT", "1 2 2 2"),
            ("BRANCH_GTE", "2 1 1 2"),
            ("BRANCH_GT", "2 2 1 2"),
            ("BRANCH_EQ", "2 1 2 2"),
            ("BRANCH_NEQ", "1 2 1 1"),
        ] {
            assert_eq!(tree(mode, 0, 1, 1).run(), format!("f32[4, 1] {results}"), "{mode}");
        }
    }

    #[test]
    fn trees_that_make_no_sense() {
        assert!(tree("BRANCH_LEQ", 0, 0, 1).run().contains("leads back to a node above it"));
        assert!(tree("BRANCH_LEQ", 0, 7, 1).run().contains("leads to 7, which is none"));
        assert!(tree("BRANCH_OF", 0, 1, 1).run().contains("`BRANCH_OF`, which is no mode"));
        assert!(tree("BRANCH_LEQ", i64::MAX, 1, 1).run().contains("nodes or features"));
        assert!(tree("BRANCH_LEQ", 3, 1, 1).run().contains("TreeEnsembleRegressor"));
        assert!(tree("BRANCH_LEQ", 0, 1, i64::MAX).run().contains("too many"));
        assert!(tree("BRANCH_LEQ", 0, 1, 0).run().contains("number of targets"));
    }
    /// A stump whose left leaf scores class 1 and whose right leaf scores class `right`.
    fn stump(labels: &[i64], right: i64, weights: [f32; 2]) -> Sketch {
        let x = sketch().given("x", &[2, 1], &[0.5f32, 1.5]).node("TreeEnsembleClassifier", "x -> l s");
        let modes = ["BRANCH_LEQ", "LEAF", "LEAF"].map(|mode| mode.as_bytes().to_vec());
        let x = x.domain("ai.onnx.ml").attribute("nodes_modes", Attribute::Strings(modes.to_vec()));
        let x = x.attribute("nodes_values", Attribute::Floats(vec![1.0, 0.0, 0.0]));
        let x = x.int_list("nodes_treeids", &[0; 3]).int_list("nodes_nodeids", &[0, 1, 2]);
        let x = x.int_list("nodes_featureids", &[0; 3]).int_list("classlabels_int64s", labels);
        let x = x.int_list("nodes_truenodeids", &[1, 0, 0]).int_list("nodes_falsenodeids", &[2, 0, 0]);
        let x = x.int_list("class_treeids", &[0, 0]).int_list("class_nodeids", &[1, 2]);
        x.int_list("class_ids", &[1, right]).attribute("class_weights", Attribute::Floats(weights.to_vec()))
    }

    #[test]
    fn what_no_leaf_scores_does_not_win() {
        let three = || stump(&[7, 8, 9], 2, [-1.0, -2.0]);
        assert_eq!(three().output("l").run(), "i64[2] 8 9");
        assert_eq!(three().output("s").run(), "f32[2, 3] 0 -1 0 0 0 -2");
        let base = three().attribute("base_values", Attribute::Floats(vec![0.5, 0.0, 0.0]));
        assert_eq!(base.output("l").run(), "i64[2] 7 7");
        let two = |weights| stump(&[7, 8], 1, weights);
        assert_eq!(two([0.75, 0.25]).output("l").run(), "i64[2] 8 7");
        assert_eq!(two([0.75, -0.25]).output("s").run(), "f32[2, 2] 0 0.75 0 -0.25");
        let base = two([0.75, 0.25]).attribute("base_values", Attribute::Floats(vec![0.5, 0.625]));
        assert_eq!(base.output("s").run(), "f32[2, 2] 0 0.625 0 0.625");
        let many = two([0.75, 0.25]).attribute("base_values", Attribute::Floats(vec![0.5; 3]));
        assert!(many.output("s").run().contains("there are 3 base_values for 2 classes"));
    }
}
