//! Building one kernel: variables, buffers, parameters and scopes.
//!
//! Scopes nest as loops do. A definition goes to the outermost scope that knows everything it mentions, so
//! loop-invariant work is hoisted by construction.

use super::{LowerError, Lowering};
use nnc_ir::{DType, Dim, Symbol, ValueId};
use nnc_kernels::index::Ranges;
use nnc_kernels::kernel::{Access, AxisKind, BufferRef, Expr, Index, Kernel, Loop, Stmt, Var};
use nnc_kernels::plan::{Argument, BufferId};
use rustc_hash::FxHashMap;

/// One level of nesting.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    /// Statements so far.
    pub statements: Vec<Stmt>,
    /// Whether code here runs in vector lanes.
    pub vector: bool,
    /// Values known here.
    pub memo: FxHashMap<Key, Expr>,
}

/// A value at an index, computed under guards.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// The value.
    pub value: ValueId,
    /// Its element.
    pub index: Vec<Index>,
    /// The guards, see `empty`.
    pub guards: Vec<Index>,
}

/// A kernel under construction.
pub(crate) struct KernelBuilder<'a, 'g> {
    /// The lowering it is part of.
    pub cx: &'a mut Lowering<'g>,
    /// The kernel so far; its body is in the scopes.
    pub kernel: Kernel,
    /// The ranges of the kernel's variables; unlike what it declares, they know bounds that are indices.
    pub ranges: Ranges,
    /// Values whose expression is given: the accumulators of anchors.
    pub bound: FxHashMap<ValueId, Expr>,
    /// The value being stored, whose own memory is not to be read.
    pub root: Option<ValueId>,
    /// Rows of a reduction's operand kept in scratch memory, see `emit`.
    pub rows: FxHashMap<ValueId, super::emit::RowCache>,
    /// Sizes that are not 0 when what is being emitted is used, see `empty`.
    pub guards: Vec<Index>,
    /// Positions tested in this kernel: what was read, the size it was compared with, and what is in range.
    pub(super) positions: Vec<(Var, Index, Var)>,
    /// Indices that the kernel uses and cannot test.
    pub(super) unchecked: Vec<super::indices::Range>,
    arguments: Vec<Argument>,
    buffers: FxHashMap<(BufferId, Dim, bool), BufferRef>,
    params: Vec<Dim>,
    param_vars: FxHashMap<Symbol, Var>,
    scopes: Vec<Scope>,
    depth: Vec<usize>,
    loops: Vec<(Var, Index, AxisKind)>,
}

impl<'a, 'g> KernelBuilder<'a, 'g> {
    /// An empty kernel; scope 0 is the body of its parallel loop.
    pub fn new(cx: &'a mut Lowering<'g>, name: &str) -> Self {
        let kernel = Kernel::new(name);
        let mut builder = KernelBuilder {
            cx,
            kernel,
            ranges: Ranges::default(),
            bound: FxHashMap::default(),
            root: None,
            rows: FxHashMap::default(),
            guards: vec![],
            positions: vec![],
            unchecked: vec![],
            arguments: vec![],
            buffers: FxHashMap::default(),
            params: vec![],
            param_vars: FxHashMap::default(),
            scopes: vec![Scope::default()],
            depth: vec![0],
            loops: vec![],
        };
        builder.ranges.add(&builder.kernel.vars[0].name, 0, i64::MAX - 1, None);
        builder
    }

    /// A variable defined in the innermost scope.
    pub fn var(&mut self, name: &str, dtype: DType, min: i64, max: i64, upper: Option<Index>) -> Var {
        self.var_at(name, dtype, (min, max), upper, self.scopes.len() - 1)
    }

    pub(super) fn var_at(
        &mut self,
        name: &str,
        dtype: DType,
        range: (i64, i64),
        upper: Option<Index>,
        depth: usize,
    ) -> Var {
        let var = self.kernel.add_var(name, dtype, range.0, range.1);
        self.ranges.add(&self.kernel.vars[var.0 as usize].name, range.0, range.1, upper);
        self.depth.push(depth);
        var
    }

    /// A dimension of the graph as an index over kernel parameters.
    pub fn import(&mut self, dim: &Dim) -> Index {
        for symbol in dim.symbols() {
            if !self.param_vars.contains_key(&symbol) {
                let info = self.cx.graph.dims.get(symbol).clone();
                let var = self.var_at("n", DType::I64, (info.min, info.max), None, 0);
                self.kernel.params.push(var);
                self.params.push(Dim::sym(symbol));
                self.param_vars.insert(symbol, var);
            }
        }
        self.over_params(dim)
    }

    /// A dimension over symbols that are parameters already.
    fn over_params(&self, dim: &Dim) -> Index {
        Index::import(dim, &|s| self.param_vars.get(&s).map_or(Index::OVERFLOW, |v| v.index()))
    }

    /// A buffer as a parameter; `offset` in elements is added by the host.
    pub fn buffer(&mut self, buffer: BufferId, offset: &Dim, write: bool) -> BufferRef {
        let key = (buffer, offset.clone(), write);
        if let Some(&found) = self.buffers.get(&key) {
            return found;
        }
        let dtype = self.cx.program.buffers[buffer.0 as usize].dtype;
        let access = if write { Access::Write } else { Access::Read };
        let name = if write { "y" } else { "x" };
        let reference = self.kernel.add_buffer(name, dtype, access);
        self.arguments.push(Argument { buffer, offset: offset.clone() });
        self.buffers.insert(key, reference);
        reference
    }

    /// Scratch memory of the running task.
    pub fn scratch(&mut self, dtype: DType, elements: usize) -> BufferRef {
        self.kernel.add_buffer("scratch", dtype, Access::Scratch { elements })
    }

    /// The scope being filled.
    pub fn top(&mut self) -> &mut Scope {
        let last = self.scopes.len() - 1;
        &mut self.scopes[last]
    }

    /// Appends statements to scope `level`.
    pub(super) fn add_to(&mut self, level: usize, statements: impl IntoIterator<Item = Stmt>) {
        self.scopes[level].statements.extend(statements);
    }

    /// Appends a statement to the innermost scope.
    pub fn push(&mut self, statement: Stmt) {
        self.top().statements.push(statement);
    }

    /// Number of the innermost scope.
    pub fn level(&self) -> usize {
        self.scopes.len() - 1
    }

    /// Whether code in scope `level` runs in vector lanes.
    pub fn in_vector(&self, level: usize) -> bool {
        self.scopes[..=level].iter().any(|s| s.vector)
    }

    /// Opens a scope that is not a loop.
    pub fn open_scope(&mut self, vector: bool) {
        self.scopes.push(Scope { vector, ..Scope::default() });
    }

    /// Closes the innermost scope and yields its statements.
    pub fn close_scope(&mut self) -> Vec<Stmt> {
        self.scopes.pop().map(|s| s.statements).unwrap_or_default()
    }

    /// Opens a loop; the index of a unit loop is 0 and nothing is opened.
    pub fn open_loop(&mut self, name: &str, extent: &Index, axis: AxisKind) -> Index {
        let (_, high) = extent.bounds(&self.ranges);
        self.open_scope(axis == AxisKind::Vector);
        let upper = extent - 1;
        let var = self.var(name, DType::I64, 0, high.saturating_sub(1).max(0), Some(upper));
        self.loops.push((var, extent.clone(), axis));
        var.index()
    }

    /// Closes the innermost loop.
    pub fn close_loop(&mut self) {
        let body = self.close_scope();
        if let Some((var, extent, axis)) = self.loops.pop() {
            self.push(Stmt::For(Loop { var, extent, axis }, body));
        }
    }

    /// Closes the innermost loop as a reduction whose accumulators are defined in the scope around it.
    pub fn close_reduce(&mut self, accumulators: Vec<nnc_kernels::kernel::Accumulator>) {
        let body = self.close_scope();
        if let Some((var, extent, axis)) = self.loops.pop() {
            self.push(Stmt::Reduce(Loop { var, extent, axis }, body, accumulators));
        }
    }

    /// Opens a loop per extent that is not 1; yields the indices and how many were opened. Those around the last may run in
    /// any order unless that one is serial.
    pub fn open_loops(&mut self, extents: &[Dim], last: AxisKind) -> (Vec<Index>, usize) {
        let innermost = extents.iter().rposition(|d| !d.is_const(1));
        let mut opened = 0;
        let mut index = Vec::with_capacity(extents.len());
        for (axis, extent) in extents.iter().enumerate() {
            if extent.is_const(1) {
                index.push(Index::ZERO);
                continue;
            }
            let outer = if last == AxisKind::Serial { last } else { AxisKind::Free };
            let kind = if Some(axis) == innermost { last } else { outer };
            let extent = self.import(extent);
            index.push(self.open_loop("i", &extent, kind));
            opened += 1;
        }
        (index, opened)
    }

    /// Splits one index over the product of `extents` into an index per extent, defined by `Let`s.
    pub fn split_index(&mut self, flat: &Index, extents: &[Index]) -> Vec<Index> {
        let mut rest = flat.clone();
        let mut result = vec![Index::ZERO; extents.len()];
        let mut remaining: Vec<usize> = (0..extents.len()).filter(|&i| !extents[i].is_const(1)).collect();
        while let Some(axis) = (!remaining.is_empty()).then(|| remaining.remove(0)) {
            if remaining.is_empty() {
                result[axis] = rest;
                break;
            }
            let stride = remaining.iter().fold(Index::ONE, |a, &i| &a * &extents[i]);
            let high = extents[axis].bounds(&self.ranges).1.saturating_sub(1).max(0);
            let quotient = rest.floor_div(&stride);
            let upper = &extents[axis] - 1;
            let var = self.var("q", DType::I64, 0, high, Some(upper));
            self.push(Stmt::Let(var, Expr::Index(quotient)));
            rest = rest - &var.index() * &stride;
            // What is left gets a variable too, so that its bounds are known.
            let high = stride.bounds(&self.ranges).1.saturating_sub(1).max(0);
            let left = self.var("r", DType::I64, 0, high, Some(&stride - 1));
            self.push(Stmt::Let(left, Expr::Index(rest)));
            rest = left.index();
            result[axis] = var.index();
        }
        result
    }

    /// The outermost scope in which everything the index mentions is known.
    pub fn index_level(&self, index: &Index) -> usize {
        index.vars().iter().map(|v| self.depth[v.0 as usize]).max().unwrap_or(0)
    }

    /// The outermost scope in which everything the expression mentions is known.
    pub fn expr_level(&self, expr: &Expr) -> usize {
        let own = match expr {
            Expr::Var(v) => self.depth[v.0 as usize],
            // Scratch memory changes while the kernel runs: a load from it stays where it is.
            Expr::Load(b, i) => match self.kernel.buffers[b.0 as usize].access {
                Access::Scratch { .. } => self.level(),
                _ => self.load_level(*b, i),
            },
            _ => expr.index().map_or(0, |index| self.index_level(index)),
        };
        expr.operands().map(|x| self.expr_level(x)).fold(own, usize::max)
    }

    /// The outermost scope in which the element is known to exist. A loop that may not run at all shields what it
    /// reads: where a tensor is empty, an index of it need not mention the loop over its elements.
    fn load_level(&self, buffer: BufferRef, index: &Index) -> usize {
        let level = self.index_level(index);
        // Loops that are set aside are not around what is emitted now.
        let around = level + 1..self.scopes.len();
        let shields = self.loops.iter().rev().find(|(var, extent, _)| {
            around.contains(&self.depth[var.0 as usize]) && !extent.provably_ge(&Index::ONE, &self.ranges)
        });
        match shields {
            Some((var, ..)) if !self.is_element(buffer, index) => self.depth[var.0 as usize],
            _ => level,
        }
    }

    /// Whether the buffer has this element for every value of the variables in the index.
    fn is_element(&self, buffer: BufferRef, index: &Index) -> bool {
        let before = &self.kernel.buffers[..buffer.0 as usize];
        let is_argument = |b: &&nnc_kernels::kernel::BufferDecl| !matches!(b.access, Access::Scratch { .. });
        let argument = &self.arguments[before.iter().filter(is_argument).count()];
        let whole = &self.cx.program.buffers[argument.buffer.0 as usize];
        let bytes = &whole.bytes - &argument.offset * whole.dtype.size() as i64;
        if !bytes.symbols().iter().all(|s| self.param_vars.contains_key(s)) {
            return false;
        }
        self.over_params(&bytes).provably_ge(&((index + 1) * whole.dtype.size() as i64), &self.ranges)
    }

    /// Names an expression in the outermost scope that can hold it.
    pub fn define(&mut self, name: &str, expr: Expr) -> Var {
        let level = self.expr_level(&expr);
        let dtype = self.kernel.dtype(&expr);
        let (min, max) = match &expr {
            Expr::Index(i) => i.bounds(&self.ranges),
            _ => (i64::MIN, i64::MAX),
        };
        let var = self.var_at(name, dtype, (min, max), None, level);
        self.scopes[level].statements.push(Stmt::Let(var, expr));
        var
    }

    /// Names an expression in the innermost scope, for values of memory that the kernel itself changes.
    pub fn define_here(&mut self, name: &str, expr: Expr) -> Var {
        let dtype = self.kernel.dtype(&expr);
        let var = self.var(name, dtype, i64::MIN, i64::MAX, None);
        self.push(Stmt::Let(var, expr));
        var
    }

    /// Remembers a value at an index for as long as scope `level` lasts.
    pub fn remember(&mut self, level: usize, key: Key, expr: Expr) {
        self.scopes[level].memo.insert(key, expr);
    }

    /// A value remembered in any open scope.
    pub fn recall(&self, key: &Key) -> Option<Expr> {
        self.scopes.iter().rev().find_map(|s| s.memo.get(key)).cloned()
    }

    /// Sets the scopes inside `level` aside, so that statements can be added there.
    pub fn suspend(&mut self, level: usize) -> Vec<Scope> {
        self.scopes.split_off(level + 1)
    }

    /// Takes suspended scopes back.
    pub fn resume(&mut self, scopes: Vec<Scope>) {
        self.scopes.extend(scopes);
    }

    /// A variable for an accumulator, defined in scope `level`.
    pub fn accumulator(&mut self, dtype: DType, level: usize) -> Var {
        self.var_at("acc", dtype, (i64::MIN, i64::MAX), None, level)
    }

    /// Sets the parallel loop's extent and yields its index.
    pub fn parallel(&mut self, extent: &Dim) -> Index {
        let extent = self.import(extent);
        let (_, high) = extent.bounds(&self.ranges);
        let var = self.kernel.parallel.0;
        self.kernel.vars[var.0 as usize].max = high.saturating_sub(1).max(0);
        self.ranges.set(var, 0, high.saturating_sub(1).max(0));
        self.kernel.parallel.1 = extent;
        var.index()
    }

    /// Finishes the kernel and adds its step.
    pub fn finish(self) -> Result<(), LowerError> {
        self.add_step(Dim::ZERO, false)
    }

    /// Finishes the kernel of a step that takes `work` nanoseconds on one core, over the graph's symbols, and writes elements
    /// that no other step writes.
    pub fn finish_in(self, work: Dim) -> Result<(), LowerError> {
        self.add_step(work, true)
    }

    /// Finishes the kernel of a step that writes elements which no other step writes.
    pub fn finish_apart(self) -> Result<(), LowerError> {
        self.add_step(Dim::ZERO, true)
    }

    fn add_step(mut self, work: Dim, apart: bool) -> Result<(), LowerError> {
        self.kernel.body = self.close_scope();
        super::scratch_last(&mut self.kernel);
        for (indices, sizes, coordinates) in self.unchecked {
            self.cx.check_range(indices, &sizes, coordinates)?;
        }
        let extent = self.kernel.parallel.1.export(&self.kernel.sizes(&self.params));
        let work = crate::choose::known(work);
        self.cx.add_step(self.kernel, self.arguments, (self.params, extent, work), apart)
    }
}
