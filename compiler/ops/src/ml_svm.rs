//! SVMClassifier and SVMRegressor of `ai.onnx.ml` (<https://onnx.ai/onnx/operators/index_ml.html>), all versions.
//!
//! A row is compared with each support vector by a kernel; what comes of it is weighed for each pair of classes. Where the
//! standard is silent, as ONNX Runtime: a classifier without support vectors is linear, votes of pairs decide unless it is,
//! and a regressor leaves its score as it is, whatever `post_transform` says. Computed in `f32`.

use crate::context::Context;
use crate::error::{Result, invalid, unsupported};
use crate::matmul::matmul_of;
use crate::ml_coupling::{coupled, square};
use crate::ml_labels::{Labelled, Labels};
use crate::ml_linear::{rows, transformed};
use nnc_ir::op::{BinaryOp, ReduceOp, UnaryOp};
use nnc_ir::{DType, Dim, Op, Tensor, ValueId};

/// How a row is compared with a vector.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kernel {
    Linear,
    Polynomial { gamma: f32, offset: f32, degree: f32 },
    Radial { gamma: f32 },
    Sigmoid { gamma: f32, offset: f32 },
}

/// Attributes `kernel_type` and `kernel_params`.
fn kernel(ctx: &mut Context) -> Result<Kernel> {
    let [gamma, offset, degree] = match ctx.floats("kernel_params")?.unwrap_or_default() {
        [] => [0.0; 3],
        &[gamma, offset, degree, ..] => [gamma, offset, degree],
        few => return Err(invalid(format!("kernel_params has {} elements, it must have 3", few.len()))),
    };
    Ok(match ctx.string("kernel_type", "LINEAR")?.as_str() {
        "LINEAR" => Kernel::Linear,
        "POLY" => Kernel::Polynomial { gamma, offset, degree },
        "RBF" => Kernel::Radial { gamma },
        "SIGMOID" => Kernel::Sigmoid { gamma, offset },
        other => return Err(invalid(format!("kernel_type is `{other}`, it must be LINEAR, POLY, RBF or SIGMOID"))),
    })
}

/// The input, `[rows, features]`, and a list as rows of as many features: `[count, features]`.
fn vectors(ctx: &mut Context, x: ValueId, list: &[f32], count: usize, what: &str) -> Result<[ValueId; 2]> {
    if count == 0 || list.is_empty() || !list.len().is_multiple_of(count) {
        return Err(invalid(format!("{} {what} do not divide into {count} rows", list.len())));
    }
    let features = list.len() / count;
    let x = ctx.with_size(x, 1, &Dim::from(features), || format!("features of the input against those of {what}"))?;
    Ok([x, ctx.constant(Tensor::from_slice(&[count, features], list))])
}

/// Rows of the input times vectors: `[rows, count]`.
fn products(ctx: &mut Context, x: ValueId, vectors: ValueId) -> Result<ValueId> {
    let vectors = ctx.transpose(vectors, &[1, 0])?;
    matmul_of(ctx, x, vectors, DType::F32)
}

/// How each row compares with each vector: `[rows, count]`.
fn compared(ctx: &mut Context, kernel: Kernel, x: ValueId, vectors: ValueId) -> Result<ValueId> {
    let scaled = |ctx: &mut Context, gamma: f32, offset: f32| {
        let y = products(ctx, x, vectors)?;
        let y = ctx.binary_scalar(BinaryOp::Mul, y, gamma.into())?;
        ctx.binary_scalar(BinaryOp::Add, y, offset.into())
    };
    match kernel {
        Kernel::Linear => products(ctx, x, vectors),
        Kernel::Polynomial { gamma, offset, degree } => {
            let y = scaled(ctx, gamma, offset)?;
            ctx.binary_scalar(BinaryOp::Pow, y, degree.into())
        }
        Kernel::Sigmoid { gamma, offset } => {
            let y = scaled(ctx, gamma, offset)?;
            ctx.unary(UnaryOp::Tanh, y)
        }
        Kernel::Radial { gamma } => {
            // The difference of squares would cancel where a row is near a vector.
            let shape = vec![ctx.dim(x, 0), ctx.dim(vectors, 0), ctx.dim(x, 1)];
            let x = ctx.one(Op::Broadcast { shape: shape.clone(), axes: vec![0, 2] }, &[x])?;
            let vectors = ctx.one(Op::Broadcast { shape, axes: vec![1, 2] }, &[vectors])?;
            let apart = ctx.sub(x, vectors)?;
            let squares = ctx.mul(apart, apart)?;
            let sum = ctx.reduce(ReduceOp::Sum, squares, &[2], false)?;
            let sum = ctx.binary_scalar(BinaryOp::Mul, sum, -f64::from(gamma))?;
            ctx.unary(UnaryOp::Exp, sum)
        }
    }
}

fn list<'m>(ctx: &mut Context<'_, 'm>, name: &str, least: usize) -> Result<&'m [f32]> {
    let list = ctx.floats(name)?.unwrap_or_default();
    if list.len() < least || list.is_empty() {
        return Err(invalid(format!("{name} has {} elements, it must have {}", list.len(), least.max(1))));
    }
    Ok(list)
}

/// One score a row, `[rows, 1]`; with `one_class` 1 where it is positive, else -1.
pub fn svm_regressor(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let kernel = kernel(ctx)?;
    let supports = usize::try_from(ctx.int("n_supports", 0)?).unwrap_or(0);
    let (coefficients, rho) = (list(ctx, "coefficients", supports)?, list(ctx, "rho", 1)?[0]);
    let support_vectors = ctx.floats("support_vectors")?.unwrap_or_default();
    ctx.no_effect("post_transform");
    let x = rows(ctx)?;
    let x = ctx.convert(x, DType::F32)?;
    let y = if supports > 0 {
        let [x, vectors] = vectors(ctx, x, support_vectors, supports, "support_vectors")?;
        let y = compared(ctx, kernel, x, vectors)?;
        let weights = ctx.constant(Tensor::from_slice(&[supports, 1], &coefficients[..supports]));
        matmul_of(ctx, y, weights, DType::F32)?
    } else {
        let [x, vectors] = vectors(ctx, x, coefficients, 1, "coefficients")?;
        products(ctx, x, vectors)?
    };
    let y = ctx.binary_scalar(BinaryOp::Add, y, rho.into())?;
    if !ctx.flag("one_class", false)? {
        return Ok(vec![y]);
    }
    let inside = ctx.binary_scalar(BinaryOp::Gt, y, 0.0)?;
    let (one, other) = (ctx.scalar(DType::F32, 1.0), ctx.scalar(DType::F32, -1.0));
    Ok(vec![ctx.select(inside, one, other)?])
}

/// The class that most pairs vote for, and scores or probabilities.
pub fn svm_classifier(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let labels = ctx.labels(["classlabels_ints", "classlabels_strings"])?;
    let kernel = kernel(ctx)?;
    let transform = ctx.string("post_transform", "NONE")?;
    let counts = ctx.ints("vectors_per_class")?.unwrap_or_default();
    let counts: Option<Vec<usize>> = counts.iter().map(|&n| usize::try_from(n).ok()).collect();
    let counts = counts.ok_or_else(|| invalid("vectors_per_class has a number below 0"))?;
    let support_vectors = ctx.floats("support_vectors")?.unwrap_or_default();
    let (coefficients, rho) = (list(ctx, "coefficients", 1)?, list(ctx, "rho", 1)?);
    let probabilities = [ctx.floats("prob_a")?.unwrap_or_default(), ctx.floats("prob_b")?.unwrap_or_default()];
    let x = rows(ctx)?;
    let x = ctx.convert(x, DType::F32)?;
    if counts.iter().all(|&n| n == 0) {
        return linear(ctx, x, &labels, coefficients, rho[0], probabilities[0].is_empty(), &transform);
    }
    let classes = labels.len();
    if counts.len() != classes || classes < 2 {
        return Err(invalid(format!(
            "vectors_per_class has {} elements, it must have one for each of at least two classes, and there are {classes}",
            counts.len()
        )));
    }
    let pairs = classes * (classes - 1) / 2;
    let count = counts.iter().try_fold(0usize, |sum, &n| sum.checked_add(n)).unwrap_or(usize::MAX);
    if rho.len() < pairs || probabilities.iter().any(|list| !list.is_empty() && list.len() < pairs) {
        return Err(invalid(format!(
            "{classes} classes need {pairs} elements of rho, and of prob_a and prob_b if given"
        )));
    }
    if probabilities[0].is_empty() != probabilities[1].is_empty() {
        return Err(invalid("prob_a and prob_b must be given together"));
    }
    if count.checked_mul(classes - 1).is_none_or(|least| coefficients.len() < least) {
        return Err(invalid(format!(
            "there are {} coefficients, {classes} classes with {count} vectors need more",
            coefficients.len()
        )));
    }
    let [x, vectors] = vectors(ctx, x, support_vectors, count, "support_vectors")?;
    let compared = compared(ctx, kernel, x, vectors)?;
    let scores = pair_scores(ctx, compared, &counts, coefficients, &rho[..pairs])?;
    let label = most_votes(ctx, scores, &labels)?;
    let scores = if probabilities[0].is_empty() {
        without_probabilities(ctx, scores, classes, &transform)?
    } else {
        let [a, b] = probabilities.map(|list| ctx.constant(Tensor::from_slice(&[pairs], &list[..pairs])));
        let scores = ctx.mul(scores, a)?;
        let scores = ctx.add(scores, b)?;
        let scores = ctx.unary(UnaryOp::Neg, scores)?;
        let first = ctx.unary(UnaryOp::Sigmoid, scores)?;
        let first = ctx.binary_scalar(BinaryOp::Max, first, f64::from(1e-7f32))?;
        let first = ctx.binary_scalar(BinaryOp::Min, first, f64::from(1.0 - 1e-7f32))?;
        let scores = coupled(ctx, first, classes)?;
        transformed(ctx, scores, &transform)?
    };
    Ok(ctx.classified(label, scores))
}

/// A score for each class, whose coefficients are a row: the greatest wins, but that a positive one of two classes is the
/// second's.
fn linear(
    ctx: &mut Context,
    x: ValueId,
    labels: &Labels,
    coefficients: &[f32],
    rho: f32,
    second_if_positive: bool,
    transform: &str,
) -> Result<Vec<ValueId>> {
    let [x, vectors] = vectors(ctx, x, coefficients, labels.len(), "coefficients")?;
    let y = products(ctx, x, vectors)?;
    let y = ctx.binary_scalar(BinaryOp::Add, y, rho.into())?;
    let label = if labels.len() == 2 && second_if_positive {
        let most = ctx.reduce(ReduceOp::Max, y, &[1], false)?;
        let second = if coefficients.iter().all(|&c| c >= 0.0) {
            ctx.binary_scalar(BinaryOp::Ge, most, 0.5)?
        } else {
            ctx.binary_scalar(BinaryOp::Gt, most, 0.0)?
        };
        let best = ctx.one(Op::ArgReduce { axis: 1, max: true, last: false }, &[y])?;
        let one = ctx.int_scalar(1);
        let class = ctx.select(second, one, best)?;
        ctx.labelled(labels, class)?
    } else {
        ctx.greatest(y, labels)?
    };
    let scores = match (labels.len(), transform) {
        (1, "LOGISTIC" | "SOFTMAX" | "SOFTMAX_ZERO") => y,
        _ => transformed(ctx, y, transform)?,
    };
    Ok(ctx.classified(label, scores))
}

/// `[rows, pairs]`: for each pair of classes what their vectors weigh. Coefficients are `[classes - 1, vectors]`: a row for
/// each other class.
fn pair_scores(
    ctx: &mut Context,
    compared: ValueId,
    counts: &[usize],
    coefficients: &[f32],
    rho: &[f32],
) -> Result<ValueId> {
    let (classes, total) = (counts.len(), counts.iter().sum::<usize>());
    let mut start = 0;
    let mut sums = vec![];
    for &count in counts {
        // [rows, classes - 1]: what the vectors of this class weigh against each other one.
        let own = ctx.slice_axis(compared, 1, Dim::from(start), Dim::from(count))?;
        let weights: Vec<f32> = (start..start + count)
            .flat_map(|vector| (0..classes - 1).map(move |other| coefficients[other * total + vector]))
            .collect();
        let weights = ctx.constant(Tensor::from_slice(&[count, classes - 1], &weights));
        sums.push(matmul_of(ctx, own, weights, DType::F32)?);
        start += count;
    }
    let sums = ctx.concat(&sums, 1)?;
    let pairs = (0..classes).flat_map(|i| (i + 1..classes).map(move |j| (i, j)));
    let (first, second): (Vec<i64>, Vec<i64>) =
        pairs.map(|(i, j)| ((i * (classes - 1) + j - 1) as i64, (j * (classes - 1) + i) as i64)).unzip();
    let [first, second] = [first, second].map(|places| ctx.ints_constant(&places));
    let first = ctx.one(Op::Gather { axis: 1, batch: 0 }, &[sums, first])?;
    let second = ctx.one(Op::Gather { axis: 1, batch: 0 }, &[sums, second])?;
    let sum = ctx.add(first, second)?;
    let rho = ctx.constant(Tensor::from_slice(&[rho.len()], rho));
    ctx.add(sum, rho)
}

/// The label that most pairs vote for, the first of several.
fn most_votes(ctx: &mut Context, scores: ValueId, labels: &Labels) -> Result<Labelled> {
    let classes = labels.len();
    let first = ctx.binary_scalar(BinaryOp::Gt, scores, 0.0)?;
    let first = ctx.convert(first, DType::I64)?;
    let second = ctx.binary_scalar(BinaryOp::Xor, first, 1.0)?;
    let given = square(ctx, first, second, classes)?;
    let votes = ctx.reduce(ReduceOp::Sum, given, &[2], false)?;
    ctx.greatest(votes, labels)
}

/// Scores of pairs as they are, or both sides of a single one.
fn without_probabilities(ctx: &mut Context, scores: ValueId, classes: usize, transform: &str) -> Result<ValueId> {
    if classes > 2 {
        return transformed(ctx, scores, transform);
    }
    let other = ctx.unary(UnaryOp::Neg, scores)?;
    let other = match transform {
        "NONE" => other,
        "LOGISTIC" => {
            let both = ctx.concat(&[other, scores], 1)?;
            return ctx.unary(UnaryOp::Sigmoid, both);
        }
        "SOFTMAX" | "SOFTMAX_ZERO" => ctx.binary_scalar(BinaryOp::Add, other, 1.0)?,
        _ => {
            return Err(unsupported(
                "post_transform `PROBIT` of one score of two classes says nothing of the other; use NONE, or prob_a and prob_b",
            ));
        }
    };
    ctx.concat(&[other, scores], 1)
}

#[cfg(test)]
mod tests {
    use crate::testing::{Sketch, sketch};
    use nnc_onnx::Attribute;

    fn floats(list: &[f32]) -> Attribute {
        Attribute::Floats(list.to_vec())
    }

    fn model(op: &str, signature: &str, kernel: &str) -> Sketch {
        let x = sketch().given("x", &[2, 2], &[1.0f32, 2.0, -1.0, 0.5]).node(op, signature).domain("ai.onnx.ml");
        let x = x.string("kernel_type", kernel).attribute("kernel_params", floats(&[0.5, 1.0, 2.0]));
        x.attribute("support_vectors", floats(&[1.0, 0.0, 0.0, 1.0])).attribute("rho", floats(&[0.5; 3]))
    }

    #[test]
    fn regressor() {
        let y = |kernel: &str| {
            let model = model("SVMRegressor", "x -> y", kernel).int("n_supports", 2);
            model.attribute("coefficients", floats(&[1.0, -1.0])).output("y").run()
        };
        assert_eq!(y("LINEAR"), "f32[2, 1] -0.5 -1");
        // (x / 2 + 1)^2
        assert_eq!(y("POLY"), "f32[2, 1] -1.25 -0.8125");
        // exp(-2) - exp(-1), exp(-2.125) - exp(-0.625)
        assert_eq!(y("RBF"), "f32[2, 1] 0.2675 0.0842");
        assert_eq!(y("SIGMOID"), "f32[2, 1] 0.4411 0.1138");
        assert!(y("CUBE").contains("kernel_type is `CUBE`"));
        let one = model("SVMRegressor", "x -> y", "RBF").int("n_supports", 0).int("one_class", 1);
        assert_eq!(one.attribute("coefficients", floats(&[0.5, 0.0])).output("y").run(), "f32[2, 1] 1 -1");
    }

    fn classifier(counts: &[i64], coefficients: &[f32]) -> Sketch {
        let labels: Vec<i64> = (0..counts.len().max(2) as i64).map(|i| 10 * i).collect();
        let model = model("SVMClassifier", "x -> l s", "LINEAR").int_list("classlabels_ints", &labels);
        model.int_list("vectors_per_class", counts).attribute("coefficients", floats(coefficients))
    }

    #[test]
    fn votes() {
        let two = || classifier(&[1, 1], &[1.0, -1.0]);
        assert_eq!(two().output("l").run(), "i64[2] 10 10");
        assert_eq!(two().output("s").run(), "f32[2, 2] 0.5 -0.5 1 -1");
        assert!(two().string("post_transform", "PROBIT").output("s").run().contains("says nothing of the other"));
        let likely = two().attribute("prob_a", floats(&[-2.0])).attribute("prob_b", floats(&[0.0]));
        assert_eq!(likely.output("s").run(), "f32[2, 2] 0.2689 0.7311 0.119 0.881");
        // Classes 0 against 1, 0 against 2 and 1 against 2: the first has no vectors.
        let three = || classifier(&[0, 1, 1], &[-2.0, 3.0, 1.0, 1.0]);
        assert_eq!(three().output("s").run(), "f32[2, 3] -1.5 6.5 3.5 2.5 2 0");
        assert_eq!(three().output("l").run(), "i64[2] 10 0");
    }

    #[test]
    fn attributes_that_make_no_sense() {
        let run = |counts: &[i64], list: &[f32]| classifier(counts, list).output("l").run();
        assert!(run(&[2], &[1.0; 2]).contains("vectors_per_class has 1 elements"));
        assert!(run(&[1, 1, 1], &[1.0; 6]).contains("4 support_vectors do not divide into 3 rows"));
        assert!(run(&[1, 1], &[1.0]).contains("there are 1 coefficients"));
        assert!(run(&[-1, 1], &[1.0; 2]).contains("a number below 0"));
        assert!(run(&[i64::MAX, i64::MAX, i64::MAX], &[1.0; 2]).contains("need more"));
        assert!(run(&[1; 4], &[1.0; 12]).contains("4 classes need 6 elements of rho"));
        assert!(run(&[4, 0], &[1.0; 4]).contains("features of the input against those of support_vectors"));
        let half = classifier(&[1, 1], &[1.0, -1.0]).attribute("prob_a", floats(&[1.0]));
        assert!(half.output("l").run().contains("prob_a and prob_b must be given together"));
    }
}
