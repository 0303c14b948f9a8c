//! Kernels with names resolved to slots and functions to pointers, so that running them does not search or match types.

use super::scalar::{self, Fn1, Fn2, Wide};
use crate::contraction::{Contraction, Grid, RightLayout};
use crate::index::{self, Polynomial};
use crate::kernel::{Access, Accumulator, Expr, Index, Kernel, Stmt, Var};
use crate::ops;
use nnc_ir::DType;
use nnc_ir::dim::DimOp;

/// An index: `constant + sum of coefficient * product of factors`.
#[derive(Debug)]
pub(super) struct Poly {
    pub constant: i64,
    /// The terms that are a coefficient and one variable: nearly all.
    pub linear: Vec<(i64, u32)>,
    pub others: Vec<(i64, Vec<Factor>)>,
}

#[derive(Debug)]
pub(super) enum Factor {
    Var(u32),
    Op(DimOp, Vec<Poly>),
}

/// An expression; evaluates to bits as described in [`scalar`].
#[derive(Debug)]
pub(super) enum Node {
    Const(u64),
    Var(u32),
    Index(Poly),
    Load(u32, Poly),
    Unary(Fn1, Box<Node>),
    Binary(Fn2, Box<[Node; 2]>),
    MulAdd(fn(u64, u64, u64) -> u64, Box<[Node; 3]>),
    Select(Box<[Node; 3]>),
    LoadIf(Box<(Node, Node)>, u32, Poly),
    Convert(fn(u64) -> Wide, fn(Wide) -> u64, Box<Node>),
}

/// Where a value goes: a local, whose declared range is checked when it is an `i64`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Local {
    pub slot: u32,
    pub range: Option<(i64, i64)>,
}

#[derive(Debug)]
pub(super) struct Acc {
    pub local: Local,
    pub init: Node,
    pub value: Node,
    pub combine: Fn2,
}

#[derive(Debug)]
pub(super) struct ContractionCode {
    pub m: Poly,
    pub n: Poly,
    pub k: Poly,
    pub a: u32,
    pub a_offset: Poly,
    pub a_row_stride: Poly,
    pub taps: Vec<(usize, Poly)>,
    pub b: u32,
    pub b_offset: Poly,
    /// `None`: a panel.
    pub b_row_stride: Option<Poly>,
    /// Whether a byte of `b` holds two k.
    pub nibbles: bool,
    pub less: u8,
    /// Buffer and offset of zero points and scales.
    pub grid: Option<(u32, Poly, Grid)>,
    pub width: usize,
    pub acc_dtype: DType,
    pub row: Local,
    pub col: Local,
    pub acc: u32,
    pub epilogue: Vec<Op>,
}

/// A statement.
#[derive(Debug)]
pub(super) enum Op {
    Set(Local, Node),
    Store(u32, Poly, Node),
    For(Local, Poly, Vec<Op>),
    Reduce(Local, Poly, Vec<Op>, Vec<Acc>),
    If(Node, Vec<Op>, Vec<Op>),
    While(Node, Vec<Op>),
    Fail(i32),
    Contract(Box<ContractionCode>),
}

/// A kernel ready to run.
#[derive(Debug)]
pub(super) struct Code {
    pub locals: usize,
    pub params: Vec<Local>,
    pub parallel: Local,
    pub extent: Poly,
    /// Element type and whether stores are allowed, of each parameter buffer.
    pub buffers: Vec<(DType, bool)>,
    /// Element type and number of elements of each scratch buffer; they follow the parameters.
    pub scratch: Vec<(DType, usize)>,
    pub body: Vec<Op>,
}

/// Resolves a verified kernel. `None` when it breaks a rule after all.
pub(super) fn compile(kernel: &Kernel) -> Option<Code> {
    let mut buffers = vec![];
    let mut scratch = vec![];
    for decl in &kernel.buffers {
        match decl.access {
            Access::Scratch { elements } => scratch.push((decl.dtype, elements)),
            access => buffers.push((decl.dtype, access == Access::Write)),
        }
    }
    Some(Code {
        locals: kernel.vars.len(),
        params: kernel.params.iter().map(|&v| local(kernel, v)).collect(),
        parallel: local(kernel, kernel.parallel.0),
        extent: poly(&kernel.parallel.1),
        buffers,
        scratch,
        body: block(kernel, &kernel.body)?,
    })
}

fn local(kernel: &Kernel, var: Var) -> Local {
    let range = kernel.vars.get(var.0 as usize).and_then(|info| {
        let checked = info.dtype == DType::I64 && (info.min, info.max) != (i64::MIN, i64::MAX);
        checked.then_some((info.min, info.max))
    });
    Local { slot: var.0, range }
}

/// Resolves an index.
pub(super) fn poly(index: &Index) -> Poly {
    let view = index.view();
    let mut result = Poly { constant: view.constant, linear: vec![], others: vec![] };
    for (coefficient, factors) in view.terms {
        if let [index::Factor::Var(var)] = factors.as_slice() {
            result.linear.push((coefficient, var.0));
            continue;
        }
        let factors = factors.into_iter().map(|factor| match factor {
            index::Factor::Var(var) => Factor::Var(var.0),
            index::Factor::Op(op, operands) => Factor::Op(op, operands.iter().map(poly).collect()),
        });
        result.others.push((coefficient, factors.collect()));
    }
    result
}

fn block(kernel: &Kernel, body: &[Stmt]) -> Option<Vec<Op>> {
    body.iter().map(|stmt| statement(kernel, stmt)).collect()
}

fn statement(kernel: &Kernel, stmt: &Stmt) -> Option<Op> {
    Some(match stmt {
        Stmt::Let(var, value) | Stmt::Mutable(var, value) | Stmt::Assign(var, value) => {
            Op::Set(local(kernel, *var), node(kernel, value)?)
        }
        Stmt::For(l, body) => Op::For(local(kernel, l.var), poly(&l.extent), block(kernel, body)?),
        Stmt::Reduce(l, body, accumulators) => {
            let accumulators = accumulators.iter().map(|a| accumulator(kernel, a)).collect::<Option<_>>()?;
            Op::Reduce(local(kernel, l.var), poly(&l.extent), block(kernel, body)?, accumulators)
        }
        Stmt::Store(buffer, index, value) => Op::Store(buffer.0, poly(index), node(kernel, value)?),
        Stmt::If(condition, then, otherwise) => {
            Op::If(node(kernel, condition)?, block(kernel, then)?, block(kernel, otherwise)?)
        }
        Stmt::While(condition, body) => Op::While(node(kernel, condition)?, block(kernel, body)?),
        Stmt::Fail(status) => Op::Fail(*status),
        Stmt::Contract(c) => Op::Contract(Box::new(contraction(kernel, c)?)),
    })
}

fn accumulator(kernel: &Kernel, a: &Accumulator) -> Option<Acc> {
    Some(Acc {
        local: local(kernel, a.var),
        init: node(kernel, &a.init)?,
        value: node(kernel, &a.value)?,
        combine: scalar::binary(ops::reduce_function(a.op), kernel.dtype(&a.init))?,
    })
}

fn contraction(kernel: &Kernel, c: &Contraction) -> Option<ContractionCode> {
    Some(ContractionCode {
        m: poly(&c.extents.m),
        n: poly(&c.extents.n),
        k: poly(&c.extents.k),
        a: c.left.buffer.0,
        a_offset: poly(&c.left.offset),
        a_row_stride: poly(&c.left.row_stride),
        taps: c.taps.iter().map(|t| (t.count, poly(&t.stride))).collect(),
        b: c.right.buffer.0,
        b_offset: poly(&c.right.offset),
        b_row_stride: match &c.right.layout {
            RightLayout::Panel | RightLayout::Nibbles => None,
            RightLayout::Rows { row_stride } => Some(poly(row_stride)),
        },
        nibbles: c.right.layout == RightLayout::Nibbles,
        less: c.right.less,
        grid: c.right.grid.as_ref().map(|grid| (grid.buffer.0, poly(&grid.offset), grid.clone())),
        width: c.tile.width,
        acc_dtype: c.accumulator,
        row: local(kernel, c.epilogue.row),
        col: local(kernel, c.epilogue.column),
        acc: c.epilogue.sum.0,
        epilogue: block(kernel, &c.epilogue.body)?,
    })
}

fn node(kernel: &Kernel, expr: &Expr) -> Option<Node> {
    let boxed = |x: &Expr| Some(Box::new(node(kernel, x)?));
    let three = |x: &Expr, y: &Expr, z: &Expr| Some(Box::new([node(kernel, x)?, node(kernel, y)?, node(kernel, z)?]));
    Some(match expr {
        Expr::Const(scalar) => Node::Const(scalar.bits),
        Expr::Var(var) => Node::Var(var.0),
        Expr::Index(index) => Node::Index(poly(index)),
        Expr::Load(buffer, index) => Node::Load(buffer.0, poly(index)),
        Expr::Unary(op, x) => Node::Unary(scalar::unary(*op, kernel.dtype(x))?, boxed(x)?),
        Expr::Binary(op, x, y) => {
            let operands = Box::new([node(kernel, x)?, node(kernel, y)?]);
            Node::Binary(scalar::binary(*op, kernel.dtype(x))?, operands)
        }
        Expr::MulAdd(x, y, z) => Node::MulAdd(scalar::mul_add(kernel.dtype(x))?, three(x, y, z)?),
        Expr::Select(condition, x, y) => Node::Select(three(condition, x, y)?),
        Expr::LoadIf { condition, buffer, index, otherwise } => {
            Node::LoadIf(Box::new((node(kernel, condition)?, node(kernel, otherwise)?)), buffer.0, poly(index))
        }
        Expr::Convert(to, x) => Node::Convert(scalar::widen(kernel.dtype(x)), scalar::narrow(*to), boxed(x)?),
        // Bits are zero-extended whatever the type, so the same bits are the same number.
        Expr::Bitcast(_, x) => node(kernel, x)?,
    })
}
