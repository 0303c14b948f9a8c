//! Reductions, running sums, sorting and searching.

use nnc_ir::{DType, Dim};

use super::movement::axis;
use super::{Row, row};
use crate::fuzz::onnx::gen_state::Gen;
use crate::fuzz::onnx::net::{Attr, Var};
use crate::fuzz::onnx::range::Range;

pub(super) const ROWS: &[Row] = &[
    row(
        &[
            "ReduceSum",
            "ReduceMean",
            "ReduceMax",
            "ReduceMin",
            "ReduceProd",
            "ReduceL1",
            "ReduceL2",
            "ReduceLogSum",
            "ReduceLogSumExp",
            "ReduceSumSquare",
            "ReduceSum",
            "ReduceMean",
            "ReduceMax",
        ],
        13,
        reduce,
    ),
    row(&["ArgMax", "ArgMin"], 13, arg),
    row(&["TopK"], 11, top_k),
    row(&["CumSum"], 14, cumulative),
    row(&["CumProd"], 26, cumulative),
    row(&["Softmax", "LogSoftmax", "Hardmax"], 13, softmax),
];

fn reduce(g: &mut Gen, op: &str) -> Option<()> {
    let (low, high) = match op {
        "ReduceProd" => (-1.5, 1.5),
        "ReduceLogSumExp" => (-8.0, 8.0),
        "ReduceLogSum" | "ReduceL2" => (0.05, 100.0),
        _ => (-1000.0, 1000.0),
    };
    let exact_types = matches!(op, "ReduceSum" | "ReduceMax" | "ReduceMin");
    let dtypes = if exact_types { vec![g.float, g.float, DType::I64, DType::I32] } else { vec![g.float] };
    let x = match op {
        "ReduceProd" | "ReduceLogSumExp" | "ReduceLogSum" | "ReduceL2" => g.bounded(&dtypes, low, high, false),
        _ => g.get(&dtypes, (1, 5), |v| v.range.within(low, high)),
    };
    // Sums that overflow do so in other ways elsewhere.
    if x.rank() == 0 || (!x.dtype.is_float() && !x.range.within(low, high)) {
        return None;
    }
    let mut axes = g.random.permutation(x.rank());
    axes.truncate(1 + g.random.below(x.rank()).min(g.random.below(x.rank())));
    let all = g.random.percent(10);
    if all {
        axes = (0..x.rank()).collect();
    }
    // An empty set has a value of its own in sums and products only.
    for &axis in &axes {
        if !matches!(op, "ReduceSum" | "ReduceProd" | "ReduceL1" | "ReduceSumSquare") {
            g.at_least(&x.dims[axis], 1)?;
        }
    }
    let keep = g.random.percent(50);
    let n: f64 = axes.iter().map(|&a| g.size(&x.dims[a]).max(1) as f64 * 8.0).product();
    let m = x.range.magnitude();
    let range = match op {
        "ReduceSum" => x.range.sum(n),
        "ReduceMax" | "ReduceMin" => x.range,
        "ReduceMean" => x.range.approximate(),
        "ReduceSumSquare" => x.range.times(x.range).or_number(0.0).sum(n),
        "ReduceProd" => Range::rounded(-1.5f64.powf(n.min(40.0)), 1.5f64.powf(n.min(40.0))),
        "ReduceLogSum" | "ReduceLogSumExp" => Range::rounded(-8.0, 8.0 + n.ln()),
        _ => Range::rounded(0.0, m * n),
    };
    let mut dims = vec![];
    for (i, dim) in x.dims.iter().enumerate() {
        if !axes.contains(&i) {
            dims.push(dim.clone());
        } else if keep {
            dims.push(Dim::ONE);
        }
    }
    let mut attributes = vec![("keepdims", Attr::Int(i64::from(keep)))];
    let written: Vec<i64> =
        axes.iter().map(|&a| if g.random.percent(30) { a as i64 - x.rank() as i64 } else { a as i64 }).collect();
    if all {
        return g.one(op, &[&x], attributes, x.dtype, dims, range);
    }
    if op == "ReduceSum" || g.net.opset >= 18 {
        let axes = g.vector(&written);
        return g.one(op, &[&x, &axes], attributes, x.dtype, dims, range);
    }
    attributes.push(("axes", Attr::Ints(written)));
    g.one(op, &[&x], attributes, x.dtype, dims, range)
}

fn exact(g: &mut Gen) -> Option<Var> {
    let dtypes = [g.float, g.float, DType::I64, DType::I32];
    let x = g.get(&dtypes, (1, 4), |v| v.range.bits.is_some());
    x.range.bits?;
    Some(x)
}

fn arg(g: &mut Gen, op: &str) -> Option<()> {
    let x = exact(g)?;
    let (at, written) = axis(g, x.rank())?;
    g.at_least(&x.dims[at], 1)?;
    let keep = g.random.percent(50);
    let last = g.random.percent(30);
    let mut dims = x.dims.clone();
    if keep {
        dims[at] = Dim::ONE;
    } else {
        dims.remove(at);
    }
    let attributes = vec![
        ("axis", Attr::Int(written)),
        ("keepdims", Attr::Int(i64::from(keep))),
        ("select_last_index", Attr::Int(i64::from(last))),
    ];
    g.one(op, &[&x], attributes, DType::I64, dims, Range::exact(0.0, 5000.0, 0))
}

fn top_k(g: &mut Gen, op: &str) -> Option<()> {
    let x = exact(g)?;
    let (at, written) = axis(g, x.rank())?;
    let k = g.random.within(0, 4);
    g.at_least(&x.dims[at], k.max(1))?;
    let mut dims = x.dims.clone();
    dims[at] = Dim::from(k);
    let largest = g.random.below(2) as i64;
    let attributes = vec![("axis", Attr::Int(written)), ("largest", Attr::Int(largest))];
    let k = g.vector(&[k]);
    let results = vec![(x.dtype, dims.clone(), x.range), (DType::I64, dims, Range::exact(0.0, 5000.0, 0))];
    g.emit(op, &[&x, &k], attributes, results).map(drop)
}

fn cumulative(g: &mut Gen, op: &str) -> Option<()> {
    let x = match op {
        "CumProd" => g.bounded(&[DType::F32], -1.0, 1.0, false),
        _ => g.get(&[DType::F32, DType::I64, DType::I32], (1, 4), |v| v.range.magnitude() < 1e3),
    };
    let (at, written) = axis(g, x.rank())?;
    let axis = g.scalar(DType::I64, written as f64);
    let attributes =
        vec![("exclusive", Attr::Int(g.random.below(2) as i64)), ("reverse", Attr::Int(g.random.below(2) as i64))];
    let n = g.size(&x.dims[at]).max(1) as f64 * 8.0;
    let range = if op == "CumProd" { Range::rounded(-1.0, 1.0) } else { x.range.sum(n) };
    g.one(op, &[&x, &axis], attributes, x.dtype, x.dims.clone(), range)
}

fn softmax(g: &mut Gen, op: &str) -> Option<()> {
    let x = g.bounded(&[g.float], -30.0, 30.0, op == "Hardmax");
    let (at, written) = axis(g, x.rank())?;
    g.at_least(&x.dims[at], 1)?;
    let range = match op {
        "Softmax" => Range::rounded(0.0, 1.0),
        "Hardmax" => Range::exact(0.0, 1.0, 0),
        _ => Range::rounded(-70.0, 0.0),
    };
    g.one(op, &[&x], vec![("axis", Attr::Int(written))], x.dtype, x.dims.clone(), range)
}
