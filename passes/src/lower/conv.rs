//! Convolutions, channels last: batch-reduce GEMM over kernel offsets, or vector loops over channels when depthwise.
//!
//! The input is read through a view whose border is in memory (see `halo`), so that no kernel branches on position.
//! With unit dilation the innermost kernel axis and the channels are one contiguous sum.

use super::builder::KernelBuilder;
use super::contract::{Axis, accumulator_type};
use super::emit::{compute_type, identity};
use super::halo::border;
use super::panels::{Right, widened};
use super::problem::{Problem, count};
use super::storage::Storage;
use super::{LowerError, Lowering};
use crate::choose::{Algorithm, Panels, Shape};
use nnc_ir::op::{BinaryOp, Op, ReduceOp, Window};
use nnc_ir::{DType, Dim, Node, Tensor, ValueId};
use nnc_kernels::kernel::{AxisKind, Expr, Index, Stmt};
use nnc_kernels::weights::Pack;

/// Most kernel elements that a depthwise kernel writes out.
const UNROLLED_TAPS: usize = 64;

/// A convolution as a matrix product for each group: positions by channels, summed over the window.
struct Windows {
    groups: usize,
    /// Channels that a group sums.
    per_group: i64,
    /// Channels that a group yields.
    columns: i64,
    /// Batch and spatial axes around `rows`.
    outer: Vec<Axis>,
    rows: Axis,
    /// The axes of the result that `rows` goes over.
    row_dims: Vec<Dim>,
    taps: Vec<Axis>,
    k: i64,
}

impl Lowering<'_> {
    pub(super) fn lower_conv(&mut self, anchor: &Node, root: ValueId) -> Result<(), LowerError> {
        let Op::Conv { window, groups, out } = &anchor.op else { return Err(self.error("not a convolution")) };
        let (x, w) = (anchor.inputs[0], anchor.inputs[1]);
        let acc = accumulator_type(*out);
        let input = self.bordered_input(x, window, acc)?;
        let channels = self.graph.shape(x).last().and_then(Dim::as_const).unwrap_or(0);
        let per_group = self.graph.ty(w).shape.iter().rev().nth(1).and_then(Dim::as_const).unwrap_or(0);
        let outputs = self.graph.shape(w).last().and_then(Dim::as_const).unwrap_or(0);
        if channels == 0 || per_group == 0 || outputs == 0 {
            return Err(self.error("a convolution over a symbolic or empty number of channels: fix it with --dim"));
        }
        let windows = self.windows(anchor, window, *groups, &input);
        let taps: usize = window.size.iter().product();
        let weights = self.constant_of(w);
        let shape = Shape {
            batch: Dim::from(*groups as i64),
            outer: count(&windows.outer),
            rows: windows.rows.size.clone(),
            row_stride: windows.rows.stride.clone(),
            columns: Dim::from(windows.columns),
            depth: Dim::from(taps as i64 * per_group),
            runs: count(&windows.taps),
            element_bytes: acc.size() as u64,
            packed: true,
            panels: weights.is_some(),
            depthwise: *groups as i64 == channels && per_group == 1 && outputs == channels && taps <= UNROLLED_TAPS,
        };
        if !shape.panels && !shape.depthwise {
            return Err(self.error("a convolution whose weights are computed at run time is not supported yet"));
        }
        match (self.choose(&shape, self.product_row(acc)?)?, weights) {
            ((Algorithm::Depthwise, _), _) => self.lower_depthwise(anchor, root, window, &input, acc),
            ((Algorithm::Panels(panels), work), Some(weights)) => {
                self.lower_grouped(anchor, root, windows, (&input, &weights), acc, (&panels, work))
            }
            ((Algorithm::Panels(_), _), None) => Err(self.error("panels of weights that are not constant")),
        }
    }

    /// The input as strided memory that includes the border; its offset is at the border's first element.
    fn bordered_input(&mut self, x: ValueId, window: &Window, acc: DType) -> Result<Storage, LowerError> {
        let border = border(window);
        let ty = self.graph.ty(x).clone();
        let direct = ty.dtype == acc || ty.dtype.size() == 1;
        let whole = self.of_all_channels(x);
        let have = self.halo.get(&whole).cloned();
        if direct && let Some(view) = self.view_of(x) {
            let contiguous =
                view.strides.last().is_some_and(|s| s.is_const(1)) || ty.shape.last().is_some_and(|d| d.is_const(1));
            let covered = border.iter().enumerate().all(|(a, &(low, high))| {
                let had = have.as_ref().filter(|_| view.base == whole).map_or((0, 0), |h| h[a]);
                low <= had.0 && high <= had.1
            });
            if contiguous
                && covered
                && let Some(storage) = self.storage_to_read(view.base)
            {
                // A view knows no stride along a unit axis; the border around one has.
                let strides = if view.base == whole { storage.strides } else { view.strides };
                let inside = Storage { buffer: storage.buffer, offset: view.offset, strides };
                let offset = border
                    .iter()
                    .zip(&inside.strides)
                    .fold(inside.offset.clone(), |o, (&(low, _), s)| o - s * &Dim::from(low as i64));
                return Ok(Storage { offset, ..inside });
            }
        }
        // A copy with the border around it.
        let padded: Vec<Dim> =
            ty.shape.iter().zip(&border).map(|(d, &(low, high))| d + &Dim::from((low + high) as i64)).collect();
        let dtype = if ty.dtype.is_float() { acc } else { ty.dtype };
        let mut storage = self.scratch_with_halo(x, dtype, &ty.shape, &padded, &border)?;
        let order: Vec<usize> = (0..ty.rank()).collect();
        self.copy_into(x, &order, dtype, &storage)?;
        for (&(low, _), stride) in border.iter().zip(&storage.strides.clone()) {
            storage.offset = storage.offset - stride * &Dim::from(low as i64);
        }
        Ok(storage)
    }

    /// Output positions: axis sizes, the input elements per step, and per kernel element.
    fn geometry(&self, anchor: &Node, window: &Window, input: &Storage) -> (Vec<Dim>, Vec<Dim>, Vec<Dim>) {
        let shape = self.graph.shape(anchor.outputs[0]);
        let spatial = window.size.len();
        let sizes = shape[1..=spatial].to_vec();
        let scaled = |factors: &[usize]| {
            (0..spatial).map(|a| &input.strides[a + 1] * &Dim::from(factors[a] as i64)).collect::<Vec<_>>()
        };
        (sizes, scaled(&window.strides), scaled(&window.dilations))
    }

    /// The axes of a convolution as those of a matrix product for each group.
    fn windows(&self, anchor: &Node, window: &Window, groups: usize, input: &Storage) -> Windows {
        let (x, w) = (anchor.inputs[0], anchor.inputs[1]);
        let spatial = window.size.len();
        let (sizes, steps, tap_strides) = self.geometry(anchor, window, input);
        let per_group = self.graph.ty(w).shape[spatial].as_const().unwrap_or(1);
        let outputs = self.graph.ty(w).shape[spatial + 1].as_const().unwrap_or(1);

        // Rows: the output axes that one input stride walks, from the innermost outwards.
        let mut rows = sizes[spatial - 1].clone();
        let row_stride = steps[spatial - 1].clone();
        let mut merged = 1;
        while merged < spatial {
            let axis = spatial - 1 - merged;
            if sizes[axis].is_const(1) || &row_stride * &rows == steps[axis] {
                rows = &rows * &sizes[axis];
                merged += 1;
            } else {
                break;
            }
        }
        let axis = |size: &Dim, stride: &Dim| Axis { size: size.clone(), stride: stride.clone() };
        let spatial_rows = sizes[..spatial - merged].iter().zip(&steps).map(|(size, step)| axis(size, step));
        let outer = std::iter::once(axis(&self.graph.shape(x)[0], &input.strides[0])).chain(spatial_rows).collect();

        // The sum: kernel axes as taps around the contiguous channels; the innermost joins them if it can.
        let mut k = per_group;
        let mut taps: Vec<(usize, Dim)> = window.size.iter().copied().zip(tap_strides.iter().cloned()).collect();
        while let Some((count, stride)) = taps.last() {
            let joins = groups == 1 && stride.is_const(k);
            if *count == 1 || joins {
                k *= *count as i64;
                taps.pop();
            } else {
                break;
            }
        }
        taps.retain(|t| t.0 > 1);
        Windows {
            groups,
            per_group,
            columns: outputs / groups as i64,
            outer,
            rows: axis(&rows, &row_stride),
            row_dims: sizes[spatial - merged..].to_vec(),
            taps: taps.iter().map(|(n, stride)| axis(&Dim::from(*n as i64), stride)).collect(),
            k,
        }
    }

    fn lower_grouped(
        &mut self,
        anchor: &Node,
        root: ValueId,
        windows: Windows,
        (input, weights): (&Storage, &Tensor),
        acc: DType,
        (panels, work): (&Panels, Dim),
    ) -> Result<(), LowerError> {
        let Windows { groups, per_group, columns, outer, rows, row_dims, taps, k } = windows;
        let summed = count(&taps).as_const().unwrap_or(1) * k;
        let width = panels.tile.width as i64;
        let pack = Pack::Panels {
            batch: vec![(groups, columns as usize)],
            sum: vec![(summed as usize, columns as usize * groups)],
            columns: columns as usize,
            column_stride: 1,
            width: panels.tile.width,
        };
        let weights = self.add_weight(&widened(weights, acc), pack);
        let panel_elements = summed * width;
        let group_elements = panel_elements * (columns as usize).div_ceil(panels.tile.width) as i64;
        let group = |stride: i64| Axis { size: Dim::from(groups as i64), stride: Dim::from(stride) };
        let problem = Problem {
            name: "conv",
            batch: vec![group(per_group)],
            outer,
            rows,
            columns: Dim::from(columns),
            taps,
            k: Dim::from(k),
            left: (input.buffer, input.offset.clone()),
            right: Right::Panels {
                buffer: weights,
                batch: vec![group(group_elements)],
                panel_elements: Dim::from(panel_elements),
            },
            accumulator: acc,
            anchor: anchor.outputs[0],
            root,
        };
        self.emit_problem(&problem, (panels, work), &mut |b, at| {
            let inner: Vec<Index> = row_dims.iter().map(|d| b.import(d)).collect();
            let mut index = at.outer.to_vec();
            index.extend(b.unflatten(&at.row, &inner));
            index.push(&at.batch[0] * &Index::from(columns) + &at.column);
            index
        })
    }

    /// The tensor of a constant, or of a run-time weight's view of one.
    fn constant_of(&self, value: ValueId) -> Option<nnc_ir::Tensor> {
        match self.definition(value)?.op {
            Op::Constant(id) => Some(self.graph.consts.get(id).clone()),
            _ => None,
        }
    }

    /// Lanes over channels, kernel elements written out, weights in registers along each row of outputs.
    fn lower_depthwise(
        &mut self,
        anchor: &Node,
        root: ValueId,
        window: &Window,
        input: &Storage,
        acc: DType,
    ) -> Result<(), LowerError> {
        let w = anchor.inputs[1];
        let spatial = window.size.len();
        let (sizes, steps, tap_strides) = self.geometry(anchor, window, input);
        let channels = self.graph.shape(w)[spatial + 1].clone();
        let taps: usize = window.size.iter().product();
        let storage = self.storage_to_write(root)?;
        let ty = self.graph.ty(root).clone();
        let batch = self.graph.shape(anchor.inputs[0])[0].clone();
        let weight_type = self.graph.ty(w).dtype;

        let mut b = KernelBuilder::new(self, "depthwise");
        b.root = Some(root);
        let mut outer: Vec<Dim> = vec![batch];
        outer.extend(sizes[..spatial - 1].iter().cloned());
        let (mut index, opened) = b.open_loops(&outer, AxisKind::Free);
        let imported_channels = b.import(&channels);
        let c = b.open_loop("c", &imported_channels, AxisKind::Vector);
        let mut weights = Vec::with_capacity(taps);
        let kernel_dims: Vec<Index> = window.size.iter().map(|&n| Index::from(n as i64)).collect();
        for tap in 0..taps {
            let mut at = b.unflatten(&Index::from(tap as i64), &kernel_dims);
            at.extend([Index::ZERO, c.clone()]);
            let value = b.emit(w, &at)?;
            let value = Expr::convert(acc, compute_type(weight_type), value);
            weights.push(Expr::Var(b.define("w", value)));
        }
        let width = b.import(&sizes[spatial - 1]);
        let column = b.open_loop("ox", &width, AxisKind::Free);
        index.push(column);
        let x = b.buffer(input.buffer, &input.offset, false);
        let x_type = b.cx.program.buffers[input.buffer.0 as usize].dtype;
        let mut base = &index[0] * &b.import(&input.strides[0]) + &c * &b.import(&input.strides[spatial + 1]);
        for a in 0..spatial {
            base = base + &index[a + 1] * &b.import(&steps[a]);
        }
        let mut sum = identity(ReduceOp::Sum, acc);
        for (tap, weight) in weights.into_iter().enumerate() {
            let at = b.unflatten(&Index::from(tap as i64), &kernel_dims);
            let mut element = base.clone();
            for (a, i) in at.iter().enumerate() {
                element = element + i * &b.import(&tap_strides[a]);
            }
            let loaded = Expr::convert(acc, x_type, Expr::Load(x, element));
            sum = match (acc.is_float(), tap) {
                (true, 0) => Expr::binary(BinaryOp::Mul, loaded, weight),
                (true, _) => Expr::MulAdd(Box::new(loaded), Box::new(weight), Box::new(sum)),
                (false, _) => {
                    let product = Expr::binary(BinaryOp::Mul, loaded, weight);
                    Expr::binary(BinaryOp::Add, sum, product)
                }
            };
        }
        index.push(c);
        let sum = b.define("sum", sum);
        b.finish_anchor(anchor.outputs[0], root, sum, &index, &ty, &storage)?;
        for _ in 0..opened + 2 {
            b.close_loop();
        }
        b.finish_apart()
    }
}

impl KernelBuilder<'_, '_> {
    /// Stores one element of an anchor's region in the scope that is open.
    pub fn finish_anchor(
        &mut self,
        anchor: ValueId,
        root: ValueId,
        sum: nnc_kernels::Var,
        index: &[Index],
        ty: &nnc_ir::TensorType,
        storage: &Storage,
    ) -> Result<(), LowerError> {
        let anchor_type = self.cx.graph.ty(anchor).dtype;
        let raw = Expr::convert(compute_type(anchor_type), self.kernel.var_dtype(sum), Expr::Var(sum));
        self.bound.insert(anchor, raw.clone());
        let value = if anchor == root { raw } else { self.emit_definition(root, index)? };
        let stored = Expr::convert(ty.dtype, compute_type(ty.dtype), value);
        let target = self.buffer(storage.buffer, &storage.offset, true);
        let element = self.element(&storage.strides, index);
        self.push(Stmt::Store(target, element, stored));
        Ok(())
    }
}
