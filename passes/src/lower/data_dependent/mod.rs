//! Operations whose kernels are scalar algorithms: scatters, scans, sorts, selections, random numbers, control flow.
//!
//! Invariants:
//! - memory is safe whatever the data: indices are checked before they are used, and a count that its symbol's bound
//!   does not provably cover is checked against the memory there is before anything is written past it;
//! - a symbol that data defines is written to a buffer of one element by a kernel and bound by the next step;
//! - a value is never emitted at an index that mentions a mutable variable, because emission names values in the
//!   outermost scope that knows their index: such an index is frozen first (see [`KernelBuilder::freeze`]).

mod bind_dims;
mod compare_strings;
mod control;
mod cumulative;
mod find_string;
mod heap;
mod lower_bound;
mod non_max_suppression;
mod non_zero;
mod pool_index;
mod random;
mod scatter;
mod split_strings;
mod strings;
mod stripes;
mod top_k;
mod tree_leaf;
mod unique;

use super::builder::KernelBuilder;
use super::{LowerError, Lowering};
use crate::layout::Storage;
use crate::regions::Regions;
use nnc_ir::op::{BinaryOp, Op};
use nnc_ir::{DType, Dim, Node, Symbol, Tensor, ValueId};
use nnc_kernels::kernel::{AxisKind, Expr, Index, Stmt, Var};
use nnc_kernels::plan::{Argument, BufferId, SizeCheck, Step};

/// The status of `nnc-abi` for a size that exceeds its bound.
const BOUND_EXCEEDED: i32 = nnc_abi::Status::BoundExceeded as i32;

/// A greatest value that no index reaches; [`Dim::OVERFLOW`] is one more.
const UNBOUNDED: i64 = i64::MAX - 1;

type Lowered = Result<(), LowerError>;

impl Lowering<'_> {
    pub(super) fn lower_data_dependent(&mut self, node: &Node, inside: &[Regions]) -> Lowered {
        match &node.op {
            Op::ScatterNd(op) => self.lower_scatter_nd(node, *op),
            Op::ScatterElements { axis, op } => self.lower_scatter_elements(node, *axis, *op),
            Op::Cumulative { op, axis, exclusive, reverse } => {
                self.lower_cumulative(node, *op, *axis, *exclusive, *reverse)
            }
            Op::TopK { axis, k, largest } => self.lower_top_k(node, *axis, k, *largest),
            Op::NonZero { count } => self.lower_non_zero(node, *count),
            Op::Unique { sorted, count } => self.lower_unique(node, *sorted, *count),
            Op::NonMaxSuppression { center, count } => self.lower_non_max_suppression(node, *center, *count),
            Op::TreeLeaf { missing } => self.lower_tree_leaf(node, *missing),
            Op::LowerBound => self.lower_lower_bound(node),
            Op::FindString => self.lower_find_string(node),
            Op::RunAutomaton => self.lower_run_automaton(node),
            Op::CompareStrings => self.lower_compare_strings(node),
            Op::SplitStrings { delimiter, most, count } => {
                self.lower_split_strings(node, delimiter.as_bytes(), *most, *count)
            }
            Op::BindDims { symbols } => self.lower_bind_dims(node, symbols),
            Op::Require { left, relation, right, what } => {
                let (left, right) = (left.clone(), right.clone());
                let (what, origin) = (what.clone(), self.origin.clone());
                self.add_check(SizeCheck { left, relation: *relation, right, what, origin });
                Ok(())
            }
            Op::Random { distribution, seed, .. } => self.lower_random(node, *distribution, *seed),
            Op::PoolIndex { window } => self.lower_pool_index(node, window),
            Op::If { varying, sizes, then, otherwise } => {
                self.lower_if(node, [then, otherwise], varying, sizes, inside)
            }
            Op::Loop { body, carried, varying, sizes, trips } => {
                self.lower_loop(node, (body, inside), *carried, (varying, sizes), *trips)
            }
            other => Err(self.error(format!("{other:?} has no lowering"))),
        }
    }

    /// Memory that holds a value: its own, that of the value it is a view of, or a copy made now.
    fn materialise(&mut self, value: ValueId) -> Result<Storage, LowerError> {
        if let Some(view) = self.view_of(value) {
            let from_start = |d: &Dim| d.bounds(&self.graph.dims).0 >= 0;
            // A kernel's argument begins at the view's first element, so nothing may lie before that.
            if view.strides.iter().all(from_start) {
                let buffer = self.storage(view.base)?.buffer;
                return Ok(Storage { buffer, offset: view.offset, strides: view.strides });
            }
        }
        let ty = self.graph.ty(value).clone();
        let buffer = self.add_workspace(format!("{value}_copy"), ty.dtype, &ty.count())?;
        let storage = Storage::dense(buffer, &ty.shape);
        let order: Vec<usize> = (0..ty.rank()).collect();
        self.copy_into(value, &order, ty.dtype, &storage)?;
        Ok(storage)
    }

    /// What a value is that must be a constant.
    fn constant_table(&self, value: ValueId) -> Result<Tensor, LowerError> {
        match self.definition(value).map(|node| &node.op) {
            Some(Op::Constant(id)) => Ok(self.graph.consts.get(*id).clone()),
            _ => Err(self.error("its tables must be constants")),
        }
    }

    /// The only element of a scalar, for the host plan.
    fn scalar_argument(&mut self, value: ValueId) -> Result<Argument, LowerError> {
        let Storage { buffer, offset, .. } = self.materialise(value)?;
        Ok(Argument { buffer, offset })
    }

    /// A buffer of one element that a kernel hands to the host plan.
    fn cell(&mut self, name: &str, dtype: DType) -> Result<BufferId, LowerError> {
        self.add_workspace(name.to_owned(), dtype, &Dim::ONE)
    }

    /// Adds the step that reads a symbol's value, refusing one outside the symbol's bounds.
    fn bind(&mut self, symbol: Symbol, source: Argument) {
        let info = self.graph.dims.get(symbol);
        let highest = Dim::from(info.max.min(UNBOUNDED));
        let max = match &info.upper {
            Some(upper) if info.max >= UNBOUNDED => upper.clone(),
            Some(upper) => upper.min(&highest),
            None => highest,
        };
        let min = Dim::from(info.min);
        let origin = self.origin.clone();
        self.program.steps.push(Step::Bind { symbol, source, min, max, origin });
    }

    /// Has sizes checked: by `plan` where it knows them and every run relies on them, else by a step.
    fn add_check(&mut self, check: SizeCheck) {
        let table = &self.graph.dims;
        if self.outermost && !check.left.depends_on_data(table) && !check.right.depends_on_data(table) {
            self.program.checks.push(check);
        } else {
            self.program.steps.push(Step::Check(check));
        }
    }

    /// How many elements there is memory for along an axis of size `symbol`, unless `most` provably fit.
    fn capacity(&self, symbol: Symbol, most: &Dim) -> Result<Option<Dim>, LowerError> {
        // Without a bound before the run, there is as much memory as `allocate` then asks for.
        let bound = Dim::sym(symbol).greatest(&self.graph.dims).or_else(|| self.graph.dims.get(symbol).upper.clone());
        let capacity = bound.ok_or_else(|| self.no_bound(symbol))?;
        Ok((!capacity.provably_ge(most, &self.graph.dims)).then_some(capacity))
    }
}

impl Lowering<'_> {
    /// What a user can do about a size for which no memory can be had in time.
    fn no_bound(&self, symbol: Symbol) -> LowerError {
        let name = &self.graph.dims.get(symbol).name;
        self.error(format!("the size {name} depends on data and has no bound: bound it with --dim {name}=0..N"))
    }
}

/// The product of some sizes.
fn product<'d>(dims: impl IntoIterator<Item = &'d Dim>) -> Dim {
    dims.into_iter().fold(Dim::ONE, |a, d| &a * d)
}

/// All but one.
fn without<T: Clone>(items: &[T], axis: usize) -> Vec<T> {
    items.iter().enumerate().filter(|(a, _)| *a != axis).map(|(_, item)| item.clone()).collect()
}

/// An index with one more entry, at `axis`.
fn with(outer: &[Index], axis: usize, entry: &Index) -> Vec<Index> {
    let mut index = outer.to_vec();
    index.insert(axis, entry.clone());
    index
}

/// `x op y`.
fn binary(op: BinaryOp, x: Expr, y: Expr) -> Expr {
    Expr::binary(op, x, y)
}

/// `i < j`.
fn less(i: &Index, j: &Index) -> Expr {
    binary(BinaryOp::Lt, Expr::Index(i.clone()), Expr::Index(j.clone()))
}

/// A `bool` constant.
fn boolean(value: bool) -> Expr {
    Expr::constant(DType::Bool, f64::from(u8::from(value)))
}

impl KernelBuilder<'_, '_> {
    /// Declares a mutable variable in the innermost scope.
    fn mutable(&mut self, name: &str, init: Expr) -> Var {
        let dtype = self.kernel.dtype(&init);
        let var = self.var(name, dtype, i64::MIN, i64::MAX, None);
        self.push(Stmt::Mutable(var, init));
        var
    }

    /// Declares a mutable variable that counts upward from 0 or holds positions.
    fn counter(&mut self, name: &str, init: Index) -> Var {
        let var = self.var(name, DType::I64, 0, UNBOUNDED, None);
        self.push(Stmt::Mutable(var, Expr::Index(init)));
        var
    }

    fn assign(&mut self, var: Var, value: Expr) {
        self.push(Stmt::Assign(var, value));
    }

    /// Adds one to a counter.
    fn increment(&mut self, var: Var) {
        self.assign(var, Expr::Index(var.index() + 1));
    }

    /// The present value of an expression, in `0..size`, as an index that stays.
    fn freeze(&mut self, name: &str, value: Expr, size: &Index) -> Index {
        let highest = size.bounds(&self.ranges).1.saturating_sub(1).clamp(0, UNBOUNDED);
        let var = self.var(name, DType::I64, 0, highest, None);
        self.push(Stmt::Let(var, value));
        var.index()
    }

    /// `if condition { then }`.
    fn when(&mut self, condition: Expr, then: impl FnOnce(&mut Self) -> Lowered) -> Lowered {
        self.choose(condition, then, |_| Ok(()))
    }

    /// `if condition { then } else { otherwise }`.
    fn choose(
        &mut self,
        condition: Expr,
        then: impl FnOnce(&mut Self) -> Lowered,
        otherwise: impl FnOnce(&mut Self) -> Lowered,
    ) -> Lowered {
        self.open_scope(false);
        then(self)?;
        let then = self.close_scope();
        self.open_scope(false);
        otherwise(self)?;
        let otherwise = self.close_scope();
        self.push(Stmt::If(condition, then, otherwise));
        Ok(())
    }

    /// `while condition { body }`.
    fn repeat(&mut self, condition: Expr, body: impl FnOnce(&mut Self) -> Lowered) -> Lowered {
        self.open_scope(false);
        body(self)?;
        let body = self.close_scope();
        self.push(Stmt::While(condition, body));
        Ok(())
    }

    /// `for i in 0..extent { body }`.
    fn each(&mut self, extent: &Index, lanes: AxisKind, body: impl FnOnce(&mut Self, &Index) -> Lowered) -> Lowered {
        let i = self.open_loop("i", extent, lanes);
        body(self, &i)?;
        self.close_loop();
        Ok(())
    }

    /// Serial loops around `body`, which gets their indices.
    fn nest(&mut self, shape: &[Dim], body: impl FnOnce(&mut Self, &[Index]) -> Lowered) -> Lowered {
        let (index, opened) = self.open_loops(shape, AxisKind::Serial);
        body(self, &index)?;
        for _ in 0..opened {
            self.close_loop();
        }
        Ok(())
    }

    /// Runs in parallel over all indices into a shape; yields the index.
    fn parallel_over(&mut self, shape: &[Dim]) -> Vec<Index> {
        let flat = self.parallel(&product(shape));
        let sizes: Vec<Index> = shape.iter().map(|d| self.import(d)).collect();
        self.split_index(&flat, &sizes)
    }

    /// Fails the run unless position `at` is within `capacity`, where that is not known.
    fn check_capacity(&mut self, at: Var, capacity: Option<&Dim>) {
        if let Some(capacity) = capacity {
            let capacity = self.import(capacity);
            let full = binary(BinaryOp::Ge, Expr::Var(at), Expr::Index(capacity));
            self.push(Stmt::If(full, vec![Stmt::Fail(BOUND_EXCEEDED)], vec![]));
        }
    }

    /// Writes an element of a value that lies there.
    fn store_at(&mut self, storage: &Storage, index: &[Index], value: Expr) {
        let target = self.buffer(storage.buffer, &storage.offset, true);
        let element = self.element(&storage.strides, index);
        self.push(Stmt::Store(target, element, value));
    }

    /// Writes the only element of a buffer.
    fn store_cell(&mut self, cell: BufferId, value: Expr) {
        let target = self.buffer(cell, &Dim::ZERO, true);
        self.push(Stmt::Store(target, Index::ZERO, value));
    }
}
