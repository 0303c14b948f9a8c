//! The stated error bounds, held against `f64` references by evaluating expanded expressions directly.

use super::expand;
use crate::kernel::{Access, Index};
use crate::{Expr, Kernel, Stmt, Var};
use nnc_ir::DType;
use nnc_ir::op::{BinaryOp, UnaryOp};
use std::collections::HashMap;

/// `y[0] = f(x[0])`, expanded.
fn kernel_of(op: UnaryOp, dtype: DType) -> Kernel {
    let mut kernel = Kernel::new("f");
    let x = kernel.add_buffer("x", dtype, Access::Read);
    let y = kernel.add_buffer("y", dtype, Access::Write);
    kernel.body = vec![Stmt::Store(y, Index::ZERO, Expr::unary(op, Expr::Load(x, Index::ZERO)))];
    expand(&kernel)
}

/// Evaluates straight-line elementary code over bits.
struct Machine<'a> {
    kernel: &'a Kernel,
    fused: bool,
    inputs: Vec<u64>,
    vars: HashMap<Var, u64>,
}

impl Machine<'_> {
    fn run(kernel: &Kernel, fused: bool, inputs: &[u64]) -> u64 {
        let mut machine = Machine { kernel, fused, inputs: inputs.to_vec(), vars: HashMap::new() };
        let mut result = None;
        for stmt in &kernel.body {
            match stmt {
                Stmt::Let(var, e) => {
                    let value = machine.eval(e);
                    machine.vars.insert(*var, value);
                }
                Stmt::Store(_, _, e) => result = Some(machine.eval(e)),
                other => panic!("{other:?}"),
            }
        }
        result.unwrap()
    }

    fn eval(&self, e: &Expr) -> u64 {
        let f32_of = |bits: u64| f32::from_bits(bits as u32);
        let of32 = |value: f32| u64::from(value.to_bits());
        match e {
            Expr::Const(s) => s.bits,
            Expr::Var(v) => self.vars[v],
            Expr::Load(b, _) => self.inputs[b.0 as usize],
            Expr::Bitcast(_, x) => self.eval(x),
            Expr::Select(c, x, y) => self.eval(if self.eval(c) != 0 { x } else { y }),
            Expr::MulAdd(x, y, z) => {
                let (a, b, c) = (self.eval(x), self.eval(y), self.eval(z));
                match (self.kernel.dtype(x), self.fused) {
                    (DType::F32, true) => of32(f32_of(a).mul_add(f32_of(b), f32_of(c))),
                    (DType::F32, false) => of32(f32_of(a) * f32_of(b) + f32_of(c)),
                    (_, true) => f64::from_bits(a).mul_add(f64::from_bits(b), f64::from_bits(c)).to_bits(),
                    (_, false) => (f64::from_bits(a) * f64::from_bits(b) + f64::from_bits(c)).to_bits(),
                }
            }
            Expr::Convert(to, x) => {
                let bits = self.eval(x);
                match (self.kernel.dtype(x), *to) {
                    (DType::F32, DType::F64) => f64::from(f32_of(bits)).to_bits(),
                    (DType::F64, DType::F32) => of32(f64::from_bits(bits) as f32),
                    (DType::I32, DType::F32) => of32(bits as u32 as i32 as f32),
                    (DType::I64, DType::F64) => (bits as i64 as f64).to_bits(),
                    other => panic!("{other:?}"),
                }
            }
            Expr::Unary(op, x) => {
                let bits = self.eval(x);
                let f = |x: f64| match op {
                    UnaryOp::Neg => -x,
                    UnaryOp::Abs => x.abs(),
                    UnaryOp::Sqrt => x.sqrt(),
                    UnaryOp::Trunc => x.trunc(),
                    UnaryOp::Recip => 1.0 / x,
                    other => panic!("{other:?}"),
                };
                match self.kernel.dtype(x) {
                    DType::F32 => of32(f(f64::from(f32_of(bits))) as f32),
                    DType::F64 => f(f64::from_bits(bits)).to_bits(),
                    other => panic!("{other:?}"),
                }
            }
            Expr::Binary(op, x, y) => {
                let (a, b) = (self.eval(x), self.eval(y));
                match self.kernel.dtype(x) {
                    DType::F32 if op.is_comparison() => {
                        float(*op, f64::from(f32_of(a)), f64::from(f32_of(b))).to_bits() & 1
                    }
                    DType::F32 => of32(float(*op, f64::from(f32_of(a)), f64::from(f32_of(b))) as f32),
                    DType::F64 if op.is_comparison() => float(*op, f64::from_bits(a), f64::from_bits(b)).to_bits() & 1,
                    DType::F64 => float(*op, f64::from_bits(a), f64::from_bits(b)).to_bits(),
                    DType::I32 => int(*op, i64::from(a as u32 as i32), i64::from(b as u32 as i32)) as u64 & 0xffff_ffff,
                    DType::I64 => int(*op, a as i64, b as i64) as u64,
                    DType::Bool => int(*op, a as i64, b as i64) as u64,
                    other => panic!("{other:?}"),
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Comparisons answer a number whose lowest bit is the result.
fn float(op: BinaryOp, a: f64, b: f64) -> f64 {
    let truth = |t: bool| f64::from_bits(u64::from(t));
    match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
        BinaryOp::Lt => truth(a < b),
        BinaryOp::Eq => truth(a == b),
        BinaryOp::Ne => truth(a != b),
        other => panic!("{other:?}"),
    }
}

fn int(op: BinaryOp, a: i64, b: i64) -> i64 {
    match op {
        BinaryOp::Add => a.wrapping_add(b),
        BinaryOp::Sub => a.wrapping_sub(b),
        BinaryOp::And => a & b,
        BinaryOp::Or => a | b,
        BinaryOp::Xor => a ^ b,
        BinaryOp::Shl => a << b,
        BinaryOp::Shr => a >> b,
        BinaryOp::Lt => i64::from(a < b),
        BinaryOp::Eq => i64::from(a == b),
        other => panic!("{other:?}"),
    }
}

/// Units in the last place of `f32` between a result and the exact value.
fn ulps(got: f32, exact: f64) -> f64 {
    if got.is_nan() || exact.is_nan() {
        return if got.is_nan() == exact.is_nan() { 0.0 } else { f64::INFINITY };
    }
    if f64::from(got) == exact || got == exact as f32 {
        return 0.0;
    }
    let nearest = (exact as f32).abs().clamp(f32::MIN_POSITIVE, f32::MAX);
    let ulp = f64::from(f32::from_bits(nearest.to_bits() + 1)) - f64::from(nearest);
    (f64::from(got) - exact).abs() / if ulp.is_finite() { ulp } else { 2f64.powi(104) }
}

const SPECIAL: [f32; 12] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
    f32::MIN_POSITIVE,
    1e-45,
    -1e-45,
    f32::MAX,
    f32::MIN,
];

/// Numbers spread evenly over the bit patterns of the range, both signs.
fn samples(low: f32, high: f32, count: u32) -> impl Iterator<Item = f32> {
    let (a, b) = (low.to_bits(), high.to_bits());
    let step = ((b - a) / count).max(1);
    (0..count).flat_map(move |i| {
        let x = f32::from_bits(a + i * step + (i.wrapping_mul(2_654_435_761) >> 8) % step);
        [x, -x]
    })
}

fn check32(
    op: UnaryOp,
    bound: f64,
    range: (f32, f32),
    special: &[f32],
    exact: impl Fn(f64) -> f64,
    limits: (f32, f32),
) {
    let kernel = kernel_of(op, DType::F32);
    let mut worst = (0.0, 0.0f32);
    for fused in [false, true] {
        for x in samples(range.0, range.1, 40_000).chain(special.iter().copied()) {
            let got = f32::from_bits(Machine::run(&kernel, fused, &[u64::from(x.to_bits())]) as u32);
            assert!(got.is_nan() || (limits.0..=limits.1).contains(&got), "{op:?}({x:e}) = {got:e} leaves its range");
            let error = ulps(got, exact(f64::from(x)));
            if error > worst.0 {
                worst = (error, x);
            }
        }
    }
    assert!(worst.0 <= bound, "{op:?}: {:.2} ulp at {:e}", worst.0, worst.1);
}

const ANY: (f32, f32) = (f32::NEG_INFINITY, f32::INFINITY);

#[test]
fn exp_f32() {
    check32(UnaryOp::Exp, 2.0, (1e-10, 120.0), &SPECIAL, f64::exp, (0.0, f32::INFINITY));
}

#[test]
fn log_f32() {
    check32(UnaryOp::Log, 2.0, (1e-45, f32::MAX), &SPECIAL, f64::ln, ANY);
}

#[test]
fn expm1_and_log1p_f32() {
    check32(UnaryOp::Expm1, 4.0, (1e-40, 120.0), &SPECIAL, f64::exp_m1, (-1.0, f32::INFINITY));
    check32(UnaryOp::Log1p, 4.0, (1e-40, f32::MAX), &SPECIAL, f64::ln_1p, ANY);
}

#[test]
fn tanh_f32() {
    check32(UnaryOp::Tanh, 4.0, (1e-40, 100.0), &SPECIAL, f64::tanh, (-1.0, 1.0));
}

#[test]
fn erf_f32() {
    check32(UnaryOp::Erf, 4.0, (1e-30, 10.0), &SPECIAL[..7], libm::erf, (-1.0, 1.0));
}

#[test]
fn sigmoid_f32() {
    check32(UnaryOp::Sigmoid, 4.0, (1e-30, 120.0), &SPECIAL, |x| 1.0 / (1.0 + (-x).exp()), (0.0, 1.0));
}

#[test]
fn sin_cos_tan_f32() {
    let special = &SPECIAL[..10];
    check32(UnaryOp::Sin, 3.0, (1e-30, 131_072.0), special, f64::sin, (-1.0, 1.0));
    check32(UnaryOp::Cos, 3.0, (1e-30, 131_072.0), special, f64::cos, (-1.0, 1.0));
    check32(UnaryOp::Tan, 5.0, (1e-30, 131_072.0), special, f64::tan, ANY);
}

#[test]
fn trigonometry_stays_in_range_beyond_its_accuracy() {
    for op in [UnaryOp::Sin, UnaryOp::Cos] {
        let kernel = kernel_of(op, DType::F32);
        for x in samples(131_072.0, f32::MAX, 10_000) {
            let y = f32::from_bits(Machine::run(&kernel, true, &[u64::from(x.to_bits())]) as u32);
            assert!((-1.0..=1.0).contains(&y), "{op:?}({x:e}) = {y:e}");
        }
    }
}

fn check64(op: UnaryOp, bound: f64, range: (f32, f32), exact: impl Fn(f64) -> f64) {
    let kernel = kernel_of(op, DType::F64);
    let mut worst = (0.0, 0.0);
    let special = [f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 0.0, -0.0, 1.0, -1.0];
    for fused in [false, true] {
        for x in samples(range.0, range.1, 20_000).map(|x| f64::from(x) * 1.000_000_013).chain(special) {
            let got = f64::from_bits(Machine::run(&kernel, fused, &[x.to_bits()]));
            let exact = exact(x);
            if got == exact || (got.is_nan() && exact.is_nan()) {
                continue;
            }
            let error = (got - exact).abs() / exact.abs().max(f64::MIN_POSITIVE);
            if error.is_nan() || error > worst.0 {
                worst = (if error.is_nan() { f64::INFINITY } else { error }, x);
            }
        }
    }
    assert!(worst.0 <= bound, "{op:?}: {:e} at {:e}", worst.0, worst.1);
}

#[test]
fn doubles() {
    check64(UnaryOp::Exp, 4e-15, (1e-12, 700.0), f64::exp);
    check64(UnaryOp::Log, 4e-15, (1e-30, 1e30), f64::ln);
    check64(UnaryOp::Expm1, 4e-15, (1e-12, 700.0), f64::exp_m1);
    check64(UnaryOp::Log1p, 4e-15, (1e-30, 1e30), f64::ln_1p);
    check64(UnaryOp::Sin, 4e-15, (1e-12, 1e6), f64::sin);
    check64(UnaryOp::Cos, 4e-15, (1e-12, 1e6), f64::cos);
    check64(UnaryOp::Tan, 4e-15, (1e-12, 1e6), f64::tan);
    check64(UnaryOp::Asin, 4e-15, (1e-12, 1.1), f64::asin);
    check64(UnaryOp::Acos, 4e-15, (1e-12, 1.1), f64::acos);
    check64(UnaryOp::Atan, 4e-15, (1e-12, 1e12), f64::atan);
    check64(UnaryOp::Sinh, 4e-15, (1e-12, 700.0), libm::sinh);
    check64(UnaryOp::Cosh, 4e-15, (1e-12, 700.0), libm::cosh);
    check64(UnaryOp::Tanh, 4e-15, (1e-12, 700.0), libm::tanh);
    check64(UnaryOp::Asinh, 4e-15, (1e-12, 1e20), libm::asinh);
    check64(UnaryOp::Acosh, 4e-15, (0.5, 1e20), |x| if x < 1.0 { f64::NAN } else { libm::acosh(x) });
    check64(UnaryOp::Atanh, 4e-15, (1e-12, 1.1), libm::atanh);
    check64(UnaryOp::Erf, 4e-15, (1e-12, 10.0), libm::erf);
    check64(UnaryOp::Sigmoid, 4e-15, (1e-12, 700.0), |x| 1.0 / (1.0 + (-x).exp()));
}

fn two(op: BinaryOp, dtype: DType) -> impl Fn(f64, f64) -> f64 {
    let mut kernel = Kernel::new("f");
    let x = kernel.add_buffer("x", dtype, Access::Read);
    let y = kernel.add_buffer("y", dtype, Access::Read);
    let z = kernel.add_buffer("z", dtype, Access::Write);
    let value = Expr::binary(op, Expr::Load(x, Index::ZERO), Expr::Load(y, Index::ZERO));
    kernel.body = vec![Stmt::Store(z, Index::ZERO, value)];
    let kernel = expand(&kernel);
    move |x, y| f64::from_bits(Machine::run(&kernel, false, &[x.to_bits(), y.to_bits()]))
}

#[test]
fn pow_and_atan2() {
    let (pow, atan2) = (two(BinaryOp::Pow, DType::F64), two(BinaryOp::Atan2, DType::F64));
    let values = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        2.0,
        -2.0,
        3.0,
        -3.0,
        0.5,
        -0.5,
        10.0,
        -7.0,
        1e-5,
        1e5,
        1e300,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
        2.5,
        -2.5,
        33.7,
    ];
    for x in values {
        for y in values {
            for (got, exact, name, bound) in
                [(pow(x, y), x.powf(y), "pow", 2e-13), (atan2(x, y), x.atan2(y), "atan2", 4e-15)]
            {
                let same = got.to_bits() == exact.to_bits() || (got.is_nan() && exact.is_nan());
                let close = (got - exact).abs() <= bound * exact.abs();
                assert!(
                    same || (close && got.is_sign_negative() == exact.is_sign_negative()),
                    "{name}({x}, {y}) = {got}, not {exact}"
                );
            }
        }
    }
}
