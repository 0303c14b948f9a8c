//! The GEMM micro-kernel: register tiles over rows and one column panel.
//!
//! A tile of some rows by one or two vectors keeps its sums in registers over all taps and summed elements, then writes
//! them to a small stack buffer from which the epilogue runs as an ordinary vector loop. Rows or columns that do not
//! fill a tile get smaller ones. Panels hold zeros past their last column and may be read there; `Rows` operands may not,
//! so their last columns are summed one by one.

use super::kernel::{Binding, Lower};
use crate::error::CodegenError;
use cranelift_codegen::ir::{InstBuilder, StackSlotData, StackSlotKind, Value, types};
use nnc_ir::DType;
use nnc_kernels::affine::Varying;
use nnc_kernels::contraction::{RightLayout, Tap};
use nnc_kernels::{AxisKind, Contraction, Index, Loop};

/// What a loop carries before the sums: the addresses of the right operand and of its zero points and scales.
const SUMS: usize = 2;

/// Where a tile lies and how large it is.
#[derive(Clone, Copy)]
struct Tile {
    row: Value,
    rows: usize,
    column: Value,
    vectors: usize,
    lanes: u32,
}

impl Tile {
    fn columns(&self) -> usize {
        self.vectors * self.lanes as usize
    }
}

impl Lower<'_, '_> {
    pub(super) fn gemm(&mut self, g: &Contraction) -> Result<(), CodegenError> {
        if self.varying.is_some() {
            return self.refuse("a micro-kernel inside a vector loop");
        }
        let lanes: u32 = match g.accumulator {
            DType::F32 | DType::I32 => 4,
            DType::F64 => 2,
            _ => 1,
        };
        let lanes = if g.tile.width.is_multiple_of(lanes as usize) { lanes } else { 1 };
        let tile_rows = self.abilities.tile_rows.min(g.tile.rows.max(1));
        let n = self.index(&g.extents.n);
        let zero = self.i64(0);
        let wide = i64::from(lanes) * 2;
        // Columns in whole vectors: of a panel all, of rows what lies within.
        let covered = match g.right.layout {
            RightLayout::Panel | RightLayout::Nibbles => {
                let round = self.i64(i64::from(lanes) - 1);
                let mask = self.i64(-i64::from(lanes));
                let up = self.b.ins().iadd(n, round);
                self.b.ins().band(up, mask)
            }
            RightLayout::Rows { .. } => {
                let mask = self.i64(-i64::from(lanes));
                self.b.ins().band(n, mask)
            }
        };
        let constant = g.extents.n.as_const();
        let whole_vectors = |n: i64| match g.right.layout {
            RightLayout::Panel | RightLayout::Nibbles => (n + i64::from(lanes) - 1) / i64::from(lanes),
            RightLayout::Rows { .. } => n / i64::from(lanes),
        };
        let mask = self.i64(-wide);
        let pairs = self.b.ins().band(covered, mask);
        if constant.is_none_or(|n| whole_vectors(n) >= 2) {
            self.count(zero, pairs, wide, |l, c| l.columns(g, c, 2, lanes, tile_rows, n))?;
        }
        if constant.is_none_or(|n| whole_vectors(n) % 2 == 1) {
            self.count(pairs, covered, i64::from(lanes), |l, c| l.columns(g, c, 1, lanes, tile_rows, n))?;
        }
        let single_columns = matches!(g.right.layout, RightLayout::Rows { .. }) && lanes > 1;
        if single_columns && constant.is_none_or(|n| n % i64::from(lanes) != 0) {
            self.count(covered, n, 1, |l, c| l.columns(g, c, 1, 1, tile_rows, n))?;
        }
        Ok(())
    }

    /// All rows of some columns.
    fn columns(
        &mut self,
        g: &Contraction,
        column: Value,
        vectors: usize,
        lanes: u32,
        tile_rows: usize,
        n: Value,
    ) -> Result<(), CodegenError> {
        let m = self.index(&g.extents.m);
        let zero = self.i64(0);
        let left = self.b.ins().isub(n, column);
        let all = self.i64(vectors as i64 * i64::from(lanes));
        let used = self.b.ins().smin(left, all);
        let full = match g.extents.m.as_const() {
            Some(m) => self.i64(m.max(0) / tile_rows as i64 * tile_rows as i64),
            None => {
                let size = self.i64(tile_rows as i64);
                let positive = self.b.ins().smax(m, zero);
                let count = self.b.ins().udiv(positive, size);
                self.b.ins().imul(count, size)
            }
        };
        if g.extents.m.as_const().is_none_or(|m| m >= tile_rows as i64) {
            self.count(zero, full, tile_rows as i64, |l, row| {
                l.tile(g, Tile { row, rows: tile_rows, column, vectors, lanes }, used)
            })?;
        }
        match g.extents.m.as_const() {
            Some(m) => {
                let rest = (m.max(0) % tile_rows as i64) as usize;
                if rest > 0 {
                    self.tile(g, Tile { row: full, rows: rest, column, vectors, lanes }, used)?;
                }
                Ok(())
            }
            None => self.count(full, m, 1, |l, row| l.tile(g, Tile { row, rows: 1, column, vectors, lanes }, used)),
        }
    }

    fn tile(&mut self, g: &Contraction, tile: Tile, used: Value) -> Result<(), CodegenError> {
        let acc = g.accumulator;
        let a_size = self.kernel.buffers[g.left.buffer.0 as usize].dtype.size() as i64;
        let b_size = self.kernel.buffers[g.right.buffer.0 as usize].dtype.size() as i64;
        // Addresses of the rows of A, of the column of B, and bytes between rows of B.
        let (start, offset) = self.address(g.left.buffer, &g.left.offset);
        let offset = self.i64(i64::from(offset));
        let start = self.b.ins().iadd(start, offset);
        let stride = self.index(&(&g.left.row_stride * a_size));
        let skipped = self.b.ins().imul(tile.row, stride);
        let mut rows = vec![self.b.ins().iadd(start, skipped)];
        for _ in 1..tile.rows {
            let last = rows[rows.len() - 1];
            rows.push(self.b.ins().iadd(last, stride));
        }
        let (start, offset) = self.address(g.right.buffer, &g.right.offset);
        let offset = self.i64(i64::from(offset));
        let start = self.b.ins().iadd(start, offset);
        let size = self.i64(b_size);
        let across = self.b.ins().imul(tile.column, size);
        let b_start = self.b.ins().iadd(start, across);
        let b_step = match &g.right.layout {
            RightLayout::Panel | RightLayout::Nibbles => self.i64(g.tile.width as i64 * b_size),
            RightLayout::Rows { row_stride } => self.index(&(row_stride * b_size)),
        };
        let zero = self.zero(acc, tile.lanes);
        let grid_start = match &g.right.grid {
            Some(grid) => {
                let (start, offset) = self.address(grid.buffer, &grid.offset);
                let across = self.b.ins().imul_imm_s(tile.column, 4);
                let start = self.b.ins().iadd(start, across);
                self.b.ins().iadd_imm_s(start, i64::from(offset))
            }
            None => self.i64(0),
        };
        let mut carried = vec![b_start, grid_start];
        carried.resize(SUMS + tile.rows * tile.vectors, zero);
        let begin = self.i64(0);
        let sums = self.taps(g, tile, &rows, begin, &g.taps, &carried, b_step)?;
        self.epilogue(g, tile, &sums[SUMS..], used)
    }

    fn zero(&mut self, dtype: DType, lanes: u32) -> Value {
        let zero = self.constant(nnc_kernels::Scalar { dtype, bits: 0 });
        self.splat(zero, dtype, lanes)
    }

    /// The loops over taps, outermost first, around the loop over k. `carried` is B's address, its grid's, then the sums;
    /// `a_bytes` how far into the rows of A the taps so far have led.
    #[allow(clippy::too_many_arguments, reason = "the state of a loop nest")]
    fn taps(
        &mut self,
        g: &Contraction,
        tile: Tile,
        rows: &[Value],
        a_bytes: Value,
        taps: &[Tap],
        carried: &[Value],
        b_step: Value,
    ) -> Result<Vec<Value>, CodegenError> {
        let a_size = self.kernel.buffers[g.left.buffer.0 as usize].dtype.size() as i64;
        let zero = self.i64(0);
        if let [Tap { count, stride }, inner @ ..] = taps {
            let (end, stride) = (self.i64(*count as i64), self.index(&(stride * a_size)));
            return self.carry(zero, end, 1, carried, |l, i, carried| {
                let further = l.b.ins().imul(i, stride);
                let a_bytes = l.b.ins().iadd(a_bytes, further);
                l.taps(g, tile, rows, a_bytes, inner, carried, b_step)
            });
        }
        let k = self.index(&(&g.extents.k * a_size));
        let steps = if g.right.layout == RightLayout::Nibbles { 2 } else { 1 };
        let mut sums = self.carry(zero, k, a_size * steps, carried, |l, i, carried| {
            let at = l.b.ins().iadd(a_bytes, i);
            let mut carried = carried.to_vec();
            for upper in [false, true].into_iter().take(steps as usize) {
                let at = l.b.ins().iadd_imm_s(at, if upper { a_size } else { 0 });
                l.step(g, tile, rows, (at, upper), &mut carried)?;
            }
            carried[0] = l.b.ins().iadd(carried[0], b_step);
            Ok(carried)
        })?;
        if let Some(grid) = g.right.grid.as_ref().filter(|grid| grid.per_tap) {
            sums[1] = self.b.ins().iadd_imm_s(sums[1], 4 * grid.row_elements(g.tile.width) as i64);
        }
        Ok(sums)
    }

    /// One summed element: a rank-1 update of the tile. `upper`: of nibbles, the upper halves.
    fn step(
        &mut self,
        g: &Contraction,
        tile: Tile,
        rows: &[Value],
        (at, upper): (Value, bool),
        carried: &mut [Value],
    ) -> Result<(), CodegenError> {
        let a_dtype = self.kernel.buffers[g.left.buffer.0 as usize].dtype;
        let right: Vec<Value> =
            (0..tile.vectors).map(|v| self.right(g, tile, v, carried, upper)).collect::<Result<_, _>>()?;
        for (r, row) in rows.iter().enumerate() {
            let address = self.b.ins().iadd(*row, at);
            let element = self.load(a_dtype, address, 0, 1);
            let element = self.operand(a_dtype, g.accumulator, element, 1)?;
            let element = self.splat(element, g.accumulator, tile.lanes);
            for (v, vector) in right.iter().enumerate() {
                let sum = &mut carried[SUMS + r * tile.vectors + v];
                *sum = if g.accumulator.is_float() {
                    self.mul_add(element, *vector, *sum)
                } else {
                    let product = self.b.ins().imul(element, *vector);
                    self.b.ins().iadd(*sum, product)
                };
            }
        }
        Ok(())
    }

    /// A vector of the right operand in the accumulator's type.
    fn right(
        &mut self,
        g: &Contraction,
        tile: Tile,
        v: usize,
        carried: &[Value],
        upper: bool,
    ) -> Result<Value, CodegenError> {
        let dtype = self.kernel.buffers[g.right.buffer.0 as usize].dtype;
        let bytes = tile.lanes as usize * dtype.size();
        let mut vector = self.load(dtype, carried[0], (v * bytes) as i32, tile.lanes);
        if g.right.layout == RightLayout::Nibbles {
            vector = if upper {
                self.b.ins().ushr_imm_u(vector, 4)
            } else {
                let ty = self.b.func.dfg.value_type(vector);
                let mask = self.b.ins().iconst(ty.lane_type(), 15);
                let mask = if ty.is_vector() { self.b.ins().splat(ty, mask) } else { mask };
                self.b.ins().band(vector, mask)
            };
        }
        let mut vector = self.operand(dtype, g.accumulator, vector, tile.lanes)?;
        if g.right.less > 0 {
            let less = self.constant(nnc_kernels::Scalar::new(DType::F32, f64::from(g.right.less)));
            let less = self.splat(less, DType::F32, tile.lanes);
            vector = self.b.ins().fsub(vector, less);
        }
        let Some(grid) = &g.right.grid else { return Ok(vector) };
        let mut at = v as i32 * tile.lanes as i32 * 4;
        if grid.zeros {
            let zero = self.load(DType::F32, carried[1], at, tile.lanes);
            vector = self.b.ins().fsub(vector, zero);
            at += g.tile.width as i32 * 4;
        }
        if grid.scales {
            let scale = self.load(DType::F32, carried[1], at, tile.lanes);
            vector = self.b.ins().fmul(vector, scale);
        }
        Ok(vector)
    }

    /// An element in the accumulator's type; integers of the same size are the same bits.
    fn operand(&mut self, from: DType, acc: DType, value: Value, lanes: u32) -> Result<Value, CodegenError> {
        if from.is_int() && acc.is_int() && from.size() == acc.size() {
            return Ok(value);
        }
        self.convert(from, acc, value, lanes)
    }

    /// Runs the epilogue over `used` columns of the tile.
    fn epilogue(&mut self, g: &Contraction, tile: Tile, sums: &[Value], used: Value) -> Result<(), CodegenError> {
        let size = g.accumulator.size();
        let row_bytes = tile.columns() * size;
        let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, (tile.rows * row_bytes) as u32, 4);
        let slot = self.b.create_sized_stack_slot(slot);
        for (i, sum) in sums.iter().enumerate() {
            self.b.ins().stack_store(types::I64, *sum, slot, (i * tile.lanes as usize * size) as i32);
        }
        let base = self.b.ins().stack_addr(types::I64, slot, 0);
        let (zero, count) = (self.i64(0), self.i64(tile.rows as i64));
        let varying = Varying::of_epilogue(g);
        let wide = self.lanes_of_epilogue(&varying, g).min(tile.columns() as u32);
        self.varying = Some(varying);
        let result = self.count(zero, count, 1, |l, r| {
            let row = l.b.ins().iadd(tile.row, r);
            l.env.bind(g.epilogue.row, Binding::Uniform(row));
            let pitch = l.i64(row_bytes as i64);
            let skipped = l.b.ins().imul(r, pitch);
            let sums = l.b.ins().iadd(base, skipped);
            l.epilogue_row(g, tile, sums, used, wide)
        });
        self.varying = None;
        result
    }

    fn epilogue_row(
        &mut self,
        g: &Contraction,
        tile: Tile,
        sums: Value,
        used: Value,
        wide: u32,
    ) -> Result<(), CodegenError> {
        let size = g.accumulator.size() as i64;
        // Of rows only whole tiles are summed; a panel's last tile may reach past its columns.
        let full = match g.right.layout {
            RightLayout::Rows { .. } => true,
            RightLayout::Panel | RightLayout::Nibbles => {
                g.extents.n.as_const().is_some_and(|n| n % i64::from(tile.lanes) == 0)
            }
        };
        let one = |l: &mut Self, c: Value, lanes: u32| {
            let col = l.b.ins().iadd(tile.column, c);
            l.env.bind(g.epilogue.column, Binding::Uniform(col));
            let size = l.i64(size);
            let skipped = l.b.ins().imul(c, size);
            let address = l.b.ins().iadd(sums, skipped);
            let acc = l.load(g.accumulator, address, 0, lanes);
            let acc = if lanes == 1 { Binding::Uniform(acc) } else { Binding::Lanes(acc) };
            l.env.bind(g.epilogue.sum, acc);
            g.epilogue.body.iter().try_for_each(|s| l.stmt(s, lanes))
        };
        if full {
            let columns = Loop { var: g.epilogue.column, extent: Index::from(tile.columns()), axis: AxisKind::Vector };
            return self.in_lanes(&columns, wide, one);
        }
        let zero = self.i64(0);
        let mut from = zero;
        if wide > 1 {
            let mask = self.i64(-i64::from(wide));
            let whole = self.b.ins().band(used, mask);
            self.count(zero, whole, i64::from(wide), |l, c| one(l, c, wide))?;
            from = whole;
        }
        self.count(from, used, 1, |l, c| one(l, c, 1))
    }
}
