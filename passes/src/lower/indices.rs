//! Index checks: what proves a gather's indices in range before they are addresses.
//!
//! A kernel tests an index where it reads it, outside of lanes. What varies from lane to lane is tested by a step before.

use super::builder::KernelBuilder;
use super::{LowerError, Lowering};
use nnc_ir::op::{BinaryOp, Op};
use nnc_ir::{DType, Dim, Node, ValueId};
use nnc_kernels::kernel::{AxisKind, Expr, Index, Stmt, Var};

/// The status of `nnc-abi` for an index out of range.
const BAD_INDEX: i32 = nnc_abi::Status::BadIndex as i32;

/// Index tensor, the sizes of what its elements point into, and whether its last axis goes with those.
pub(super) type Range = (ValueId, Vec<Dim>, bool);

/// Fails unless `0 <= value < size`.
pub(super) fn fail_outside(value: &Expr, size: Index) -> Stmt {
    let low = Expr::binary(BinaryOp::Lt, value.clone(), Expr::Index(Index::ZERO));
    let high = Expr::binary(BinaryOp::Ge, value.clone(), Expr::Index(size));
    Stmt::If(Expr::binary(BinaryOp::Or, low, high), vec![Stmt::Fail(BAD_INDEX)], vec![])
}

impl KernelBuilder<'_, '_> {
    /// The index into what a node gathers from.
    pub(super) fn gathered_index(&mut self, node: &Node, index: &[Index]) -> Result<Vec<Index>, LowerError> {
        let graph = self.cx.graph;
        match &node.op {
            Op::Gather { axis, batch } => {
                let rank = graph.ty(node.inputs[1]).rank();
                let inner = rank - batch;
                let mut at: Vec<Index> = index[..*batch].to_vec();
                at.extend_from_slice(&index[*axis..axis + inner]);
                let position =
                    self.emit_position(node.inputs[1], &at, &[graph.shape(node.inputs[0])[*axis].clone()], None)?;
                let mut operand = index[..*axis].to_vec();
                operand.push(position);
                operand.extend_from_slice(&index[axis + inner..]);
                Ok(operand)
            }
            Op::GatherElements { axis } => {
                let position =
                    self.emit_position(node.inputs[1], index, &[graph.shape(node.inputs[0])[*axis].clone()], None)?;
                let mut operand = index.to_vec();
                operand[*axis] = position;
                Ok(operand)
            }
            Op::GatherNd { batch } => {
                let indices = graph.ty(node.inputs[1]);
                let outer = indices.rank() - 1;
                let depth = indices.shape[outer].as_const().unwrap_or(0) as usize;
                let mut operand = index[..*batch].to_vec();
                let sizes = &graph.shape(node.inputs[0])[*batch..batch + depth];
                for k in 0..depth {
                    let mut at = index[..outer].to_vec();
                    at.push(Index::from(k as i64));
                    operand.push(self.emit_position(node.inputs[1], &at, sizes, Some(k))?);
                }
                operand.extend_from_slice(&index[outer..]);
                Ok(operand)
            }
            other => Err(self.cx.error(format!("{other:?} gathers nothing"))),
        }
    }

    /// An element of an index tensor as an index within the axis it selects from: the one of `sizes`, or the
    /// `coordinate`th where the last axis of `indices` goes with them.
    fn emit_position(
        &mut self,
        indices: ValueId,
        at: &[Index],
        sizes: &[Dim],
        coordinate: Option<usize>,
    ) -> Result<Index, LowerError> {
        let expr = self.emit(indices, at)?;
        let proven = self.cx.is_checked(indices, sizes, coordinate.is_some());
        if let (Expr::Index(position), true) = (&expr, proven) {
            return Ok(position.clone());
        }
        let size = self.import(&sizes[coordinate.unwrap_or(0)]);
        let var = match expr {
            Expr::Var(var) => var,
            other => self.define("at", other),
        };
        let level = self.index_level(&var.index());
        if !proven && !self.in_vector(level) && self.guards.is_empty() {
            return Ok(self.checked_position(var, size, level).index());
        }
        if !proven {
            self.unchecked.push((indices, sizes.to_vec(), coordinate.is_some()));
        }
        let high = size.bounds(&self.ranges).1.saturating_sub(1).max(0);
        let info = &mut self.kernel.vars[var.0 as usize];
        (info.min, info.max) = (info.min.max(0), info.max.min(high));
        self.ranges.set(var, 0, high);
        Ok(var.index())
    }

    /// Tests a position in the scope that defines it, once; yields a variable that is in range.
    fn checked_position(&mut self, var: Var, size: Index, level: usize) -> Var {
        if let Some(&(_, _, checked)) = self.positions.iter().find(|(v, s, _)| *v == var && *s == size) {
            return checked;
        }
        let high = size.bounds(&self.ranges).1.saturating_sub(1).max(0);
        let checked = self.var_at("at", DType::I64, (0, high), Some(&size - 1), level);
        let test = fail_outside(&Expr::Var(var), size.clone());
        self.add_to(level, [test, Stmt::Let(checked, Expr::Var(var))]);
        self.positions.push((var, size, checked));
        checked
    }
}

impl Lowering<'_> {
    /// Whether indices are known to be in range, by themselves or by an earlier step.
    fn is_checked(&self, indices: ValueId, sizes: &[Dim], coordinates: bool) -> bool {
        self.checked.contains(&(indices, sizes.to_vec(), coordinates))
            || self.constant_in_range(indices, sizes, coordinates)
    }

    /// Fails the run when an element of `indices` is outside its axis. With `coordinates` the last axis of `indices`
    /// goes with `sizes`, otherwise every element has the one size.
    pub(super) fn check_range(&mut self, indices: ValueId, sizes: &[Dim], coordinates: bool) -> Result<(), LowerError> {
        if self.is_checked(indices, sizes, coordinates) {
            return Ok(());
        }
        self.checked.insert((indices, sizes.to_vec(), coordinates));
        let ty = self.graph.ty(indices).clone();
        let outer = if coordinates { ty.rank() - 1 } else { ty.rank() };
        let mut b = KernelBuilder::new(self, "check");
        let (index, opened) = b.open_loops(&ty.shape[..outer], AxisKind::Free);
        for (k, size) in sizes.iter().enumerate() {
            let mut at = index.clone();
            if coordinates {
                at.push(Index::from(k as i64));
            }
            let value = b.emit(indices, &at)?;
            let value = match value {
                Expr::Var(_) => value,
                other => Expr::Var(b.define("at", other)),
            };
            let size = b.import(size);
            b.push(fail_outside(&value, size));
        }
        for _ in 0..opened {
            b.close_loop();
        }
        b.finish()
    }

    /// Whether a constant index tensor is known to be in range.
    fn constant_in_range(&self, indices: ValueId, sizes: &[Dim], coordinates: bool) -> bool {
        let Some(node) = self.definition(indices) else { return false };
        match &node.op {
            Op::Constant(id) => {
                let Some(values) = self.graph.consts.get(*id).to_i64s() else { return false };
                values.iter().enumerate().all(|(i, &v)| {
                    let size = if coordinates { &sizes[i % sizes.len().max(1)] } else { &sizes[0] };
                    v >= 0 && size.bounds(&self.graph.dims).0 > v
                })
            }
            Op::Iota { shape, axis, .. } => !coordinates && sizes[0] == shape[*axis],
            Op::Broadcast { .. } | Op::Reshape { .. } | Op::Transpose { .. } | Op::Slice { .. } if !coordinates => {
                self.constant_in_range(node.inputs[0], sizes, coordinates)
            }
            _ => false,
        }
    }
}
