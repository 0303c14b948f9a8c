//! Recurrent layers: one kernel that walks the time steps, its state kept where the final state is wanted.
//!
//! Each step multiplies the state by the packed recurrent matrix (panel by panel, into a small buffer), then computes
//! gates and the new state in vector lanes over the hidden units. The input projection is a contraction of its own
//! over all steps at once, so what is left here is what really depends on the step before.
//!
//! Source: ONNX LSTM, GRU and RNN operator definitions (onnx.ai/onnx/operators).

use super::block::{Block, Cut};
use super::builder::KernelBuilder;
use super::emit::compute_type;
use super::panels::widened;
use super::{LowerError, Lowering};
use crate::choose::{Panels, Shape};
use nnc_desc::tiles::Tile;
use nnc_ir::op::{Activation, BinaryOp, CellKind, Op, Recurrent, UnaryOp};
use nnc_ir::{DType, Dim, Node, Tensor, ValueId};
use nnc_kernels::contraction::{Fetch, LeftOperand, RightLayout, RightOperand};
use nnc_kernels::kernel::{AxisKind, BufferRef, Expr, Index, Stmt};
use nnc_kernels::plan::BufferId;
use nnc_kernels::weights::Pack;

/// A recurrent matrix, packed: `[hidden, columns]`.
struct Matrix {
    buffer: BufferId,
    columns: i64,
    tile: Tile,
}

impl Lowering<'_> {
    pub(super) fn lower_recurrent(&mut self, node: &Node, cell: &Recurrent) -> Result<(), LowerError> {
        let [gates, r, bias, h0, rest @ ..] = node.inputs.as_slice() else {
            return Err(self.error("a recurrent layer without operands"));
        };
        let lstm = cell.kind == CellKind::Lstm;
        let (c0, rest) = if lstm { (rest.first(), rest.get(1..).unwrap_or(&[])) } else { (None, rest) };
        let (peepholes, rest) =
            if cell.peepholes { (rest.first(), rest.get(1..).unwrap_or(&[])) } else { (None, rest) };
        let lengths = if cell.sequence_lengths { rest.first() } else { None };

        let dtype = self.graph.ty(*gates).dtype;
        if dtype != DType::F32 {
            return Err(self.error("recurrent layers are compiled for f32 only: convert the layer to f32"));
        }
        let (y, h) = (node.outputs[0], node.outputs[1]);
        let hidden = self.graph.shape(h).get(1).and_then(Dim::as_const);
        let Some(hidden) = hidden else { return Err(self.error("the hidden size is symbolic")) };
        let batch = self.graph.shape(h)[0].clone();
        let time = self.graph.shape(y)[0].clone();

        // The state lives where its last value is wanted.
        let state_h = self.storage_to_write(h)?;
        self.storage[h.index()] = None;
        self.copy_into(*h0, &[0, 1], DType::F32, &state_h)?;
        let mut state_c = None;
        if let Some(&c0) = c0 {
            let c = node.outputs[2];
            let storage = self.storage_to_write(c)?;
            self.storage[c.index()] = None;
            self.copy_into(c0, &[0, 1], DType::F32, &storage)?;
            state_c = Some((c, storage));
        }
        let y_storage = self.storage_to_write(y)?;
        self.storage[y.index()] = None;

        let tensor = match self.definition(*r).map(|n| &n.op) {
            Some(Op::Constant(id)) => widened(self.graph.consts.get(*id), DType::F32),
            _ => return Err(self.error("recurrent weights computed at run time are not supported yet")),
        };
        let split_candidate = matches!(cell.kind, CellKind::Gru { linear_before_reset: false });
        let columns = self.graph.shape(*r)[1].as_const().unwrap_or(0);
        let first = if split_candidate { columns - hidden } else { columns };
        let matrix = self.pack_recurrent(&tensor, 0, first, columns, &batch)?;
        let candidate = match split_candidate {
            true => Some(self.pack_recurrent(&tensor, first, hidden, columns, &batch)?),
            false => None,
        };
        let products = self.add_workspace(format!("{y}_products"), DType::F32, &(&batch * &Dim::from(columns)))?;
        let reset_state = match &candidate {
            Some(_) => Some(self.add_workspace(format!("{y}_reset"), DType::F32, &(&batch * &Dim::from(hidden)))?),
            None => None,
        };

        let mut b = KernelBuilder::new(self, "recurrent");
        let (hidden_index, columns_index) = (Index::from(hidden), Index::from(columns));
        let time_extent = b.import(&time);
        let step = b.open_loop("t", &time_extent, AxisKind::Serial);
        let t = if cell.reverse { &time_extent - &step - 1 } else { step };
        let h_buffer = b.buffer(state_h.buffer, &state_h.offset, true);
        let product_buffer = b.buffer(products, &Dim::from(0), true);
        let h_stride = b.import(&state_h.strides[0]);
        b.multiply(&matrix, h_buffer, &h_stride, hidden, &batch, product_buffer, columns, 0)?;

        if let (Some(candidate), Some(reset)) = (&candidate, reset_state) {
            // r * h first, then its product with the candidate's matrix.
            let reset_buffer = b.buffer(reset, &Dim::from(0), true);
            let (row, unit, opened) = b.open_cells(&batch, hidden);
            let gate = |k: i64| &unit + &Index::from(k * hidden);
            let r_gate = b.gate_input(*gates, *bias, product_buffer, &t, &row, &gate(1), &columns_index)?;
            let r_gate = activate(cell.activations.first(), clip(cell.clip, r_gate));
            let old = Expr::Load(h_buffer, &row * &h_stride + &unit);
            let value = Expr::binary(BinaryOp::Mul, r_gate, old);
            b.push(Stmt::Store(reset_buffer, &row * hidden + &unit, value));
            b.close_cells(opened);
            b.multiply(candidate, reset_buffer, &hidden_index, hidden, &batch, product_buffer, columns, first)?;
        }

        let (row, unit, opened) = b.open_cells(&batch, hidden);
        let gate = |k: i64| &unit + &Index::from(k * hidden);
        let old_h = Expr::Load(h_buffer, &row * &h_stride + &unit);
        let old_h = Expr::Var(b.define_here("old_h", old_h));
        let act = |k: usize, x: Expr| activate(cell.activations.get(k), clip(cell.clip, x));
        let mut new_c: Option<(BufferRef, Index, Expr, Expr)> = None;
        let new_h = match cell.kind {
            CellKind::Rnn => {
                let x = b.gate_input(*gates, *bias, product_buffer, &t, &row, &unit, &columns_index)?;
                act(0, x)
            }
            CellKind::Gru { linear_before_reset } => {
                let z = b.gate_input(*gates, *bias, product_buffer, &t, &row, &gate(0), &columns_index)?;
                let z = Expr::Var(b.define_here("z", act(0, z)));
                let n = if linear_before_reset {
                    let r = b.gate_input(*gates, *bias, product_buffer, &t, &row, &gate(1), &columns_index)?;
                    let r = act(0, r);
                    let at = gate(2);
                    let recurrent = b.recurrent_input(*bias, product_buffer, &row, &at, &columns_index)?;
                    let x = b.emit(*gates, &[t.clone(), row.clone(), at])?;
                    Expr::binary(BinaryOp::Add, x, Expr::binary(BinaryOp::Mul, r, recurrent))
                } else {
                    b.gate_input(*gates, *bias, product_buffer, &t, &row, &gate(2), &columns_index)?
                };
                let n = Expr::Var(b.define_here("n", act(1, n)));
                // As it stands: `n + z * (h - n)` is NaN where `n` is infinite.
                let new = Expr::binary(BinaryOp::Sub, Expr::constant(DType::F32, 1.0), z.clone());
                let new = Expr::binary(BinaryOp::Mul, new, n);
                Expr::MulAdd(Box::new(z), Box::new(old_h.clone()), Box::new(new))
            }
            CellKind::Lstm => {
                let Some((_, c_storage)) = &state_c else { return Err(b.cx.error("an LSTM without a cell state")) };
                let c_buffer = b.buffer(c_storage.buffer, &c_storage.offset, true);
                let c_at = &row * &b.import(&c_storage.strides[0]) + &unit;
                let old_c = Expr::Var(b.define_here("old_c", Expr::Load(c_buffer, c_at.clone())));
                let gates_of = |b: &mut KernelBuilder<'_, '_>, k: i64, peep: Option<(i64, &Expr)>| {
                    let mut x = b.gate_input(*gates, *bias, product_buffer, &t, &row, &gate(k), &columns_index)?;
                    if let (Some(&p), Some((place, c))) = (peepholes, peep) {
                        let weight = b.emit(p, &[gate(place)])?;
                        x = Expr::binary(BinaryOp::Add, x, Expr::binary(BinaryOp::Mul, weight, c.clone()));
                    }
                    Ok::<_, LowerError>(x)
                };
                let i = gates_of(&mut b, 0, Some((0, &old_c)))?;
                let i = Expr::Var(b.define_here("i", act(0, i)));
                let f = if cell.input_forget {
                    Expr::binary(BinaryOp::Sub, Expr::constant(DType::F32, 1.0), i.clone())
                } else {
                    let f = gates_of(&mut b, 2, Some((2, &old_c)))?;
                    act(0, f)
                };
                let g = gates_of(&mut b, 3, None)?;
                let g = act(1, g);
                let c = Expr::MulAdd(Box::new(i), Box::new(g), Box::new(Expr::binary(BinaryOp::Mul, f, old_c.clone())));
                let c = Expr::Var(b.define_here("c", c));
                let o = gates_of(&mut b, 1, Some((1, &c)))?;
                let o = act(0, o);
                new_c = Some((c_buffer, c_at, c.clone(), old_c));
                // The clip is that of gates; the cell state has none.
                Expr::binary(BinaryOp::Mul, o, activate(cell.activations.get(2), c))
            }
        };
        let new_h = Expr::Var(b.define_here("h", new_h));
        let valid = match lengths {
            Some(&lengths) => {
                let length = b.emit(lengths, std::slice::from_ref(&row))?;
                Some(Expr::binary(BinaryOp::Lt, Expr::Index(t.clone()), length))
            }
            None => None,
        };
        let choose = |new: Expr, old: Expr| match &valid {
            Some(valid) => Expr::select(valid.clone(), new, old),
            None => new,
        };
        if let Some((buffer, at, new, old)) = new_c {
            b.push(Stmt::Store(buffer, at, choose(new, old)));
        }
        let y_buffer = b.buffer(y_storage.buffer, &y_storage.offset, true);
        let y_at = b.element(&y_storage.strides, &[t.clone(), row.clone(), unit.clone()]);
        b.push(Stmt::Store(y_buffer, y_at, choose(new_h.clone(), Expr::constant(DType::F32, 0.0))));
        b.push(Stmt::Store(h_buffer, &row * &h_stride + &unit, choose(new_h, old_h)));
        b.close_cells(opened);
        b.close_loop();
        b.finish()?;

        self.storage[h.index()] = Some(state_h);
        self.storage[y.index()] = Some(y_storage);
        if let Some((c, storage)) = state_c {
            self.storage[c.index()] = Some(storage);
        }
        Ok(())
    }

    /// Packs columns `start..start + count` of the recurrent matrix.
    fn pack_recurrent(
        &mut self,
        tensor: &Tensor,
        start: i64,
        count: i64,
        columns: i64,
        batch: &Dim,
    ) -> Result<Matrix, LowerError> {
        let shape = Shape {
            batch: Dim::ONE,
            outer: Dim::ONE,
            rows: batch.clone(),
            row_stride: Dim::from(tensor.shape[0] as i64),
            columns: Dim::from(count),
            depth: Dim::from(tensor.shape[0] as i64),
            runs: Dim::ONE,
            element_bytes: 4,
            packed: true,
            panels: true,
            depthwise: false,
        };
        let (Panels { tile, .. }, _) = self.choose_panels(&shape, self.product_row(DType::F32)?)?;
        let (start, count, columns) = (start as usize, count as usize, columns as usize);
        let hidden = tensor.shape[0];
        let source = if start == 0 && count == columns {
            tensor.clone()
        } else {
            let size = tensor.dtype.size();
            let bytes = tensor.data.bytes();
            let rows = (0..hidden).flat_map(|r| &bytes[(r * columns + start) * size..][..count * size]);
            let data = nnc_ir::Data::new(rows.copied().collect::<Vec<u8>>());
            Tensor::new(tensor.dtype, vec![hidden, count], data).ok_or_else(|| self.error("a recurrent matrix"))?
        };
        let pack = Pack::Panels {
            batch: vec![],
            sum: vec![(hidden, count)],
            columns: count,
            column_stride: 1,
            width: tile.width,
        };
        let buffer = self.add_weight(&source, pack);
        Ok(Matrix { buffer, columns: count as i64, tile })
    }
}

impl KernelBuilder<'_, '_> {
    /// `out[row, start + column] = state[row, :] * matrix`, panel by panel.
    #[allow(clippy::too_many_arguments, reason = "operands of one product")]
    fn multiply(
        &mut self,
        matrix: &Matrix,
        state: BufferRef,
        state_stride: &Index,
        hidden: i64,
        batch: &Dim,
        out: BufferRef,
        out_columns: i64,
        start: i64,
    ) -> Result<(), LowerError> {
        let width = matrix.tile.width as i64;
        let panels = (matrix.columns + width - 1) / width;
        let m = self.import(batch);
        let panel = self.open_loop("p", &Index::from(panels), AxisKind::Serial);
        let column_start = &panel * &Index::from(width);
        let b = self.buffer(matrix.buffer, &Dim::from(0), false);
        let cut =
            Cut { rows: (m.clone(), Index::ZERO, m), columns: (Index::from(matrix.columns), panel.clone(), width) };
        let block = Block {
            k: Index::from(hidden),
            left: LeftOperand { buffer: state, offset: Index::ZERO, row_stride: state_stride.clone() },
            right: RightOperand {
                buffer: b,
                offset: &panel * &Index::from(hidden * width),
                layout: RightLayout::Panel,
                fetch: Fetch::Nothing,
            },
            taps: vec![],
            tile: matrix.tile,
            accumulator: DType::F32,
        };
        self.contraction(&cut, &block, &mut |builder, cell| {
            let row = &cell.row.index() * &Index::from(out_columns);
            let at = row + &column_start + cell.col.index() + Index::from(start);
            builder.push(Stmt::Store(out, at, Expr::Var(cell.acc)));
            Ok(builder.close_scope())
        })?;
        self.close_loop();
        Ok(())
    }

    /// Opens the loops over batch rows and, in lanes, hidden units.
    fn open_cells(&mut self, batch: &Dim, hidden: i64) -> (Index, Index, usize) {
        let (index, opened) = self.open_loops(&[batch.clone(), Dim::from(hidden)], AxisKind::Vector);
        (index[0].clone(), index[1].clone(), opened)
    }

    fn close_cells(&mut self, opened: usize) {
        for _ in 0..opened {
            self.close_loop();
        }
    }

    /// What the recurrence adds to a gate: the product and its bias.
    fn recurrent_input(
        &mut self,
        bias: ValueId,
        products: BufferRef,
        row: &Index,
        column: &Index,
        columns: &Index,
    ) -> Result<Expr, LowerError> {
        let product = Expr::Load(products, row * columns + column);
        let bias_type = self.cx.graph.ty(bias).dtype;
        let bias = self.emit(bias, std::slice::from_ref(column))?;
        Ok(Expr::binary(BinaryOp::Add, product, Expr::convert(DType::F32, compute_type(bias_type), bias)))
    }

    /// A gate's input: projection, product and bias.
    #[allow(clippy::too_many_arguments, reason = "operands of one gate")]
    fn gate_input(
        &mut self,
        gates: ValueId,
        bias: ValueId,
        products: BufferRef,
        t: &Index,
        row: &Index,
        column: &Index,
        columns: &Index,
    ) -> Result<Expr, LowerError> {
        let x = self.emit(gates, &[t.clone(), row.clone(), column.clone()])?;
        let recurrent = self.recurrent_input(bias, products, row, column, columns)?;
        Ok(Expr::binary(BinaryOp::Add, x, recurrent))
    }
}

fn clip(limit: Option<f32>, x: Expr) -> Expr {
    match limit {
        None => x,
        Some(limit) => {
            let bound = |v: f32| Expr::constant(DType::F32, f64::from(v));
            let low = Expr::binary(BinaryOp::Max, x, bound(-limit));
            Expr::binary(BinaryOp::Min, low, bound(limit))
        }
    }
}

/// An activation as an expression; none is the identity.
fn activate(activation: Option<&Activation>, x: Expr) -> Expr {
    let constant = |v: f32| Expr::constant(DType::F32, f64::from(v));
    let binary = Expr::binary;
    let Some(activation) = activation else { return x };
    match *activation {
        Activation::Sigmoid => Expr::unary(UnaryOp::Sigmoid, x),
        Activation::Tanh => Expr::unary(UnaryOp::Tanh, x),
        Activation::Relu => binary(BinaryOp::Max, x, constant(0.0)),
        Activation::Affine { alpha, beta } => {
            binary(BinaryOp::Add, binary(BinaryOp::Mul, constant(alpha), x), constant(beta))
        }
        Activation::LeakyRelu { alpha } => {
            let negative = binary(BinaryOp::Lt, x.clone(), constant(0.0));
            Expr::select(negative, binary(BinaryOp::Mul, constant(alpha), x.clone()), x)
        }
        Activation::ThresholdedRelu { alpha } => {
            Expr::select(binary(BinaryOp::Gt, x.clone(), constant(alpha)), x, constant(0.0))
        }
        Activation::ScaledTanh { alpha, beta } => {
            let inner = Expr::unary(UnaryOp::Tanh, binary(BinaryOp::Mul, constant(beta), x));
            binary(BinaryOp::Mul, constant(alpha), inner)
        }
        Activation::HardSigmoid { alpha, beta } => {
            let line = binary(BinaryOp::Add, binary(BinaryOp::Mul, constant(alpha), x), constant(beta));
            binary(BinaryOp::Min, binary(BinaryOp::Max, line, constant(0.0)), constant(1.0))
        }
        Activation::Elu { alpha } => {
            let curve = binary(BinaryOp::Mul, constant(alpha), Expr::unary(UnaryOp::Expm1, x.clone()));
            Expr::select(binary(BinaryOp::Lt, x.clone(), constant(0.0)), curve, x)
        }
        Activation::Softsign => {
            let size = Expr::unary(UnaryOp::Abs, x.clone());
            binary(BinaryOp::Div, x, binary(BinaryOp::Add, size, constant(1.0)))
        }
        Activation::Softplus => {
            // max(x, 0) + log1p(exp(-|x|)) does not overflow.
            let size = Expr::unary(UnaryOp::Neg, Expr::unary(UnaryOp::Abs, x.clone()));
            let tail = Expr::unary(UnaryOp::Log1p, Expr::unary(UnaryOp::Exp, size));
            binary(BinaryOp::Add, binary(BinaryOp::Max, x, constant(0.0)), tail)
        }
    }
}
