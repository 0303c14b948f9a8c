//! Contractions: random sizes, taps, layouts and epilogues.

use super::expr::{Leaves, Value};
use super::{Builder, Fill};
use crate::contraction::{Contraction, Epilogue, Extents, Fetch, Grid, LeftOperand, RightLayout, RightOperand, Tap};
use crate::kernel::{Expr, Index, Stmt};
use nnc_desc::tiles::Tile;
use nnc_ir::DType;

pub(super) fn contraction(b: &mut Builder) {
    let (left, right, acc_dtype) = match b.rng.below(10) {
        0..=3 => (DType::F32, DType::F32, DType::F32),
        4 | 5 => (DType::F32, b.rng.pick(&[DType::F16, DType::BF16, DType::I8, DType::U8]), DType::F32),
        6 => (DType::F64, DType::F64, DType::F64),
        7 => {
            let bytes = [DType::U8, DType::I8];
            (b.rng.pick(&bytes), b.rng.pick(&bytes), DType::I32)
        }
        8 => (DType::BF16, DType::BF16, DType::F32),
        _ => (DType::I32, DType::I32, DType::I32),
    };
    let width = b.rng.pick(&[8i64, 16, 32, 64]);
    let (m, n) = (b.rng.between(1, 20), b.rng.between(1, width));
    let panel = b.rng.chance(70);
    let nibbles = panel && left == DType::F32 && right == DType::U8 && b.rng.chance(50);
    let k = b.rng.between(1, 24);
    let k = if nibbles { k + k % 2 } else { k };
    // Taps step over rows of the left operand, as a convolution's do.
    let row_stride = k + b.rng.between(0, 3);
    let mut taps = vec![];
    let mut reach = 0;
    if panel {
        for _ in 0..b.rng.between(0, 2) {
            let (count, step) = (b.rng.between(1, 3), b.rng.between(0, 2) * row_stride + b.rng.between(0, 1));
            reach += (count - 1) * step;
            taps.push(Tap { count: count as usize, stride: Index::from(step) });
        }
    }
    let summed = k * taps.iter().map(|t| t.count as i64).product::<i64>();
    let blocks = b.rng.between(1, 3);
    let p = b.parallel(blocks);
    let rows = blocks * m;
    let m_dim = b.extent_dim(m);

    let a = b.buffer(left, (rows - 1) * row_stride + reach + k, Fill::Tame);
    let offset = b.rng.between(0, 5);
    let (layout, b_stride) = if nibbles {
        (RightLayout::Nibbles, width)
    } else if panel {
        (RightLayout::Panel, width)
    } else {
        let stride = n + b.rng.between(0, 4);
        (RightLayout::Rows { row_stride: Index::from(stride) }, stride)
    };
    // Rows end with their last column, panels are whole.
    let elements = match layout {
        RightLayout::Nibbles => summed / 2 * width,
        RightLayout::Panel => summed * width,
        RightLayout::Rows { .. } => (summed - 1) * b_stride + n,
    };
    let w = b.buffer(right, offset + elements, Fill::Tame);
    if panel {
        let size = right.size();
        let bytes = b.buffers[w.0 as usize].split_off(offset as usize * size);
        let mut padded = bytes;
        for row in padded.chunks_exact_mut(width as usize * size) {
            row[n as usize * size..].fill(0);
        }
        b.buffers[w.0 as usize].extend(padded);
    }

    let less =
        if panel && left == DType::F32 && right.is_int() && b.rng.chance(50) { b.rng.between(1, 255) as u8 } else { 0 };
    let grid = (panel && left == DType::F32 && b.rng.chance(40)).then(|| {
        let (zeros, per_tap, offset) = (b.rng.chance(50), b.rng.chance(60), b.rng.between(0, 5));
        let grid = Grid { buffer: a, offset: Index::from(offset), zeros, scales: !zeros || b.rng.chance(50), per_tap };
        let tap_rows = if per_tap { summed / k } else { 1 };
        let elements = offset + tap_rows * grid.row_elements(width as usize) as i64;
        Grid { buffer: b.buffer(DType::F32, elements, Fill::Tame), ..grid }
    });

    let row = b.counter("row", m);
    let col = b.counter("col", n);
    let acc = b.kernel.add_var("acc", acc_dtype, i64::MIN, i64::MAX);
    // Sums of products within 4, or of bytes less a zero point, times a scale; integers wrap exactly.
    let bound = if left.is_float() && right.is_int() { 2200.0 } else { 16.0 } * summed as f64;
    let sum = Value { expr: Expr::Var(acc), dtype: acc_dtype, exact: !acc_dtype.is_float(), leaf: false, bound };
    let column_stride = n + b.rng.between(0, 2);
    let element = (p.index() * &m_dim + row.index()) * column_stride + col.index();
    let mut epilogue = vec![];
    let mut leaves = Leaves::default();
    let bias = b.buffer(acc_dtype, n, Fill::Tame);
    leaves.loads.push((bias, col.index(), acc_dtype, true));
    if b.rng.chance(40) {
        let residual = b.any_dtype();
        let buffer = b.buffer(residual, rows * column_stride, Fill::Tame);
        leaves.loads.push((buffer, element.clone(), residual, true));
    }
    let shift = b.expr(&leaves, acc_dtype, 1);
    let shifted = Expr::binary(nnc_ir::op::BinaryOp::Add, sum.expr, shift.expr);
    let sum = Value { expr: shifted, bound: sum.bound + shift.bound, exact: sum.exact && shift.exact, ..sum };
    b.bind(&mut epilogue, &mut leaves, sum);
    let output = if b.rng.chance(60) { acc_dtype } else { b.any_dtype() };
    let y = b.buffer(output, rows * column_stride, Fill::Output);
    let value = b.any(&leaves, output, 2);
    epilogue.push(Stmt::Store(y, element, value.expr));
    let rows = b.rng.between(1, 8) as usize;
    let fetch = match b.rng.between(0, 5) {
        0 if panel => Fetch::Ahead,
        // Of no use, and wherever it points: a hint.
        1 if panel => Fetch::Next {
            offset: p.index() * b.rng.between(0, 900) + b.rng.between(-900, 900),
            per_row: Index::from(b.rng.between(0, 400)),
        },
        // As many rows as a run has share a panel.
        2 if panel => {
            let per_row = Index::from(b.rng.between(0, 4000)).ceil_div(&m_dim.max(&Index::ONE));
            Fetch::Next { offset: p.index() * b.rng.between(0, 900), per_row }
        }
        _ => Fetch::Nothing,
    };
    b.kernel.body.push(Stmt::Contract(Box::new(Contraction {
        extents: Extents { m: m_dim.clone(), n: Index::from(n), k: Index::from(k) },
        left: LeftOperand { buffer: a, offset: p.index() * &m_dim * row_stride, row_stride: Index::from(row_stride) },
        right: RightOperand { buffer: w, offset: Index::from(offset), layout, less, grid, fetch },
        taps,
        tile: Tile { rows, width: width as usize },
        accumulator: acc_dtype,
        epilogue: Epilogue { row, column: col, sum: acc, body: epilogue },
    })));
}
