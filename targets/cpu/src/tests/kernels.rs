//! Kernels against the interpreter: random ones, and each function and type by itself.

use super::run_kernel;
use nnc_desc::Target;
use nnc_ir::op::{BinaryOp, UnaryOp};
use nnc_ir::{DType, Tensor};
use nnc_kernels::kernel::Access;
use nnc_kernels::{AxisKind, Expr, Index, Kernel, Loop, Stmt, generate, interpret, ops};

/// Every x86 target that this machine runs, Cranelift's own (128-bit) lowering included; or the one of another machine.
fn targets() -> Vec<Target> {
    let native = Target::parse("native").unwrap();
    let names = ["x86_64", "x86_64+sse4.2", "x86_64+fma", "x86_64-avx2", "x86_64-avx512", "aarch64"];
    let all = names.iter().map(|n| Target::parse(n).unwrap());
    all.filter(|t| t.arch == native.arch && t.features.iter().all(|f| native.features.has(f))).collect()
}

#[test]
fn random_kernels_agree_with_the_interpreter() {
    let targets = targets();
    for seed in 0..600 {
        let case = generate::kernel(seed);
        let mut expected = case.buffers.clone();
        let status = interpret::run_kernel(&case.kernel, &mut expected, &case.params, 0, case.extent)
            .unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        for target in &targets {
            let mut actual = case.buffers.clone();
            let (got, code) = run_kernel(&case.kernel, target, &mut actual, &case.params, case.extent);
            assert_eq!(status, got, "seed {seed}, {}", target.name);
            if let Err(e) = generate::compare(&case.kernel, &expected, &actual) {
                panic!("seed {seed}, {} ({:?}): {e}\n{}", target.name, code.width, case.kernel);
            }
        }
    }
}

/// Numbers of a type that try its corners.
fn corners(dtype: DType) -> Vec<f64> {
    let mut values = vec![0.0, 1.0, 2.0, 3.0, 5.0, 7.0, 31.0, 63.0, 100.0, 127.0];
    if dtype.is_signed() {
        values.extend([-1.0, -2.0, -3.0, -7.0, -100.0, -128.0]);
    }
    if dtype.is_float() {
        values.extend([0.5, 1.5, 2.5, -0.5, -2.5, 0.1, 1e-8, -1e-8, 1e5, 300.7, -70000.0, 65519.9]);
        values.extend([6e-8, 1e-7, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 3e9, -3e9, 1e19, 8388609.0]);
    } else {
        values.extend([f64::INFINITY, f64::NEG_INFINITY]);
    }
    values
}

/// `z[i] = f(x[i], y[i])` for i below n.
fn elementwise(operands: &[DType], result: DType, n: usize, f: impl Fn(Vec<Expr>) -> Expr) -> Kernel {
    let mut kernel = Kernel::new("k");
    let loads: Vec<_> = operands.iter().map(|t| kernel.add_buffer("x", *t, Access::Read)).collect();
    let z = kernel.add_buffer("z", result, Access::Write);
    let i = kernel.add_var("i", DType::I64, 0, n as i64 - 1);
    let value = f(loads.iter().map(|b| Expr::Load(*b, i.index())).collect());
    let store = Stmt::Store(z, i.index(), value);
    kernel.body = vec![Stmt::For(Loop { var: i, extent: Index::from(n), axis: AxisKind::Vector }, vec![store])];
    kernel
}

fn bytes(dtype: DType, values: &[f64]) -> Vec<u8> {
    Tensor::from_f64s(dtype, &[values.len()], values).data.bytes().to_vec()
}

fn check(kernel: &Kernel, buffers: &[Vec<u8>], tolerance: f64, what: &str) {
    let mut expected = buffers.to_vec();
    interpret::run_kernel(kernel, &mut expected, &[], 0, 1).unwrap_or_else(|e| panic!("{what}: {e}"));
    let dtype = kernel.buffers.last().unwrap().dtype;
    for target in targets() {
        let mut actual = buffers.to_vec();
        run_kernel(kernel, &target, &mut actual, &[], 1);
        let tensor = |b: &[Vec<u8>]| {
            let data = b.last().unwrap().clone();
            Tensor::new(dtype, vec![data.len() / dtype.size()], nnc_ir::Data::new(data)).unwrap()
        };
        let (e, a) = (tensor(&expected), tensor(&actual));
        for i in 0..e.len() {
            let same = if dtype.is_float() {
                let (x, y) = (e.get_f64(i), a.get_f64(i));
                x == y || (x.is_nan() && y.is_nan()) || (x - y).abs() <= tolerance * x.abs().max(1e-30)
            } else {
                e.get_i64(i) == a.get_i64(i)
            };
            if same {
                continue;
            }
            let operands: Vec<String> = kernel.buffers[..kernel.buffers.len() - 1]
                .iter()
                .zip(buffers)
                .map(|(decl, b)| {
                    let n = b.len() / decl.dtype.size();
                    let t = Tensor::new(decl.dtype, vec![n], nnc_ir::Data::new(b.clone())).unwrap();
                    if decl.dtype.is_float() { t.get_f64(i).to_string() } else { t.get_i64(i).to_string() }
                })
                .collect();
            panic!(
                "{what} of {operands:?} on {}: {} ({}) instead of {} ({})",
                target.name,
                a.get_f64(i),
                a.get_i64(i),
                e.get_f64(i),
                e.get_i64(i)
            );
        }
    }
}

const UNARY: [UnaryOp; 32] = {
    use UnaryOp::*;
    [
        Neg, Abs, Sign, Floor, Ceil, Round, Trunc, Sqrt, Rsqrt, Recip, Exp, Expm1, Log, Log1p, Sin, Cos, Tan, Asin,
        Acos, Atan, Sinh, Cosh, Tanh, Asinh, Acosh, Atanh, Erf, Sigmoid, Not, BitNot, IsNan, IsInf,
    ]
};

/// A kernel over one iteration, its buffers, how exact it has to be, and what it tries.
pub(crate) struct Trial {
    pub(crate) kernel: Kernel,
    pub(crate) buffers: Vec<Vec<u8>>,
    pub(crate) tolerance: f64,
    pub(crate) what: String,
}

fn run(trials: Vec<Trial>) {
    for t in trials {
        check(&t.kernel, &t.buffers, t.tolerance, &t.what);
    }
}

pub(crate) fn unary_trials() -> Vec<Trial> {
    let mut trials = vec![];
    for dtype in DType::ALL {
        for op in UNARY.into_iter().filter(|op| ops::unary_accepts(*op, dtype)) {
            let mut values = corners(dtype);
            if matches!(op, UnaryOp::Sin | UnaryOp::Cos | UnaryOp::Tan) {
                values.retain(|v| !(v.abs() > 1e5 && v.is_finite()));
            }
            if op == UnaryOp::Acosh {
                // Below 1 the interpreter's library answers numbers, not NaN.
                values.retain(|v| *v >= 1.0);
            }
            let result = if matches!(op, UnaryOp::IsNan | UnaryOp::IsInf) { DType::Bool } else { dtype };
            let kernel = elementwise(&[dtype], result, values.len(), |mut x| Expr::unary(op, x.remove(0)));
            let z = vec![0; values.len() * result.size()];
            let tolerance = if dtype == DType::F32 { 1e-6 } else { 1e-13 };
            let buffers = vec![bytes(dtype, &values), z];
            trials.push(Trial { kernel, buffers, tolerance, what: format!("{op:?} {dtype}") });
        }
    }
    trials
}

#[test]
fn every_unary_function_of_every_type() {
    run(unary_trials());
}

const BINARY: [BinaryOp; 21] = {
    use BinaryOp::*;
    [Add, Sub, Mul, Div, Mod, Rem, Pow, Max, Min, Atan2, And, Or, Xor, Shl, Shr, Eq, Ne, Lt, Le, Gt, Ge]
};

pub(crate) fn binary_trials() -> Vec<Trial> {
    let mut trials = vec![];
    for dtype in DType::ALL {
        let values = corners(dtype);
        let pairs = || values.iter().flat_map(|x| values.iter().map(move |y| (*x, *y)));
        let (xs, ys): (Vec<f64>, Vec<f64>) = pairs().unzip();
        for op in BINARY.into_iter().filter(|op| ops::binary_accepts(*op, dtype)) {
            let result = if op.is_comparison() { DType::Bool } else { dtype };
            let kernel = elementwise(&[dtype, dtype], result, xs.len(), |mut v| {
                let y = v.remove(1);
                Expr::binary(op, v.remove(0), y)
            });
            let z = vec![0; xs.len() * result.size()];
            let tolerance = if dtype == DType::F32 { 1e-6 } else { 3e-13 };
            let buffers = vec![bytes(dtype, &xs), bytes(dtype, &ys), z];
            trials.push(Trial { kernel, buffers, tolerance, what: format!("{op:?} {dtype}") });
        }
    }
    trials
}

#[test]
fn every_binary_function_of_every_type() {
    run(binary_trials());
}

pub(crate) fn conversion_trials() -> Vec<Trial> {
    let mut trials = vec![];
    for from in DType::ALL {
        for to in DType::ALL {
            let half = |t| matches!(t, DType::F16 | DType::BF16);
            if (half(from) && to != DType::F32) || (half(to) && from != DType::F32) {
                continue;
            }
            let values = corners(from);
            let kernel = elementwise(&[from], to, values.len(), |mut x| Expr::convert(to, from, x.remove(0)));
            let buffers = vec![bytes(from, &values), vec![0; values.len() * to.size()]];
            trials.push(Trial { kernel, buffers, tolerance: 0.0, what: format!("{from} to {to}") });
        }
    }
    trials
}

#[test]
fn every_conversion() {
    run(conversion_trials());
}

/// Bits seen as another type of the same size, then as a wider number: registers may hold more than the bits.
pub(crate) fn reinterpretation_trials() -> Vec<Trial> {
    let mut trials = vec![];
    for from in DType::ALL {
        for to in DType::ALL.into_iter().filter(|to| to.size() == from.size() && *to != DType::Bool) {
            let wide = if to.is_float() && to.size() < 8 {
                DType::F32
            } else if to.size() < 4 {
                DType::I32
            } else {
                to
            };
            let values = corners(from);
            let kernel = elementwise(&[from], wide, values.len(), |mut x| {
                Expr::convert(wide, to, Expr::Bitcast(to, Box::new(x.remove(0))))
            });
            let buffers = vec![bytes(from, &values), vec![0; values.len() * wide.size()]];
            trials.push(Trial { kernel, buffers, tolerance: 0.0, what: format!("bits of {from} as {to}") });
        }
    }
    trials
}

#[test]
fn every_reinterpretation() {
    run(reinterpretation_trials());
}

#[test]
fn every_half_and_every_rounding_to_half() {
    let patterns: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
    for half in [DType::F16, DType::BF16] {
        let n = 1 << 16;
        let kernel = elementwise(&[half], DType::F32, n, |mut x| Expr::convert(DType::F32, half, x.remove(0)));
        check(&kernel, &[patterns.clone(), vec![0; 4 * n]], 0.0, &format!("{half} to f32"));
        // Between neighbouring halves: a little below, at, and above the middle.
        let n = 1 << 16;
        let singles: Vec<u8> = (0..n as u32)
            .flat_map(|i| {
                let bits = i.wrapping_mul(65_537).wrapping_add(0x0fff + (i % 3)).rotate_left(i % 5 * 3);
                // The interpreter's library drops the lowest three bits before it rounds to `bf16`.
                let bits = if half == DType::BF16 { bits & !7 } else { bits };
                bits.to_le_bytes()
            })
            .collect();
        let kernel = elementwise(&[DType::F32], half, n, |mut x| Expr::convert(half, DType::F32, x.remove(0)));
        check(&kernel, &[singles, vec![0; 2 * n]], 0.0, &format!("f32 to {half}"));
    }
}
