//! Kernels: a function over buffers, made of loops, typed scalar expressions and micro-kernels.
//!
//! Invariants (enforced by [`crate::verify`]):
//! - variables are assigned once, except those declared by [`Stmt::Mutable`];
//! - an [`Index`] mentions only `i64` variables in scope; every element it reaches lies in its buffer;
//! - arithmetic is never done in `f16` or `bf16`: such elements are loaded, converted to `f32`, and converted before
//!   the store;
//! - iterations of the kernel's parallel loop, of a `AxisKind::Free` and of a `AxisKind::Vector` loop are independent of each other.

use crate::contraction::Contraction;
use nnc_ir::op::{BinaryOp, ReduceOp, UnaryOp};
use nnc_ir::{DType, Dim};
use rustc_hash::FxHashMap;

pub use crate::index::Index;

/// A scalar local of a kernel (one value per lane inside a vector loop): an index of [`Kernel::vars`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Var(pub u32);

/// What is known of a variable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VarInfo {
    /// For text forms; unique in the kernel.
    pub name: String,
    /// Type. Variables that an [`Index`] mentions are `I64`.
    pub dtype: DType,
    /// Lowest value an `I64` variable takes.
    pub min: i64,
    /// Highest value an `I64` variable takes.
    pub max: i64,
}

/// A buffer parameter or scratch buffer: an index of [`Kernel::buffers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufferRef(pub u32);

/// How a kernel uses a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Parameter, only loaded from.
    Read,
    /// Parameter, stored to (and possibly loaded from).
    Write,
    /// Memory of the running task alone, undefined at entry, at most 64 KiB in a kernel: `elements` of it.
    Scratch {
        /// Number of elements.
        elements: usize,
    },
}

/// Declaration of a buffer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BufferDecl {
    /// For text forms; unique in the kernel.
    pub name: String,
    /// Element type; `Bool` elements are bytes holding 0 or 1.
    pub dtype: DType,
    /// Use.
    pub access: Access,
    /// Known alignment of the base address in bytes, a power of two (the element size at least).
    pub align: u32,
}

/// A typed constant; `bits` holds the value's little-endian bits, zero-extended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Scalar {
    /// Type.
    pub dtype: DType,
    /// Bits.
    pub bits: u64,
}

/// A typed scalar expression (in a vector loop, one value per lane).
///
/// Operations mean what they mean on tensors, see `nnc_ir::op`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Expr {
    /// A constant.
    Const(Scalar),
    /// A variable.
    Var(Var),
    /// An index value, `i64`.
    Index(Index),
    /// The element `index` of a buffer, in the buffer's type.
    Load(BufferRef, Index),
    /// A function of one operand.
    Unary(UnaryOp, Box<Expr>),
    /// A function of two operands of one type.
    Binary(BinaryOp, Box<Expr>, Box<Expr>),
    /// `a * b + c` in `f32` or `f64`, rounded once or twice.
    MulAdd(Box<Expr>, Box<Expr>, Box<Expr>),
    /// `condition ? a : b`. Both sides may be evaluated, so loads on either side are in bounds regardless, unless
    /// guarded by [`Expr::LoadIf`].
    Select(Box<Expr>, Box<Expr>, Box<Expr>),
    /// `condition ? load : otherwise`, where the load happens only if the condition holds (borders, padding).
    LoadIf {
        /// Bool.
        condition: Box<Expr>,
        /// Buffer loaded from.
        buffer: BufferRef,
        /// Element.
        index: Index,
        /// Value, of the buffer's type, when the condition does not hold.
        otherwise: Box<Expr>,
    },
    /// Conversion as `nnc_ir::Op::Convert` defines it.
    Convert(DType, Box<Expr>),
    /// Same bits, another type of the same size.
    Bitcast(DType, Box<Expr>),
}

/// How iterations of a loop are laid onto the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AxisKind {
    /// One after the other.
    Serial,
    /// In any order, or at the same time: iterations are independent. How they do run is for the schedule to decide; code
    /// generators take them one after the other.
    Free,
    /// In vector lanes; iterations are independent. Never nested inside another vector loop.
    Vector,
    /// Written out; the extent is a small constant.
    Unrolled,
}

/// `for var in 0..extent`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Loop {
    /// Loop variable, `I64`.
    pub var: Var,
    /// Number of iterations; none when not positive.
    pub extent: Index,
    /// Mapping.
    pub axis: AxisKind,
}

/// A running combination over a [`Stmt::Reduce`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Accumulator {
    /// Holds the result after the loop; not visible inside.
    pub var: Var,
    /// Combination; floating sums may be reassociated.
    pub op: ReduceOp,
    /// First operand.
    pub init: Expr,
    /// Combined in every iteration (evaluated after the body).
    pub value: Expr,
}

/// A statement.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Stmt {
    /// Defines an immutable variable for the rest of the block.
    Let(Var, Expr),
    /// A loop.
    For(Loop, Vec<Stmt>),
    /// A loop that combines values; the accumulators are visible after it. A vector reduce yields a scalar.
    Reduce(Loop, Vec<Stmt>, Vec<Accumulator>),
    /// Writes an element, which no other iteration of a parallel or vector loop around it touches.
    Store(BufferRef, Index, Expr),
    /// `if condition { then } else { otherwise }`. Inside a vector loop the condition is the same in all lanes
    /// (what differs from lane to lane is written with [`Expr::Select`] and [`Expr::LoadIf`]).
    If(Expr, Vec<Stmt>, Vec<Stmt>),
    /// Declares a mutable variable, not inside a vector loop.
    Mutable(Var, Expr),
    /// Assigns a mutable variable.
    Assign(Var, Expr),
    /// Repeats the body while the condition, evaluated before each iteration, holds. Not inside a vector loop.
    While(Expr, Vec<Stmt>),
    /// Ends this kernel call with a failure; the run answers `status` (a code of `nnc-abi`) and writes no more
    /// steps. Not inside a vector loop.
    Fail(i32),
    /// Products summed in registers. Not inside a vector loop.
    Contract(Box<Contraction>),
}

/// A kernel: a function of buffers and integer parameters, run over a range of its parallel loop.
///
/// The machine function is `extern "C" fn(buffers: *const *mut u8, params: *const i64, begin: i64, end: i64) -> i32`
/// with `buffers` in the order of the non-scratch declarations; it returns a status, 0 when it did not fail.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Kernel {
    /// Unique in the program: the root's job, then a number, e.g. `contract_3`.
    pub name: String,
    /// Buffers: parameters first, in the order of the arguments, then scratch.
    pub buffers: Vec<BufferDecl>,
    /// Integer parameters, in the order of the arguments; all `I64`.
    pub params: Vec<Var>,
    /// All variables.
    pub vars: Vec<VarInfo>,
    /// The parallel loop around the body; its extent mentions only `params`.
    pub parallel: (Var, Index),
    /// The body.
    pub body: Vec<Stmt>,
}

impl Scalar {
    /// A constant of type `dtype` from a double (converted as Rust's `as` does).
    pub fn new(dtype: DType, value: f64) -> Scalar {
        let tensor = nnc_ir::Tensor::scalar_of(dtype, value);
        let mut bits = [0; 8];
        bits[..dtype.size()].copy_from_slice(tensor.data.bytes());
        Scalar { dtype, bits: u64::from_le_bytes(bits) }
    }
}

impl Expr {
    /// A constant of type `dtype`.
    pub fn constant(dtype: DType, value: f64) -> Expr {
        Expr::Const(Scalar::new(dtype, value))
    }

    /// A function of one operand.
    pub fn unary(op: UnaryOp, x: Expr) -> Expr {
        Expr::Unary(op, Box::new(x))
    }

    /// A function of two operands.
    pub fn binary(op: BinaryOp, x: Expr, y: Expr) -> Expr {
        Expr::Binary(op, Box::new(x), Box::new(y))
    }

    /// A choice.
    pub fn select(condition: Expr, x: Expr, y: Expr) -> Expr {
        Expr::Select(Box::new(condition), Box::new(x), Box::new(y))
    }

    /// A conversion; the expression itself when it has that type already.
    pub fn convert(to: DType, from: DType, x: Expr) -> Expr {
        if to == from { x } else { Expr::Convert(to, Box::new(x)) }
    }
}

impl Kernel {
    /// A kernel without body.
    pub fn new(name: impl Into<String>) -> Kernel {
        let mut kernel = Kernel {
            name: name.into(),
            buffers: vec![],
            params: vec![],
            vars: vec![],
            parallel: (Var(0), Index::ONE),
            body: vec![],
        };
        kernel.parallel.0 = kernel.add_var("p", DType::I64, 0, i64::MAX - 1);
        kernel
    }

    /// Adds a variable; the name gets a number when it is taken.
    pub fn add_var(&mut self, name: &str, dtype: DType, min: i64, max: i64) -> Var {
        let taken = |n: &str| self.vars.iter().any(|v| v.name == n);
        let mut unique = name.to_owned();
        let mut k = self.vars.len();
        while taken(&unique) {
            unique = format!("{name}_{k}");
            k += 1;
        }
        self.vars.push(VarInfo { name: unique, dtype, min, max });
        Var(self.vars.len() as u32 - 1)
    }

    /// Adds a buffer.
    pub fn add_buffer(&mut self, name: &str, dtype: DType, access: Access) -> BufferRef {
        let name = format!("{name}{}", self.buffers.len());
        self.buffers.push(BufferDecl { name, dtype, access, align: dtype.size() as u32 });
        BufferRef(self.buffers.len() as u32 - 1)
    }

    /// What the kernel's parameters are in a step that runs it with `params`; other variables are no size.
    pub fn sizes<'a>(&self, params: &'a [Dim]) -> impl Fn(Var) -> Dim + use<'a> {
        let by_var: FxHashMap<Var, &Dim> = self.params.iter().copied().zip(params).collect();
        move |var| by_var.get(&var).map_or(Dim::OVERFLOW, |dim| (*dim).clone())
    }

    /// Type of a variable.
    pub fn var_dtype(&self, var: Var) -> DType {
        self.vars[var.0 as usize].dtype
    }

    /// Type of an expression.
    pub fn dtype(&self, expr: &Expr) -> DType {
        match expr {
            Expr::Const(s) => s.dtype,
            Expr::Var(v) => self.var_dtype(*v),
            Expr::Index(_) => DType::I64,
            Expr::Load(b, _) | Expr::LoadIf { buffer: b, .. } => self.buffers[b.0 as usize].dtype,
            Expr::Unary(op, x) => op.result(self.dtype(x)),
            Expr::Binary(op, ..) if op.is_comparison() => DType::Bool,
            Expr::Binary(_, x, _) | Expr::MulAdd(x, ..) => self.dtype(x),
            Expr::Select(_, x, _) => self.dtype(x),
            Expr::Convert(to, _) | Expr::Bitcast(to, _) => *to,
        }
    }
}
