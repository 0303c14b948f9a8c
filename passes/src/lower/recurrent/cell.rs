//! The gates of one cell and its new state.
//!
//! Source: ONNX LSTM, GRU and RNN operator definitions (onnx.ai/onnx/operators).

use super::super::LowerError;
use super::super::builder::KernelBuilder;
use super::Layer;
use super::activation::{activate, clip};
use nnc_ir::op::{BinaryOp, CellKind};
use nnc_kernels::kernel::{BufferRef, Expr, Index};

/// One hidden unit of one row at one time.
pub(super) struct Step<'a, 'b, 'c, 'g> {
    pub b: &'a mut KernelBuilder<'b, 'g>,
    pub layer: &'a Layer<'c>,
    /// Products of the state with the recurrent matrix.
    pub products: BufferRef,
    pub t: Index,
    pub row: Index,
    pub unit: Index,
}

impl Step<'_, '_, '_, '_> {
    /// The column of a gate.
    fn column(&self, gate: i64) -> Index {
        &self.unit + &Index::from(gate * self.layer.hidden)
    }

    fn activated(&self, place: usize, x: Expr) -> Expr {
        let Layer { cell, dtype, .. } = self.layer;
        activate(cell.activations.get(place), *dtype, clip(cell.clip, *dtype, x))
    }

    /// What the input projection adds to a gate.
    fn projection(&mut self, gate: i64) -> Result<Expr, LowerError> {
        let index = [self.t.clone(), self.row.clone(), self.column(gate)];
        self.b.emit(self.layer.gates, &index)
    }

    /// What the recurrence adds to a gate: the product and its bias.
    fn recurrence(&mut self, gate: i64) -> Result<Expr, LowerError> {
        let column = self.column(gate);
        let product = Expr::Load(self.products, &self.row * &Index::from(self.layer.columns) + &column);
        let bias = self.b.emit(self.layer.bias, &[column])?;
        Ok(Expr::binary(BinaryOp::Add, product, bias))
    }

    /// A gate's input: projection, product and bias.
    fn input(&mut self, gate: i64) -> Result<Expr, LowerError> {
        let (x, recurrent) = (self.projection(gate)?, self.recurrence(gate)?);
        Ok(Expr::binary(BinaryOp::Add, x, recurrent))
    }

    /// The input of a gate that also sees the cell state.
    fn peeping(&mut self, gate: i64, peephole: i64, c: &Expr) -> Result<Expr, LowerError> {
        let x = self.input(gate)?;
        let Some(weights) = self.layer.peepholes else { return Ok(x) };
        let weight = self.b.emit(weights, &[self.column(peephole)])?;
        Ok(Expr::binary(BinaryOp::Add, x, Expr::binary(BinaryOp::Mul, weight, c.clone())))
    }

    /// What a reset gate leaves of the state.
    pub(super) fn reset_state(&mut self, old: Expr) -> Result<Expr, LowerError> {
        let reset = self.input(1)?;
        Ok(Expr::binary(BinaryOp::Mul, self.activated(0, reset), old))
    }

    /// The new hidden state, and the new cell state where there is one.
    pub(super) fn new_state(&mut self, old_h: &Expr, old_c: Option<&Expr>) -> Result<(Expr, Option<Expr>), LowerError> {
        match (self.layer.cell.kind, old_c) {
            (CellKind::Rnn, _) => {
                let x = self.input(0)?;
                Ok((self.activated(0, x), None))
            }
            (CellKind::Gru { linear_before_reset }, _) => Ok((self.gru(linear_before_reset, old_h)?, None)),
            (CellKind::Lstm, Some(old_c)) => self.lstm(old_c).map(|(h, c)| (h, Some(c))),
            (CellKind::Lstm, None) => Err(self.b.cx.error("an LSTM without a cell state")),
        }
    }

    fn gru(&mut self, linear_before_reset: bool, old_h: &Expr) -> Result<Expr, LowerError> {
        let z = self.input(0)?;
        let z = self.activated(0, z);
        let z = Expr::Var(self.b.define_here("z", z));
        let n = if linear_before_reset {
            let r = self.input(1)?;
            let r = self.activated(0, r);
            let (recurrent, x) = (self.recurrence(2)?, self.projection(2)?);
            Expr::binary(BinaryOp::Add, x, Expr::binary(BinaryOp::Mul, r, recurrent))
        } else {
            self.input(2)?
        };
        let n = self.activated(1, n);
        let n = Expr::Var(self.b.define_here("n", n));
        // As it stands: `n + z * (h - n)` is NaN where `n` is infinite.
        let new = Expr::binary(BinaryOp::Sub, Expr::constant(self.layer.dtype, 1.0), z.clone());
        let new = Expr::binary(BinaryOp::Mul, new, n);
        Ok(Expr::MulAdd(Box::new(z), Box::new(old_h.clone()), Box::new(new)))
    }

    fn lstm(&mut self, old_c: &Expr) -> Result<(Expr, Expr), LowerError> {
        let i = self.peeping(0, 0, old_c)?;
        let i = self.activated(0, i);
        let i = Expr::Var(self.b.define_here("i", i));
        let f = if self.layer.cell.input_forget {
            Expr::binary(BinaryOp::Sub, Expr::constant(self.layer.dtype, 1.0), i.clone())
        } else {
            let f = self.peeping(2, 2, old_c)?;
            self.activated(0, f)
        };
        let g = self.input(3)?;
        let g = self.activated(1, g);
        let kept = Expr::binary(BinaryOp::Mul, f, old_c.clone());
        let c = Expr::MulAdd(Box::new(i), Box::new(g), Box::new(kept));
        let c = Expr::Var(self.b.define_here("c", c));
        let o = self.peeping(1, 1, &c)?;
        let o = self.activated(0, o);
        // The clip is that of gates; the cell state has none.
        let hidden = activate(self.layer.cell.activations.get(2), self.layer.dtype, c.clone());
        Ok((Expr::binary(BinaryOp::Mul, o, hidden), c))
    }
}
