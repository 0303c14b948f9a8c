//! Instruction selection: the state of lowering, scopes, and statements.
//!
//! Loop-invariant code is never moved afterwards: it is emitted where it belongs. Each open loop has two [`Scope`]s,
//! the block before it (reached only if the loop runs at all) and its body, each with a block that is still being
//! appended to. A value that depends only on what outer scopes define is appended to the outer scope's block and
//! remembered there, so it is shared by everything inside. Terminators are therefore added last: a loop's guard and
//! the jump into it are appended when the body is complete.
//!
//! Invariants:
//! - what a scope remembers is defined in blocks that dominate its current block;
//! - only loads of read-only buffers are hoisted, at most to the block before the innermost loop (which a loop that
//!   never runs does not reach), and none out of a conditional branch.

use std::collections::{BTreeSet, HashMap, HashSet};

use iced_x86::{ConditionCode, Mnemonic as M};
use nnc_desc::{Feature, Target};
use nnc_ir::DType;
use nnc_kernels::kernel::{Access, AxisKind};
use nnc_kernels::{BufferRef, Expr, Index, Kernel, Stmt, Var};
use regalloc2::VReg;

use super::Fault;
use super::machine::{BlockId, Body, Form, Function, Mem, Operand, Plain, Size};
use super::reason::Reason;

/// Why lowering stopped.
#[derive(Debug)]
pub enum Stop {
    /// The kernel is for Cranelift.
    Unsupported(Reason),
    /// A bug.
    Error(Fault),
}

impl Stop {
    /// A bug: what the kernel's verifier or an earlier check excludes.
    pub fn fault(message: &str) -> Stop {
        Stop::Error(Fault(message.to_owned()))
    }
}

impl From<Fault> for Stop {
    fn from(error: Fault) -> Stop {
        Stop::Error(error)
    }
}

/// Result of a lowering step.
pub type Lowered<T> = Result<T, Stop>;

/// A value at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// A scalar integer or bool (0 or 1), extended to 64 bits by its type.
    Int(VReg),
    /// A constant scalar integer or bool.
    Imm(i64),
    /// 32-bit lanes: in scalar code only lane 0 counts.
    Vec(VReg),
    /// The same bits in every lane.
    Bits(u32),
    /// 32-bit lanes still in memory; `true`: one element for all lanes.
    Mem(Mem, bool),
    /// Bool lanes: a mask register (AVX-512) or lanes of all ones and all zeros.
    Mask(VReg),
}

/// How expressions are evaluated.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// Register width.
    pub size: Size,
    /// Elements per register: 1 in scalar code.
    pub lanes: usize,
    /// The variable along the lanes; `None` in scalar code.
    pub axis: Option<Var>,
    /// Lanes that exist; `None` when all do.
    pub tail: Option<VReg>,
}

/// A loop whose body is open.
#[derive(Debug)]
pub struct OpenLoop {
    /// Its variable.
    pub var: Var,
    /// First value.
    pub start: Index,
    /// Further induction variables: multiples of the variable, as (factor, current value, first value).
    pub derived: Vec<(Index, VReg, VReg)>,
}

/// A region of code that is still being appended to.
#[derive(Debug)]
pub struct Scope {
    /// Where code goes.
    pub block: BlockId,
    /// Index values already computed.
    pub ints: HashMap<Index, VReg>,
    /// Addresses already computed, by buffer and first element.
    pub pointers: HashMap<(BufferRef, Index), VReg>,
    /// Vector values already computed that are the same in every iteration of the scopes inside.
    pub uniforms: HashMap<(Expr, Size), Value>,
    /// Vector constants in registers.
    pub constants: HashMap<(Vec<u32>, Size), VReg>,
    /// The loop of which this is the body.
    pub open: Option<OpenLoop>,
    /// Whether loads inside may be placed here: blocks before loops.
    pub before_loop: bool,
    /// Whether vector values are not hoisted out of here.
    pub barrier: bool,
}

impl Scope {
    /// An empty scope that appends to a block.
    pub fn new(block: BlockId) -> Scope {
        Scope {
            block,
            ints: HashMap::new(),
            pointers: HashMap::new(),
            uniforms: HashMap::new(),
            constants: HashMap::new(),
            open: None,
            before_loop: false,
            barrier: false,
        }
    }
}

/// State of lowering a kernel.
pub struct Lower<'a> {
    /// The kernel.
    pub kernel: &'a Kernel,
    /// The code so far.
    pub f: Function,
    /// Full vector width.
    pub size: Size,
    /// 32-bit elements in a full vector.
    pub lanes: usize,
    /// Scopes, outermost first; never empty.
    pub scopes: Vec<Scope>,
    /// `i64` variables in registers, with the scope that defines them.
    pub ints: HashMap<Var, (VReg, usize)>,
    /// Other variables with the scope that defines them; `true` when one value per lane.
    pub values: HashMap<Var, (Value, usize, bool)>,
    /// What loop variables stand for inside indices: a constant, or the variable of the open loop plus a constant.
    pub replaced: HashMap<Var, Index>,
    /// `Let`s of indices, in terms of loop variables and variables in registers.
    pub lets: HashMap<Var, Index>,
    /// The registers of the arguments `buffers` and `params`.
    arguments: (VReg, VReg),
    /// Frame offsets of scratch buffers.
    scratch: HashMap<BufferRef, i32>,
    /// Expressions of the open vector loop that are evaluated lane by lane.
    pub by_lane: HashSet<Expr>,
    /// In the tail of a vector loop, the last value of its variable.
    pub last: Option<Index>,
    /// Why vector loops so far became scalar.
    pub scalar_loops: BTreeSet<Reason>,
    /// Number of the next variable made up here.
    next_var: u32,
}

/// Lowers a kernel; also answers why vector loops in it are scalar, each reason once.
///
/// # Errors
/// On a bug in the generator, or when the kernel is for Cranelift.
pub fn lower(kernel: &Kernel, target: &Target) -> Lowered<(Function, BTreeSet<Reason>)> {
    if !target.features.has(Feature::Bmi2) || !target.features.has(Feature::F16c) {
        return Err(Stop::Unsupported(Reason::Features));
    }
    let evex = target.vector_bytes() >= 64;
    let (size, lanes) = if evex { (Size::Z, 16) } else { (Size::Y, 8) };
    let mut f = Function { evex, ..Function::default() };
    let entry = f.block();
    f.place(entry);
    let arguments = [f.int(), f.int(), f.int(), f.int()];
    f.push(entry, Body::Arguments(arguments));
    let mut scratch = HashMap::new();
    for (i, buffer) in kernel.buffers.iter().enumerate() {
        if let Access::Scratch { elements } = buffer.access {
            let bytes = i32::try_from(elements.saturating_mul(buffer.dtype.size()))
                .map_err(|_| Stop::Unsupported(Reason::Scratch))?;
            scratch.insert(BufferRef(i as u32), f.frame(bytes, 64));
        }
    }
    let mut lower = Lower {
        kernel,
        f,
        size,
        lanes,
        scopes: vec![Scope::new(entry)],
        ints: HashMap::new(),
        values: HashMap::new(),
        replaced: HashMap::new(),
        lets: HashMap::new(),
        arguments: (arguments[0], arguments[1]),
        scratch,
        by_lane: HashSet::new(),
        last: None,
        scalar_loops: BTreeSet::new(),
        next_var: kernel.vars.len() as u32,
    };
    let [_, _, begin, end] = arguments;
    let begin = lower.bind_fresh(begin);
    let end = lower.bind_fresh(end);
    let context = lower.scalar();
    lower.counted(kernel.parallel.0, begin, end, 1, &[], |lower, _| {
        lower.statements(&kernel.body, &context)?;
        Ok(vec![])
    })?;
    let last = lower.block();
    lower.f.push(last, Body::Return(0));
    Ok((lower.f, lower.scalar_loops))
}

impl Lower<'_> {
    /// Index of the innermost scope.
    pub fn depth(&self) -> usize {
        self.scopes.len() - 1
    }

    /// Block of the innermost scope.
    pub fn block(&self) -> BlockId {
        self.scopes[self.depth()].block
    }

    /// The innermost scope.
    pub fn scope(&mut self) -> &mut Scope {
        let depth = self.depth();
        &mut self.scopes[depth]
    }

    /// Makes up a variable for an index value in a register, defined in the current scope.
    pub fn bind_fresh(&mut self, reg: VReg) -> Index {
        let var = self.fresh_var();
        self.ints.insert(var, (reg, self.depth()));
        var.index()
    }

    /// Makes up a variable.
    pub fn fresh_var(&mut self) -> Var {
        self.next_var += 1;
        Var(self.next_var - 1)
    }

    /// The context of scalar code.
    pub fn scalar(&self) -> Context {
        Context { size: Size::X, lanes: 1, axis: None, tail: None }
    }

    /// Appends to the innermost scope.
    pub fn push(&mut self, body: Body) {
        let block = self.block();
        self.f.push(block, body);
    }

    /// Appends an instruction whose first operand is `result`.
    pub fn def(&mut self, op: M, operands: Vec<Operand>) {
        self.push(Body::Plain(Plain { op, operands, form: Form::Def, mask: None, zeroing: false, broadcast: false }));
    }

    /// Appends an instruction that overwrites the register of `old`.
    pub fn tied(&mut self, op: M, old: VReg, operands: Vec<Operand>) {
        let form = Form::Tied(old);
        self.push(Body::Plain(Plain { op, operands, form, mask: None, zeroing: false, broadcast: false }));
    }

    /// Appends an instruction without result.
    pub fn effect(&mut self, op: M, operands: Vec<Operand>) {
        self.push(Body::Plain(Plain { op, operands, form: Form::Use, mask: None, zeroing: false, broadcast: false }));
    }

    /// Runs `work` with an outer scope as the innermost.
    pub fn within<T>(&mut self, depth: usize, work: impl FnOnce(&mut Self) -> Lowered<T>) -> Lowered<T> {
        let inner = self.scopes.split_off((depth + 1).min(self.scopes.len()));
        let result = work(self);
        self.scopes.truncate(depth + 1);
        self.scopes.extend(inner);
        result
    }

    /// The outermost scope in which all variables of an index are known.
    pub fn depth_of(&self, index: &Index) -> usize {
        index.vars().iter().map(|v| self.depth_of_var(*v)).max().unwrap_or(0)
    }

    /// The scope that defines a variable (0 for parameters).
    pub fn depth_of_var(&self, var: Var) -> usize {
        self.ints.get(&var).map_or(0, |&(_, depth)| depth)
    }

    /// An index with `Let` indices put in, so that it shows every loop variable that it depends on.
    pub fn expand(&self, index: &Index) -> Index {
        if self.lets.is_empty() {
            return index.clone();
        }
        index.substitute(&|v| self.lets.get(&v).cloned())
    }

    /// An index with the current meaning of variables put in.
    pub fn resolve(&self, index: &Index) -> Index {
        let index = self.expand(index);
        if self.replaced.is_empty() {
            return index;
        }
        index.substitute(&|v| self.replaced.get(&v).cloned())
    }

    /// The register of a variable of an index.
    pub fn int_var(&mut self, var: Var) -> Lowered<VReg> {
        if let Some(&(reg, _)) = self.ints.get(&var) {
            return Ok(reg);
        }
        let position = self.kernel.params.iter().position(|p| *p == var);
        let position = position.ok_or(Stop::fault("index of an unknown variable"))?;
        let params = self.arguments.1;
        let reg = self.f.int();
        let operands = vec![Operand::Reg(reg, Size::R64), Operand::Mem(Mem::at(params, 8 * position as i32))];
        self.within(0, |lower| {
            lower.def(M::Mov, operands);
            Ok(())
        })?;
        self.ints.insert(var, (reg, 0));
        Ok(reg)
    }

    /// The address of a buffer's first element.
    pub fn buffer_base(&mut self, buffer: BufferRef) -> Lowered<VReg> {
        let key = (buffer, Index::ZERO);
        if let Some(&reg) = self.scopes[0].pointers.get(&key) {
            return Ok(reg);
        }
        let reg = self.f.int();
        let (op, mem) = match self.scratch.get(&buffer) {
            Some(&offset) => (M::Lea, Mem::frame(offset)),
            None => (M::Mov, Mem::at(self.arguments.0, 8 * buffer.0 as i32)),
        };
        self.within(0, |lower| {
            lower.def(op, vec![Operand::Reg(reg, Size::R64), Operand::Mem(mem)]);
            lower.scope().pointers.insert(key, reg);
            Ok(reg)
        })
    }

    /// Whether a buffer is only read, and not memory of the task.
    pub fn read_only(&self, buffer: BufferRef) -> bool {
        self.kernel.buffers[buffer.0 as usize].access == Access::Read
    }

    /// Type of an expression.
    pub fn dtype(&self, expr: &Expr) -> DType {
        self.kernel.dtype(expr)
    }

    /// Lowers statements in order.
    pub fn statements(&mut self, body: &[Stmt], context: &Context) -> Lowered<()> {
        body.iter().try_for_each(|s| self.statement(s, context))
    }

    fn statement(&mut self, stmt: &Stmt, context: &Context) -> Lowered<()> {
        match stmt {
            Stmt::Let(var, expr) => self.let_(*var, expr, context),
            Stmt::For(header, body) => match header.axis {
                AxisKind::Serial | AxisKind::Free => self.serial_for(header, body, context),
                AxisKind::Unrolled => self.unrolled_for(header, body, context),
                AxisKind::Vector => self.vector_for(header, body, context),
            },
            Stmt::Reduce(header, body, accumulators) => self.reduce(header, body, accumulators, context),
            Stmt::Store(buffer, index, value) => self.store(*buffer, index, value, context),
            Stmt::If(condition, then, otherwise) => self.if_(condition, then, otherwise, context),
            Stmt::Contract(gemm) => self.gemm(gemm),
            Stmt::Mutable(..) | Stmt::Assign(..) | Stmt::While(..) | Stmt::Fail(_) => {
                Err(Stop::Unsupported(Reason::Sequential))
            }
        }
    }

    fn let_(&mut self, var: Var, expr: &Expr, context: &Context) -> Lowered<()> {
        let dtype = self.dtype(expr);
        // A variable written out several times (unrolled loops) takes its latest meaning.
        self.forget(var);
        if let (DType::I64, Expr::Index(index)) = (dtype, expr) {
            let meaning = self.expand(index);
            self.lets.insert(var, meaning);
            return Ok(());
        }
        let varying = context.axis.is_some() && self.varies(expr, context);
        if !varying {
            let scalar = self.scalar();
            let value = self.scalar_value(expr)?;
            if dtype == DType::I64 {
                let reg = self.int_reg(value)?;
                self.ints.insert(var, (reg, self.depth()));
                return Ok(());
            }
            let value = match value {
                Value::Mem(..) | Value::Bits(_) => Value::Vec(self.vec_reg(value, &scalar)?),
                other => other,
            };
            self.values.insert(var, (value, self.depth(), false));
            return Ok(());
        }
        if dtype == DType::I64 {
            return Err(Stop::Unsupported(Reason::Lanes64));
        }
        let value = self.vector_value(expr, context)?;
        let value = match value {
            Value::Mem(..) => Value::Vec(self.vec_reg(value, context)?),
            other => other,
        };
        self.values.insert(var, (value, self.depth(), true));
        Ok(())
    }

    /// Drops what is known of a variable that is about to be defined again, and everything computed from it.
    pub fn forget(&mut self, var: Var) {
        let known = self.ints.remove(&var).is_some() | self.values.remove(&var).is_some();
        self.lets.remove(&var);
        if known {
            for scope in &mut self.scopes {
                scope.uniforms.retain(|(e, _), _| !e.mentions(var));
                scope.ints.retain(|d, _| !d.mentions(var));
                scope.pointers.retain(|(_, d), _| !d.mentions(var));
            }
        }
    }

    fn if_(&mut self, condition: &Expr, then: &[Stmt], otherwise: &[Stmt], context: &Context) -> Lowered<()> {
        if context.axis.is_some() && self.varies(condition, context) {
            return Err(Stop::Unsupported(Reason::BranchPerLane));
        }
        let condition = self.scalar_value(condition)?;
        if let Value::Imm(value) = condition {
            return self.statements(if value != 0 { then } else { otherwise }, context);
        }
        let condition = self.int_reg(condition)?;
        let merge = self.f.block();
        let mut merges = false;
        let mut starts = vec![];
        for branch in [then, otherwise] {
            let block = self.f.block();
            starts.push(block);
            self.f.place(block);
            self.scopes.push(Scope::new(block));
            let (body, failure) = match branch.split_last() {
                Some((Stmt::Fail(status), before)) => (before, Some(*status)),
                _ => (branch, None),
            };
            self.statements(body, context)?;
            let end = self.block();
            self.scopes.pop();
            match failure {
                Some(status) => self.f.push(end, Body::Return(status)),
                None => {
                    self.f.jump(end, merge, vec![]);
                    merges = true;
                }
            }
        }
        if !merges {
            return Err(Stop::Unsupported(Reason::Sequential));
        }
        self.effect(M::Test, vec![Operand::Reg(condition, Size::R64), Operand::Reg(condition, Size::R64)]);
        let from = self.block();
        self.f.push(from, Body::Branch(ConditionCode::ne, starts[0], starts[1]));
        self.f.place(merge);
        self.scope().block = merge;
        Ok(())
    }

    /// Whether an expression may differ between lanes.
    pub fn varies(&self, expr: &Expr, context: &Context) -> bool {
        let Some(axis) = context.axis else { return false };
        expr.any(&|e| match e {
            Expr::Var(v) => {
                *v == axis || self.values.get(v).is_some_and(|x| x.2) || self.index_varies(&v.index(), axis)
            }
            _ => e.index().is_some_and(|d| self.index_varies(d, axis)),
        })
    }

    /// Whether an index differs between lanes.
    pub fn index_varies(&self, index: &Index, axis: Var) -> bool {
        self.expand(index).mentions(axis)
    }
}
