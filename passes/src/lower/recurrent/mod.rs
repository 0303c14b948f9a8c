//! Recurrent layers: one kernel that walks the time steps, its state kept where the final state is wanted.
//!
//! It copies the initial state there first. Each step multiplies the state by the recurrent matrix (panel by panel, into a
//! small buffer), then computes gates and the new state in vector lanes over the hidden units. The input
//! projection is a contraction of its own over all steps at once, so what is left here is what really depends on the
//! step before.
//!
//! Source: ONNX LSTM, GRU and RNN operator definitions (onnx.ai/onnx/operators).

mod activation;
mod cell;
mod matrix;

use super::builder::KernelBuilder;
use super::{LowerError, Lowering, Storage};
use crate::choose::Choice;
use cell::Step;
use matrix::Matrix;
use nnc_ir::op::{CellKind, Recurrent};
use nnc_ir::{DType, Dim, Node, ValueId};
use nnc_kernels::kernel::{AxisKind, BufferRef, Expr, Index, Stmt};
use nnc_kernels::plan::BufferId;

/// Operands and sizes of a layer.
struct Layer<'a> {
    cell: &'a Recurrent,
    /// The type of all its floats.
    dtype: DType,
    gates: ValueId,
    bias: ValueId,
    peepholes: Option<ValueId>,
    lengths: Option<ValueId>,
    batch: Dim,
    time: Dim,
    hidden: i64,
    /// Gates by hidden units.
    columns: i64,
}

/// A state: where it begins, and the memory that it ends in.
struct State {
    initial: ValueId,
    storage: Storage,
}

/// The recurrent weights, in two parts where the second waits for the reset gate; and memory for products.
struct Weights {
    first: Matrix,
    candidate: Option<(Matrix, BufferId)>,
    products: BufferId,
}

impl Lowering<'_> {
    pub(super) fn lower_recurrent(
        &mut self,
        node: &Node,
        cell: &Recurrent,
        choices: &[Choice],
    ) -> Result<(), LowerError> {
        let [gates, r, bias, h0, rest @ ..] = node.inputs.as_slice() else {
            return Err(self.error("a recurrent layer without operands"));
        };
        let mut rest = rest.iter().copied();
        let c0 = if cell.kind == CellKind::Lstm { rest.next() } else { None };
        let peepholes = if cell.peepholes { rest.next() } else { None };
        let lengths = if cell.sequence_lengths { rest.next() } else { None };
        let (y, h) = (node.outputs[0], node.outputs[1]);
        let hidden = self.graph.shape(h).get(1).and_then(Dim::as_const);
        let layer = Layer {
            cell,
            dtype: self.graph.ty(*gates).dtype,
            gates: *gates,
            bias: *bias,
            peepholes,
            lengths,
            batch: self.graph.shape(h)[0].clone(),
            time: self.graph.shape(y)[0].clone(),
            hidden: hidden.ok_or_else(|| self.error("the hidden size is symbolic"))?,
            columns: self.graph.shape(*r)[1].as_const().unwrap_or(0),
        };
        let mut states = vec![self.state(*h0, h)?];
        let mut lasts = vec![h];
        if let (Some(c0), Some(&c)) = (c0, node.outputs.get(2)) {
            states.push(self.state(c0, c)?);
            lasts.push(c);
        }
        let y_storage = self.storage(y)?;
        let weights = self.recurrent_weights(&layer, *r, y, choices)?;
        self.emit_layer(&layer, &states, &weights, &y_storage)?;
        for (state, last) in states.iter().zip(lasts) {
            let wanted = self.storage(last)?;
            if wanted != state.storage {
                let ty = self.graph.ty(last).clone();
                self.copy_storage(&ty, &state.storage, &wanted)?;
            }
        }
        Ok(())
    }

    /// A state, which lives where its last value is wanted if its units lie side by side there.
    fn state(&mut self, initial: ValueId, last: ValueId) -> Result<State, LowerError> {
        let mut storage = self.storage(last)?;
        if !storage.strides[1].is_const(1) {
            let ty = self.graph.ty(last).clone();
            let buffer = self.add_workspace(format!("{last}_state"), ty.dtype, &ty.count())?;
            storage = Storage::dense(buffer, &ty.shape);
        }
        Ok(State { initial, storage })
    }

    fn recurrent_weights(
        &mut self,
        layer: &Layer<'_>,
        r: ValueId,
        y: ValueId,
        choices: &[Choice],
    ) -> Result<Weights, LowerError> {
        let source = self.recurrent_source(layer, r)?;
        let &Layer { ref batch, columns, hidden, dtype, .. } = layer;
        let (mut start, mut matrices) = (0, vec![]);
        for choice in choices {
            let matrix = self.recurrent_columns(&source, (start, hidden), choice)?;
            start += matrix.columns;
            matrices.push(matrix);
        }
        let mut matrices = matrices.into_iter();
        let Some(first) = matrices.next() else { return Err(self.error("nothing was chosen for a recurrent matrix")) };
        let second = matrices.next();
        let mut scratch =
            |name: &str, width: i64| self.add_workspace(format!("{y}_{name}"), dtype, &(batch * &Dim::from(width)));
        let products = scratch("products", columns)?;
        let candidate = second.map(|matrix| scratch("reset", hidden).map(|reset| (matrix, reset))).transpose()?;
        Ok(Weights { first, candidate, products })
    }

    fn emit_layer(
        &mut self,
        layer: &Layer<'_>,
        states: &[State],
        weights: &Weights,
        y_storage: &Storage,
    ) -> Result<(), LowerError> {
        let mut b = KernelBuilder::new(self, "recurrent");
        for state in states {
            b.copy_initial(layer, state)?;
        }
        let time = b.import(&layer.time);
        let step = b.open_loop("t", &time, AxisKind::Serial);
        let t = if layer.cell.reverse { &time - &step - 1 } else { step };
        let h = b.buffer(states[0].storage.buffer, &states[0].storage.offset, true);
        let products = b.buffer(weights.products, &Dim::from(0), true);
        let h_stride = b.import(&states[0].storage.strides[0]);
        b.multiply(layer, &weights.first, (h, &h_stride), products)?;
        if let Some((candidate, reset)) = &weights.candidate {
            let reset = b.buffer(*reset, &Dim::from(0), true);
            let (row, unit, opened) = b.open_cells(layer);
            let old = Expr::Load(h, &row * &h_stride + &unit);
            let mut step = Step { b: &mut b, layer, products, t: t.clone(), row: row.clone(), unit: unit.clone() };
            let value = step.reset_state(old)?;
            b.push(Stmt::Store(reset, &row * layer.hidden + &unit, value));
            b.close_cells(opened);
            let stride = Index::from(layer.hidden);
            b.multiply(layer, candidate, (reset, &stride), products)?;
        }
        b.emit_cells(layer, states, (h, h_stride), products, t, y_storage)?;
        b.close_loop();
        b.finish_apart()
    }
}

impl KernelBuilder<'_, '_> {
    /// Opens the loops over batch rows and, in lanes, hidden units.
    fn open_cells(&mut self, layer: &Layer<'_>) -> (Index, Index, usize) {
        let (index, opened) = self.open_loops(&[layer.batch.clone(), Dim::from(layer.hidden)], AxisKind::Vector);
        (index[0].clone(), index[1].clone(), opened)
    }

    fn close_cells(&mut self, opened: usize) {
        for _ in 0..opened {
            self.close_loop();
        }
    }

    fn copy_initial(&mut self, layer: &Layer<'_>, state: &State) -> Result<(), LowerError> {
        let to = self.buffer(state.storage.buffer, &state.storage.offset, true);
        let (row, unit, opened) = self.open_cells(layer);
        let value = self.emit(state.initial, &[row.clone(), unit.clone()])?;
        let at = self.element(&state.storage.strides, &[row, unit]);
        self.push(Stmt::Store(to, at, value));
        self.close_cells(opened);
        Ok(())
    }

    /// New states and the output of a time step.
    fn emit_cells(
        &mut self,
        layer: &Layer<'_>,
        states: &[State],
        (h, h_stride): (BufferRef, Index),
        products: BufferRef,
        t: Index,
        y_storage: &Storage,
    ) -> Result<(), LowerError> {
        let (row, unit, opened) = self.open_cells(layer);
        let h_at = &row * &h_stride + &unit;
        let old_h = Expr::Var(self.define_here("old_h", Expr::Load(h, h_at.clone())));
        let old_c = match states.get(1) {
            Some(State { storage, .. }) => {
                let c = self.buffer(storage.buffer, &storage.offset, true);
                let at = &row * &self.import(&storage.strides[0]) + &unit;
                Some((c, at.clone(), Expr::Var(self.define_here("old_c", Expr::Load(c, at)))))
            }
            None => None,
        };
        let mut step = Step { b: &mut *self, layer, products, t: t.clone(), row: row.clone(), unit: unit.clone() };
        let (new_h, new_c) = step.new_state(&old_h, old_c.as_ref().map(|(_, _, c)| c))?;
        let new_h = Expr::Var(self.define_here("h", new_h));
        let valid = match layer.lengths {
            Some(lengths) => {
                let length = self.emit(lengths, std::slice::from_ref(&row))?;
                Some(Expr::binary(nnc_ir::op::BinaryOp::Lt, Expr::Index(t.clone()), length))
            }
            None => None,
        };
        let choose = |new: Expr, old: Expr| match &valid {
            Some(valid) => Expr::select(valid.clone(), new, old),
            None => new,
        };
        if let (Some((c, at, old)), Some(new)) = (old_c, new_c) {
            self.push(Stmt::Store(c, at, choose(new, old)));
        }
        let y = self.buffer(y_storage.buffer, &y_storage.offset, true);
        let y_at = self.element(&y_storage.strides, &[t, row, unit]);
        self.push(Stmt::Store(y, y_at, choose(new_h.clone(), Expr::constant(layer.dtype, 0.0))));
        self.push(Stmt::Store(h, h_at, choose(new_h, old_h)));
        self.close_cells(opened);
        Ok(())
    }
}
