//! Control flow in kernels and in the host plan, and sizes that depend on data, against the interpreter.

use super::{call_model, empty_program};
use crate::Jit;
use nnc_abi::Status;
use nnc_desc::Target;
use nnc_ir::op::{BinaryOp, Relation};
use nnc_ir::{DType, Dim, SymbolInfo};
use nnc_kernels::kernel::Access;
use nnc_kernels::plan::Parameter;
use nnc_kernels::{
    Argument, AxisKind, Buffer, BufferId, BufferRef, Expr, Index, Kernel, KernelId, Loop, Place, Program, SizeCheck,
    Step, Stmt, interpret,
};

const I64: DType = DType::I64;

fn int(value: f64) -> Expr {
    Expr::constant(I64, value)
}

fn op(op: BinaryOp, x: Expr, y: Expr) -> Expr {
    Expr::binary(op, x, y)
}

/// Stores the number of nonzero elements of `x[0..n]`, counted with a `While` over mutable variables.
fn count() -> Kernel {
    let mut k = Kernel::new("count");
    let x = k.add_buffer("x", I64, Access::Read);
    let found = k.add_buffer("found", I64, Access::Write);
    let n = k.add_var("n", I64, 0, 1000);
    k.params = vec![n];
    let [i, c] = ["i", "c"].map(|v| k.add_var(v, I64, 0, 999));
    let nonzero = op(BinaryOp::Ne, Expr::Load(x, i.index()), int(0.0));
    k.body = vec![
        Stmt::Mutable(i, int(0.0)),
        Stmt::Mutable(c, int(0.0)),
        Stmt::While(
            op(BinaryOp::Lt, Expr::Var(i), Expr::Index(n.index())),
            vec![
                Stmt::If(nonzero, vec![Stmt::Assign(c, op(BinaryOp::Add, Expr::Var(c), int(1.0)))], vec![]),
                Stmt::Assign(i, op(BinaryOp::Add, Expr::Var(i), int(1.0))),
            ],
        ),
        Stmt::Store(found, Index::ZERO, Expr::Var(c)),
    ];
    k
}

/// `y[i] = 2 i + 1` for i below n.
fn fill() -> Kernel {
    let mut k = Kernel::new("fill");
    let y = k.add_buffer("y", I64, Access::Write);
    let n = k.add_var("n", I64, 0, 1000);
    k.params = vec![n];
    let i = k.add_var("i", I64, 0, 999);
    let value = Expr::Index(i.index() * 2 + 1);
    let store = Stmt::Store(y, i.index(), value);
    k.body = vec![Stmt::For(Loop { var: i, extent: n.index(), axis: AxisKind::Vector }, vec![store])];
    k
}

/// `cell += add`, and `flag = cell < limit`.
fn advance(name: &str, add: f64, limit: f64) -> Kernel {
    let mut k = Kernel::new(name);
    let cell = k.add_buffer("cell", I64, Access::Write);
    let flag = k.add_buffer("flag", DType::Bool, Access::Write);
    let next = k.add_var("next", I64, i64::MIN, i64::MAX);
    k.body = vec![
        Stmt::Let(next, op(BinaryOp::Add, Expr::Load(cell, Index::ZERO), int(add))),
        Stmt::Store(cell, Index::ZERO, Expr::Var(next)),
        Stmt::Store(flag, Index::ZERO, op(BinaryOp::Lt, Expr::Var(next), int(limit))),
    ];
    k
}

/// `cell = 0`, `flag = x[0] > 1`.
fn start() -> Kernel {
    let mut k = Kernel::new("start");
    let x = k.add_buffer("x", I64, Access::Read);
    let cell = k.add_buffer("cell", I64, Access::Write);
    let flag = k.add_buffer("flag", DType::Bool, Access::Write);
    let first: BufferRef = x;
    k.body = vec![
        Stmt::Store(cell, Index::ZERO, int(0.0)),
        Stmt::Store(flag, Index::ZERO, op(BinaryOp::Gt, Expr::Load(first, Index::ZERO), int(1.0))),
    ];
    k
}

/// Output 0: as many odd numbers as x has nonzero elements. Output 1: 100 if `x[0] > 1`, then in steps of 3 to 120.
fn program() -> Program {
    let mut p = empty_program("control");
    let n = p.dims.new_symbol(SymbolInfo { min: 1, max: 1000, ..SymbolInfo::input("n") });
    let found = p.dims.fresh("found", 0, 1000, Some(Dim::sym(n)));
    let (rows, found_dim) = (Dim::sym(n), Dim::sym(found));
    let parameter = |name: &str, shape: Vec<Dim>| Parameter::plain(name, I64, shape);
    p.inputs = vec![parameter("x", vec![rows.clone()])];
    p.outputs = vec![parameter("y", vec![found_dim.clone()]), parameter("z", vec![])];
    p.kernels = vec![count(), fill(), start(), advance("hundred", 100.0, 120.0), advance("three", 3.0, 120.0)];
    let buffer = |name: &str, dtype, bytes: Dim, place| Buffer { name: name.into(), dtype, bytes, place };
    p.buffers = vec![
        buffer("x", I64, &rows * 8, Place::Input(0)),
        buffer("y", I64, &rows * 8, Place::Output(0)),
        buffer("z", I64, Dim::from(8), Place::Output(1)),
        buffer("found", I64, Dim::from(8), Place::Workspace { offset: Dim::ZERO }),
        buffer("flag", DType::Bool, Dim::ONE, Place::Workspace { offset: Dim::from(64) }),
        buffer("again", DType::Bool, Dim::ONE, Place::Workspace { offset: Dim::from(128) }),
    ];
    p.workspace_bytes = Dim::from(192);
    let at = |b: u32| Argument { buffer: BufferId(b), offset: Dim::ZERO };
    let run = |kernel, arguments, params| Step::Run {
        kernel: KernelId(kernel),
        arguments,
        params,
        extent: Dim::ONE,
        work: Dim::ZERO,
        apart: false,
        origin: String::new(),
    };
    let hundred = run(3, vec![at(2), at(5)], vec![]);
    let three = run(4, vec![at(2), at(5)], vec![]);
    p.steps = vec![
        run(0, vec![at(0), at(3)], vec![rows.clone()]),
        Step::Bind { symbol: found, source: at(3), min: Dim::ZERO, max: rows.clone(), origin: String::new() },
        run(1, vec![at(1)], vec![found_dim.clone()]),
        run(2, vec![at(0), at(2), at(4)], vec![]),
        Step::If { condition: at(4), then: vec![hundred], otherwise: vec![three.clone()] },
        Step::While { condition: at(5), body: vec![three] },
        Step::Check(SizeCheck {
            left: found_dim.rem(&Dim::from(2)),
            relation: Relation::Equal,
            right: Dim::ZERO,
            what: String::new(),
            origin: String::new(),
        }),
    ];
    // Enough of the same to be split into several functions.
    let filler = p.steps[0].clone();
    p.steps.extend(std::iter::repeat_n(filler, 3000));
    p
}

#[test]
fn control_flow_and_data_dependent_sizes() {
    let program = program();
    let model = Jit::compile(&program, &Target::parse("native").unwrap()).unwrap();
    let model = model.descriptor();
    for x in [vec![5i64, 0, 7], vec![0, 0, 0, 0], vec![1, 2, 3, 4, 5, 0, 6], vec![1]] {
        let bytes: Vec<u8> = x.iter().flat_map(|v| v.to_le_bytes()).collect();
        let expected = interpret::run(&program, &[(vec![x.len() as i64], bytes)]);
        let dims = [x.len() as i64];
        let (mut y, mut z) = (vec![0i64; x.len()], 0i64);
        let (inputs, outputs) = ([x.as_ptr().cast()], [y.as_mut_ptr().cast(), std::ptr::from_mut(&mut z).cast()]);
        // SAFETY: the arguments are what the program's signature asks for.
        let called = unsafe { call_model(model, &dims, &inputs, &outputs, None) };
        assert_eq!((called.planned, called.workspace_bytes), (dims.to_vec(), 192));
        let (status, out_dims) = (called.status, called.found);
        match expected {
            Err(e) => assert_eq!(status, Status::CheckFailed as i32, "{x:?}: {e}"),
            Ok(values) => {
                assert_eq!((status, out_dims.clone()), (0, values[0].0.clone()), "{x:?}");
                let found: Vec<u8> = y[..out_dims[0] as usize].iter().flat_map(|v| v.to_le_bytes()).collect();
                assert_eq!((found, z.to_le_bytes().to_vec()), (values[0].1.clone(), values[1].1.clone()), "{x:?}");
            }
        }
    }
}
