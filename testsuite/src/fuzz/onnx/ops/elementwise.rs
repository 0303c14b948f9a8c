//! Elementwise operators of one, two and more operands.

use nnc_ir::DType;

use super::{Row, row};
use crate::fuzz::onnx::gen_state::{Gen, broadcast};
use crate::fuzz::onnx::net::{Attr, Var};
use crate::fuzz::onnx::range::Range;

pub(super) const ROWS: &[Row] = &[
    row(&["Abs", "Neg", "Relu", "Sign", "Identity"], 14, simple),
    row(&["Floor", "Ceil", "Round"], 13, rounding),
    row(
        &[
            "Exp",
            "Log",
            "Sqrt",
            "Reciprocal",
            "Sigmoid",
            "Tanh",
            "Erf",
            "Sin",
            "Cos",
            "Tan",
            "Asin",
            "Acos",
            "Atan",
            "Sinh",
            "Cosh",
            "Asinh",
            "Acosh",
            "Atanh",
            "Softplus",
            "Softsign",
            "HardSwish",
            "Elu",
            "Celu",
            "Selu",
            "Mish",
            "Gelu",
            "Swish",
            "LeakyRelu",
            "ThresholdedRelu",
            "HardSigmoid",
            "Shrink",
        ],
        14,
        function,
    ),
    row(&["Add", "Sub", "Mul", "Add", "Sub", "Mul", "Div", "Max", "Min"], 14, arithmetic),
    row(&["Sum", "Mean", "Max", "Min"], 13, many),
    row(&["Pow"], 15, pow),
    row(&["Mod"], 13, modulo),
    row(&["PRelu"], 16, prelu),
    row(&["Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual"], 19, compare),
    row(&["And", "Or", "Xor"], 13, logic),
    row(&["Not", "IsNaN", "IsInf"], 13, test),
    row(&["BitwiseAnd", "BitwiseOr", "BitwiseXor"], 18, bits),
    row(&["BitwiseNot"], 18, complement),
    row(&["BitShift"], 13, shift),
    row(&["Where"], 16, select),
    row(&["Clip"], 13, clip),
    row(&["Dropout"], 13, dropout),
];

fn simple(g: &mut Gen, op: &str) -> Option<()> {
    let signed = [g.float, g.float, DType::F32, DType::I64, DType::I32, DType::I8];
    let x = g.get(&signed, (0, 5), |_| true);
    let range = match op {
        "Neg" => x.range.negative(),
        "Abs" => Range { low: 0.0, high: x.range.magnitude(), ..x.range },
        "Relu" => Range { low: 0.0, high: x.range.high.max(0.0), ..x.range },
        "Sign" => {
            x.range.bits?;
            Range::exact(-1.0, 1.0, 0)
        }
        _ => x.range,
    };
    g.one(op, &[&x], vec![], x.dtype, x.dims.clone(), range)
}

fn rounding(g: &mut Gen, op: &str) -> Option<()> {
    let x = g.bounded(&[g.float], -1000.0, 1000.0, true);
    let range = Range::exact(x.range.low.floor(), x.range.high.ceil(), 0);
    g.one(op, &[&x], vec![], x.dtype, x.dims.clone(), range)
}

/// Domains are clear of poles, branch points and overflow; a result's range is a bound, not always a tight one.
fn function(g: &mut Gen, op: &str) -> Option<()> {
    let since = match op {
        "Gelu" => 20,
        "Mish" => 18,
        "Swish" => 24,
        _ => 1,
    };
    if g.net.opset < since {
        return None;
    }
    let (low, high, least, most) = match op {
        "Exp" => (-6.0, 6.0, 0.0, 404.0),
        "Log" => (0.05, 100.0, -3.0, 4.7),
        "Sqrt" => (0.01, 1000.0, 0.1, 32.0),
        "Reciprocal" => (0.1, 100.0, 0.01, 10.0),
        "Tan" => (-1.2, 1.2, -2.6, 2.6),
        "Asin" | "Atanh" => (-0.9, 0.9, -1.5, 1.5),
        "Acos" => (-0.9, 0.9, 0.4, 2.8),
        "Acosh" => (1.2, 50.0, 0.6, 4.7),
        "Sinh" => (-5.0, 5.0, -75.0, 75.0),
        "Cosh" => (-5.0, 5.0, 1.0, 75.0),
        "Sigmoid" | "HardSigmoid" => (-30.0, 30.0, 0.0, 1.0),
        "Tanh" | "Erf" | "Softsign" | "Sin" | "Cos" => (-20.0, 20.0, -1.0, 1.0),
        "Atan" => (-20.0, 20.0, -1.6, 1.6),
        "Softplus" => (-20.0, 20.0, 0.0, 20.1),
        _ => (-20.0, 20.0, -25.0, 25.0),
    };
    // These jump: what they see must be exact.
    let jumps = matches!(op, "ThresholdedRelu" | "Shrink");
    let x = g.bounded(&[g.float], low, high, jumps);
    let mut attributes = vec![];
    let alpha = *g.random.of(&[0.1, 0.5, 1.0, 0.25]);
    if g.random.percent(50) {
        match op {
            "Elu" | "Celu" | "LeakyRelu" | "ThresholdedRelu" => attributes.push(("alpha", Attr::Float(alpha))),
            "HardSigmoid" => attributes.extend([("alpha", Attr::Float(alpha)), ("beta", Attr::Float(0.25))]),
            "Shrink" => attributes.extend([("lambd", Attr::Float(alpha)), ("bias", Attr::Float(0.5))]),
            "Gelu" => attributes.push(("approximate", Attr::Text("tanh"))),
            _ => {}
        }
    }
    g.one(op, &[&x], attributes, x.dtype, x.dims.clone(), Range::rounded(least, most))
}

/// Two operands of one type that broadcast, the second in a range; and the result's shape.
fn pair(g: &mut Gen, x: &Var, range: impl Fn(&mut Gen) -> Range) -> Option<(Var, Vec<nnc_ir::Dim>)> {
    let y = g.partner(x, range);
    let dims = broadcast(&x.dims, &y.dims)?;
    Some((y, dims))
}

fn numeric(g: &mut Gen) -> Var {
    let dtypes = [g.float, g.float, g.float, DType::I64, DType::I32];
    g.get(&dtypes, (0, 5), |v| v.range.magnitude() < 1e5)
}

fn arithmetic(g: &mut Gen, op: &str) -> Option<()> {
    let x = numeric(g);
    let dtype = x.dtype;
    let divisor = move |g: &mut Gen| match (dtype.is_float(), g.random.percent(50)) {
        (true, true) => Range::rounded(0.5, 4.0),
        (true, false) => Range::exact(1.0, 4.0, 0),
        _ => Range::exact(1.0, 9.0, 0),
    };
    let free = move |g: &mut Gen| g.range(dtype);
    let (y, dims) = if op == "Div" { pair(g, &x, divisor)? } else { pair(g, &x, free)? };
    let (a, b) = (x.range, y.range);
    let range = match op {
        "Add" => a.plus(b),
        "Sub" => a.plus(b.negative()),
        "Mul" => a.times(b),
        "Div" if dtype.is_float() => {
            let most = a.magnitude() / b.low.max(0.1);
            Range::rounded(-most, most)
        }
        "Div" => Range::exact(-a.magnitude(), a.magnitude(), 0),
        _ => a.or(b),
    };
    let swap = op != "Div" && g.random.percent(50);
    let order = if swap { [&y, &x] } else { [&x, &y] };
    let range = if op == "Sub" && swap { range.negative() } else { range };
    g.one(op, &order, vec![], dtype, dims, range)
}

fn many(g: &mut Gen, op: &str) -> Option<()> {
    let x = g.float(0, 4);
    let (y, dims) = pair(g, &x, |g| g.range(g.float))?;
    let mut all = vec![x, y];
    let mut dims = dims;
    for _ in 0..g.random.below(3) {
        let z = g.partner(&all[0], |g| g.range(g.float));
        dims = broadcast(&dims, &z.dims)?;
        all.push(z);
    }
    let range =
        all.iter().map(|v| v.range).reduce(|a, b| if matches!(op, "Max" | "Min") { a.or(b) } else { a.plus(b) })?;
    let range = if op == "Mean" { range.approximate() } else { range };
    let dtype = all[0].dtype;
    g.one(op, &all.iter().collect::<Vec<_>>(), vec![], dtype, dims, range)
}

fn pow(g: &mut Gen, op: &str) -> Option<()> {
    if g.random.percent(50) {
        let x = g.bounded(&[g.float], -8.0, 8.0, false);
        let y = g.scalar(x.dtype, 2.0);
        return g.one(op, &[&x, &y], vec![], x.dtype, x.dims.clone(), x.range.times(x.range));
    }
    let x = g.bounded(&[g.float], 0.2, 4.0, false);
    let (y, dims) = pair(g, &x, |_| Range::rounded(-2.0, 2.0))?;
    g.one(op, &[&x, &y], vec![], x.dtype, dims, Range::rounded(0.0, 32.0))
}

fn modulo(g: &mut Gen, op: &str) -> Option<()> {
    let x = g.get(&[DType::I64, DType::I32, DType::U8, DType::I8], (0, 4), |v| v.range.magnitude() < 1e9);
    let (y, dims) = pair(g, &x, |_| Range::exact(1.0, 9.0, 0))?;
    let attributes = if g.random.percent(30) { vec![("fmod", Attr::Int(1))] } else { vec![] };
    g.one(op, &[&x, &y], attributes, x.dtype, dims, Range::exact(if x.range.low < 0.0 { -9.0 } else { 0.0 }, 9.0, 0))
}

fn prelu(g: &mut Gen, op: &str) -> Option<()> {
    let x = g.float(1, 4);
    let y = g.partner(&x, |g| g.range(g.float));
    let dims = broadcast(&x.dims, &y.dims).filter(|dims| *dims == x.dims)?;
    let range = x.range.or(x.range.times(y.range)).or_number(0.0);
    let bits = x.range.bits.zip(y.range.bits).map(|(a, b)| a + b);
    g.one(op, &[&x, &y], vec![], x.dtype, dims, Range { bits, ..range })
}

fn compare(g: &mut Gen, op: &str) -> Option<()> {
    let dtypes = [g.float, g.float, DType::I64, DType::I32];
    let x = g.get(&dtypes, (0, 5), |v| v.range.bits.is_some());
    x.range.bits?;
    let dtype = x.dtype;
    let range =
        move |_: &mut Gen| if dtype.is_float() { Range::exact(-2.0, 2.0, 2) } else { Range::exact(0.0, 9.0, 0) };
    let (y, dims) = pair(g, &x, range)?;
    y.range.bits?;
    g.one(op, &[&x, &y], vec![], DType::Bool, dims, Range::exact(0.0, 1.0, 0))
}

fn logic(g: &mut Gen, op: &str) -> Option<()> {
    let x = g.get(&[DType::Bool], (0, 4), |_| true);
    let (y, dims) = pair(g, &x, |g| g.range(DType::Bool))?;
    g.one(op, &[&x, &y], vec![], DType::Bool, dims, Range::exact(0.0, 1.0, 0))
}

fn test(g: &mut Gen, op: &str) -> Option<()> {
    let dtype = if op == "Not" { DType::Bool } else { DType::F32 };
    let x = g.get(&[dtype], (0, 4), |_| true);
    g.one(op, &[&x], vec![], DType::Bool, x.dims.clone(), Range::exact(0.0, 1.0, 0))
}

const INTEGERS: &[DType] =
    &[DType::I64, DType::I32, DType::I16, DType::I8, DType::U8, DType::U16, DType::U32, DType::U64];

fn bits(g: &mut Gen, op: &str) -> Option<()> {
    let x = g.get(INTEGERS, (0, 4), |_| true);
    let dtype = x.dtype;
    let (y, dims) = pair(g, &x, move |g| g.range(dtype))?;
    g.one(op, &[&x, &y], vec![], dtype, dims, Range::all(dtype))
}

fn complement(g: &mut Gen, op: &str) -> Option<()> {
    let x = g.get(INTEGERS, (0, 4), |_| true);
    g.one(op, &[&x], vec![], x.dtype, x.dims.clone(), Range::all(x.dtype))
}

fn shift(g: &mut Gen, op: &str) -> Option<()> {
    let x = g.get(&[DType::U8, DType::U32, DType::U64], (0, 4), |_| true);
    let (y, dims) = pair(g, &x, |_| Range::exact(0.0, 7.0, 0))?;
    let direction = *g.random.of(&["LEFT", "RIGHT"]);
    g.one(op, &[&x, &y], vec![("direction", Attr::Text(direction))], x.dtype, dims, Range::all(x.dtype))
}

fn select(g: &mut Gen, op: &str) -> Option<()> {
    let x = g.any(0, 4);
    if x.dtype == DType::Bool || x.dtype == DType::I8 {
        return None;
    }
    let dtype = x.dtype;
    let (y, dims) = pair(g, &x, move |g| g.range(dtype))?;
    let like = Var { dtype: DType::Bool, ..x.clone() };
    let condition = g.partner(&like, |g| g.range(DType::Bool));
    let dims = broadcast(&dims, &condition.dims)?;
    g.one(op, &[&condition, &x, &y], vec![], dtype, dims, x.range.or(y.range))
}

fn clip(g: &mut Gen, op: &str) -> Option<()> {
    let dtypes = [g.float, g.float, DType::I32, DType::I64, DType::I8, DType::U8];
    let x = g.get(&dtypes, (0, 5), |_| true);
    let bounds: [f64; 2] = *g.random.of(&[[0.0, 6.0], [1.0, 2.0], [0.0, 0.0], [3.0, 100.0]]);
    let low = g.random.percent(70).then(|| g.scalar(x.dtype, bounds[0]));
    let high = g.random.percent(70).then(|| g.scalar(x.dtype, bounds[1]));
    let name = |v: &Option<Var>| v.as_ref().map_or(String::new(), |v| v.name.clone());
    let mut inputs = vec![x.name.clone(), name(&low), name(&high)];
    while inputs.last().is_some_and(String::is_empty) {
        inputs.pop();
    }
    let range = Range {
        low: if low.is_some() { x.range.low.max(bounds[0]).min(bounds[1]) } else { x.range.low.min(bounds[1]) },
        high: if high.is_some() { x.range.high.min(bounds[1]).max(bounds[0]) } else { x.range.high.max(bounds[0]) },
        ..x.range
    };
    g.emit_named(op, inputs, vec![], vec![(x.dtype, x.dims, range)]).map(drop)
}

fn dropout(g: &mut Gen, op: &str) -> Option<()> {
    let x = g.float(0, 4);
    g.one(op, &[&x], vec![], x.dtype, x.dims.clone(), x.range)
}
