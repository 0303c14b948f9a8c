//! Each rule, and a kernel or program that breaks it.

use super::{kernel, program};
use crate::kernel::{Access, AxisKind, BufferRef, Expr, Index, Kernel, Loop, Stmt, Var};
use crate::plan::{Argument, Buffer, BufferId, KernelId, Parameter, Place, Program, SizeCheck, State, Step};
use crate::weights::{Pack, Weight, WeightId};
use crate::{parse, print};
use nnc_ir::op::{Relation, UnaryOp};
use nnc_ir::{DType, Dim, DimTable, Symbol, SymbolInfo, Tensor};

const HEAD: &str = "kernel @k(x: read f32 align 4, h: read f16 align 2, b: read u8 align 1, y: write f32 align 4; \
                    n: i64) parallel p in 0..4 {\n";

/// A kernel of this body breaks this rule (0: none).
fn check(rule: u8, body: &str) {
    let k = parse::kernel(&format!("{HEAD}{body}\n}}")).unwrap_or_else(|e| panic!("{body}: {e}"));
    let found = kernel(&k).map_or_else(|e| (e.rule, e.to_string()), |()| (0, String::new()));
    assert_eq!(found.0, rule, "{body}: {}", found.1);
}

/// A kernel changed by hand breaks this rule.
fn changed(rule: u8, change: impl Fn(&mut Kernel)) {
    let text = format!("{HEAD} let t: f32 = load x[0] store y[0] = t }}");
    let mut k = parse::kernel(&text).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(kernel(&k), Ok(()));
    change(&mut k);
    let found = kernel(&k).expect_err("a broken rule");
    assert_eq!(found.rule, rule, "{found}");
    // Printing what is invalid is not a crash.
    let _ = print::kernel(&k);
}

#[test]
fn declarations() {
    changed(1, |k| k.vars[0].name = k.vars[1].name.clone());
    changed(1, |k| k.buffers[0].name = String::new());
    changed(2, |k| k.buffers[0].align = 3);
    changed(2, |k| k.buffers[0].align = 2);
    changed(2, |k| k.buffers[0].access = Access::Scratch { elements: 4 });
    changed(2, |k| {
        k.add_buffer("s", DType::F32, Access::Scratch { elements: (16 << 10) + 1 });
    });
    changed(3, |k| k.vars[0].dtype = DType::I32);
    changed(3, |k| k.parallel.1 = Var(2).index());
}

#[test]
fn scopes() {
    changed(4, |k| k.body.push(k.body[0].clone()));
    changed(4, |k| k.body.insert(0, k.body[1].clone()));
    changed(4, |k| k.body.push(Stmt::Let(Var(99), Expr::constant(DType::F32, 0.0))));
    check(4, "let t: f32 = 0.0f32 t = 1.0f32");
    check(4, "for i in 0..2 { let t: f32 = 0.0f32 } store y[0] = t");
    check(5, "for i in 0..2 { } store y[i] = 0.0f32");
    check(4, "reduce i in 0..2 -> (r: f32 = sum from 0.0f32) { let t: f32 = 1.0f32 yield r }");
    check(5, "reduce i in 0..2 -> (r: i64 = sum from index(i)) { yield 1i64 }");
    check(0, "reduce i in 0..2 -> (r: f32 = sum from 0.0f32) { let t: f32 = 1.0f32 yield t } store y[0] = r");
}

#[test]
fn indices() {
    check(5, "let t: i32 = 1i32 store y[t] = 0.0f32");
    check(5, "for i in 0..2 { } let t: f32 = load x[i]");
    changed(5, |k| k.body.push(Stmt::Store(BufferRef(3), Index::OVERFLOW, Expr::constant(DType::F32, 0.0))));
    changed(5, |k| k.body.push(Stmt::Store(BufferRef(9), Index::ZERO, Expr::constant(DType::F32, 0.0))));
}

#[test]
fn types() {
    check(6, "let t: f32 = add(1.0f32, 1.0f64)");
    check(6, "let t: f16 = neg(load h[0])");
    check(6, "let t: f32 = and(1.0f32, 1.0f32)");
    check(6, "let t: f64 = 1.0f32");
    check(6, "let t: i32 = mul_add(1i32, 1i32, 1i32)");
    check(6, "let t: i64 = bitcast.i64(1.0f32)");
    check(6, "let t: bool = bitcast.bool(1i8)");
    check(6, "let t: bool = bits.bool(0x2)");
    check(6, "let t: f16 = convert.f16(1i32)");
    check(0, "let t: f16 = select(true, load h[0], load_if(false, h[1], 1.0f16))");
    check(7, "store x[0] = 1.0f32");
    check(7, "store y[0] = 1.0f64");
    check(7, "if 1i32 { }");
    check(7, "let t: f32 = select(1i8, 1.0f32, 1.0f32)");
    check(7, "fail 0");
}

#[test]
fn vector_loops() {
    check(8, "for vector i in 0..4 { for vector j in 0..4 { } }");
    check(8, "for vector i in 0..4 { mut t: f32 = 0.0f32 }");
    check(8, "mut t: f32 = 0.0f32 for vector i in 0..4 { t = 1.0f32 }");
    check(8, "for vector i in 0..4 { while true { } }");
    check(8, "for vector i in 0..4 { fail 1 }");
    check(8, "for vector i in 0..4 { if true { reduce vector j in 0..2 -> () { yield } } }");
    check(
        8,
        "for vector i in 0..4 { contract f32 tile 1 x 8 m [1] n [1] k [1] a x[0] stride [1] b x[0] panel -> (r, c, acc) \
         { } }",
    );
    check(9, "for vector i in 0..4 { store y[p] = 0.0f32 }");
    check(9, "for vector i in 0..4 { for j in 0..i { } }");
    check(9, "for vector i in 0..4 { let t: f32 = load x[i] if gt(t, 0.0f32) { store y[i] = t } }");
    check(0, "for vector i in 0..1 { store y[p] = 0.0f32 }");
    check(0, "for vector i in 0..4 { for j in 0..n { store y[i + 4*j] = 0.0f32 } }");
    check(10, "for unrolled i in 0..n { }");
    check(10, "for unrolled i in 0..257 { }");
}

#[test]
fn accumulators() {
    check(11, "reduce i in 0..4 -> (r: bool = sum from true) { yield true }");
    check(11, "reduce i in 0..4 -> (r: f16 = max from 1.0f16) { yield 1.0f16 }");
    check(11, "reduce i in 0..4 -> (r: f32 = sum from 1.0f32) { yield 1.0f64 }");
    check(11, "reduce i in 0..4 -> (r: f64 = sum from 1.0f32) { yield 1.0f32 }");
}

#[test]
fn contractions() {
    let with = |rule, head: &str, tail: &str, epilogue: &str| {
        check(rule, &format!("contract {head} a x[0] stride [4] {tail} -> (r, c, acc) {{ {epilogue} }}"));
    };
    with(0, "f32 tile 1 x 8 m [n] n [8] k [4]", "b x[0] panel", "store y[c] = acc");
    with(12, "f32 tile 1 x 8 m [n] n [9] k [4]", "b x[0] panel", "");
    with(12, "f32 tile 1 x 8 m [n] n [n] k [4]", "b x[0] panel", "");
    with(12, "f32 tile 1 x 0 m [n] n [0] k [4]", "b x[0] panel", "");
    with(12, "f32 tile 0 x 8 m [n] n [8] k [4]", "b x[0] panel", "");
    with(12, "i32 tile 1 x 8 m [n] n [8] k [4]", "b x[0] panel", "");
    with(12, "f64 tile 1 x 8 m [n] n [8] k [4]", "b x[0] panel", "");
    with(0, "f32 tile 1 x 8 m [n] n [8] k [4]", "b b[0] nibbles less 8 grid x[0] zeros scales per_tap", "");
    with(12, "f32 tile 1 x 8 m [n] n [8] k [3]", "b b[0] nibbles", "");
    with(12, "f32 tile 1 x 8 m [n] n [8] k [n]", "b b[0] nibbles", "");
    with(12, "f32 tile 1 x 8 m [n] n [8] k [4]", "b x[0] nibbles", "");
    with(12, "f32 tile 1 x 8 m [n] n [8] k [4]", "b x[0] panel less 3", "");
    with(12, "f32 tile 1 x 8 m [n] n [8] k [4]", "b b[0] rows [8] less 3", "");
    with(12, "f32 tile 1 x 8 m [n] n [8] k [4]", "b b[0] panel grid b[0] scales", "");
    with(12, "f32 tile 1 x 8 m [n] n [8] k [4]", "b b[0] panel grid x[0]", "");
    with(12, "f32 tile 1 x 8 m [n] n [8] k [4]", "b b[0] rows [8] grid x[0] scales", "");
    with(12, "f32 tile 1 x 8 m [n] n [8] k [4]", "tap 2 by [1] b x[0] rows [8]", "");
    with(12, "f32 tile 1 x 8 m [n] n [8] k [4]", "tap 0 by [1] b x[0] panel", "");
    with(12, "f32 tile 1 x 8 m [n] n [8] k [4]", "b x[0] panel", "if true { }");
    with(9, "f32 tile 1 x 8 m [n] n [8] k [4]", "b x[0] panel", "store y[r] = acc");
}

#[test]
fn nesting() {
    changed(13, |k| {
        let mut x = Expr::constant(DType::F32, 0.0);
        for _ in 0..600 {
            x = Expr::unary(UnaryOp::Neg, x);
        }
        k.body.push(Stmt::Store(BufferRef(3), Index::ZERO, x));
    });
    changed(13, |k| {
        let mut body = vec![];
        for i in 0..600 {
            let var = k.add_var("i", DType::I64, i, i);
            body = vec![Stmt::For(Loop { var, extent: Index::ONE, axis: AxisKind::Serial }, body)];
        }
        k.body = body;
    });
}

#[test]
fn an_error_names_kernel_and_statement() {
    let text = format!("{HEAD} for i in 0..3 {{ store y[i + p] = neg(load h[i]) }} }}");
    let k = parse::kernel(&text).unwrap_or_else(|e| panic!("{e}"));
    let error = kernel(&k).expect_err("f16 arithmetic").to_string();
    assert_eq!(error, "kernel `k`, `store y[p + i] = neg(load h[i])`: neg is not defined on f16 (rule 6)");
}

fn sound() -> Program {
    let mut dims = DimTable::default();
    let n = Dim::sym(dims.new_symbol(SymbolInfo::input("n")));
    dims.fresh("count", 0, 9, None);
    let text = "kernel @copy(x: read f32 align 4, y: write f32 align 4; n: i64) parallel p in 0..n {
                  store y[p] = load x[p]
                }";
    let parameter = |name: &str| Parameter::plain(name.to_owned(), DType::F32, vec![n.clone()]);
    let buffer = |name: &str, dtype, place| Buffer { name: name.to_owned(), dtype, bytes: &n * 4, place };
    let argument = |id| Argument { buffer: BufferId(id), offset: Dim::ZERO };
    Program {
        name: "copy".to_owned(),
        inputs: vec![parameter("x")],
        states: vec![],
        outputs: vec![parameter("y")],
        weights: vec![Weight { source: Tensor::from_slice(&[4], &[0f32; 4]), pack: Pack::Plain }],
        buffers: vec![
            buffer("x", DType::F32, Place::Input(0)),
            buffer("y", DType::F32, Place::Output(0)),
            buffer("t", DType::I64, Place::Workspace { offset: Dim::from(64) }),
            buffer("w", DType::F32, Place::Weight(WeightId(0))),
        ],
        kernels: parse::kernels(text).unwrap_or_else(|e| panic!("{e}")),
        checks: vec![],
        steps: vec![Step::Run {
            kernel: KernelId(0),
            arguments: vec![argument(0), argument(1)],
            params: vec![n.clone()],
            extent: n.clone(),
            work: n.clone(),
            apart: false,
            origin: "Identity".to_owned(),
        }],
        workspace_bytes: &n * 4 + 64,
        dims,
    }
}

#[test]
fn programs() {
    assert_eq!(program(&sound()), Ok(()));
    let breaks = |rule: u8, change: &dyn Fn(&mut Program)| {
        let mut p = sound();
        change(&mut p);
        let found = program(&p).expect_err("a broken rule");
        assert_eq!(found.rule, rule, "{found}");
        let _ = print::program(&p);
    };
    type Change<'a> = &'a dyn Fn(&mut Vec<Argument>, &mut Vec<Dim>, &mut Dim);
    let run = |p: &mut Program, change: Change<'_>| {
        if let Some(Step::Run { arguments, params, extent, .. }) = p.steps.first_mut() {
            change(arguments, params, extent);
        }
    };
    let count = Symbol(1);
    let element = |id| Argument { buffer: BufferId(id), offset: Dim::ZERO };
    breaks(20, &|p| p.kernels.push(p.kernels[0].clone()));
    breaks(21, &|p| p.buffers[0].place = Place::Input(1));
    breaks(21, &|p| p.buffers[0].dtype = DType::F64);
    breaks(21, &|p| p.buffers[2].place = Place::Workspace { offset: Dim::from(8) });
    breaks(21, &|p| p.buffers[1].place = Place::Input(0));
    breaks(22, &|p| {
        let pack =
            Pack::Panels { batch: vec![], sum: vec![(2, 4)], columns: 2, column_stride: 1, width: 8, halves: false };
        p.weights[0].pack = pack;
    });
    breaks(22, &|p| {
        // One element again and again.
        let sum = vec![(1 << 40, 0), (1 << 40, 0)];
        p.weights[0].pack = Pack::Panels { batch: vec![], sum, columns: 1, column_stride: 1, width: 8, halves: false };
    });
    breaks(23, &|p| run(p, &|arguments, _, _| arguments[0].buffer = BufferId(9)));
    breaks(23, &|p| run(p, &|arguments, _, _| arguments[0].buffer = BufferId(2)));
    breaks(23, &|p| run(p, &|arguments, _, _| arguments[1].buffer = BufferId(3)));
    breaks(23, &|p| run(p, &|arguments, _, _| arguments.truncate(1)));
    breaks(23, &|p| run(p, &|_, params, _| params.clear()));
    breaks(24, &|p| run(p, &|_, params, extent| (params[0], *extent) = (Dim::from(3), Dim::from(4))));
    breaks(25, &|p| run(p, &|_, _, extent| *extent = Dim::sym(count)));
    breaks(25, &|p| p.workspace_bytes = Dim::sym(count));
    breaks(25, &|p| p.outputs[0].shape[0] = Dim::sym(count));
    breaks(25, &|p| {
        // Bound in one branch alone.
        let bind =
            Step::Bind { symbol: count, source: element(2), min: Dim::ZERO, max: Dim::ONE, origin: String::new() };
        p.buffers.push(Buffer {
            name: "b".to_owned(),
            dtype: DType::Bool,
            bytes: Dim::ONE,
            place: Place::Workspace { offset: Dim::ZERO },
        });
        p.steps.push(Step::If { condition: element(4), then: vec![bind], otherwise: vec![] });
        let (left, right) = (Dim::sym(count), Dim::ONE);
        let (what, origin) = (String::new(), String::new());
        p.steps.push(Step::Check(SizeCheck { left, relation: Relation::Equal, right, what, origin }));
    });
    let state = |growth| State { input: 0, output: 0, growth };
    let mut kept = sound();
    kept.states = vec![state(None)];
    kept.buffers[1].place = Place::State(0);
    assert_eq!(program(&kept), Ok(()));
    breaks(21, &|p| p.buffers[1].place = Place::State(0));
    breaks(27, &|p| p.states = vec![State { input: 1, ..state(None) }]);
    breaks(27, &|p| p.states = vec![state(None), state(None)]);
    breaks(27, &|p| p.states = vec![state(Some((1, 9)))]);
    breaks(27, &|p| p.states = vec![state(Some((0, -1)))]);
    breaks(27, &|p| (p.states, p.outputs[0].shape[0]) = (vec![state(None)], Dim::ONE));
    breaks(26, &|p| p.steps.push(Step::While { condition: element(0), body: vec![] }));
    breaks(26, &|p| {
        p.steps.push(Step::Bind {
            symbol: count,
            source: element(0),
            min: Dim::ZERO,
            max: Dim::ONE,
            origin: String::new(),
        });
    });
}
