//! The GEMM statement: tiles of rows, the loops around them, and the epilogue on their accumulators.
//!
//! Rows are cut into tiles as [`nnc_desc::tiles`] says. A tile is one [`MicroKernel`], then the epilogue: written out for
//! each accumulator while it is small, else a loop over the tile's rows, which reads the accumulators back from the frame.

use iced_x86::Mnemonic as M;
use nnc_desc::tiles;
use nnc_ir::DType;
use nnc_kernels::contraction::{Fetch, RightLayout};
use nnc_kernels::{Contraction, Expr, Index, Var};
use regalloc2::VReg;

use std::collections::HashSet;

use super::address::r64;
use super::machine::{Base, Body, Mem, Operand, Size};
use super::micro::{self, Advance, MicroKernel, Stride, Tap};
use super::numbers::{Grid, Numbers};
use super::reason::Reason;
use super::select::{Context, Lower, Lowered, Scope, Stop, Value};
use super::shape;

/// Most operations of an epilogue that is written out for every accumulator of a tile.
const INLINE_EPILOGUE: usize = 320;

/// What all tiles of a GEMM share.
struct Panel<'g> {
    gemm: &'g Contraction,
    /// Vectors per row that hold columns.
    vectors: usize,
    /// Columns, resolved.
    n: Index,
    /// Whether loads of the right operand need masks.
    mask_loads: bool,
    k: Result<i64, VReg>,
    a_stride: Stride,
    b: VReg,
    b_stride: Stride,
    numbers: Numbers,
    grid: Option<Grid>,
    taps: Vec<Tap>,
    /// Operations of the epilogue.
    weight: usize,
    /// Expressions of the epilogue that are evaluated lane by lane.
    by_lane: HashSet<Expr>,
}

impl Lower<'_> {
    /// A GEMM over one panel.
    pub fn gemm(&mut self, gemm: &Contraction) -> Lowered<()> {
        let dtype = |b: nnc_kernels::BufferRef| self.kernel.buffers[b.0 as usize].dtype;
        let numbers = match (dtype(gemm.right.buffer), &gemm.right.layout) {
            (DType::U8, RightLayout::Nibbles) => Numbers::Nibbles,
            (DType::F32, _) => Numbers::F32,
            (DType::F16, RightLayout::Panel) => Numbers::F16,
            (DType::BF16, RightLayout::Panel) => Numbers::BF16,
            (DType::I8, RightLayout::Panel) => Numbers::I8,
            (DType::U8, RightLayout::Panel) => Numbers::U8,
            _ => return Err(Stop::Unsupported(Reason::ProductType)),
        };
        if gemm.accumulator != DType::F32 || dtype(gemm.left.buffer) != DType::F32 {
            return Err(Stop::Unsupported(Reason::ProductType));
        }
        let (m, n) = (self.resolve(&gemm.extents.m), self.resolve(&gemm.extents.n));
        let lanes = self.lanes;
        if m.as_const().is_some_and(|m| m <= 0) || n.as_const().is_some_and(|n| n <= 0) {
            return Ok(());
        }
        let most_vectors = gemm.tile.width.div_ceil(lanes).max(1);
        let vectors = match n.as_const() {
            Some(n) => (n as usize).div_ceil(lanes).min(most_vectors),
            None => most_vectors,
        };
        let partial = n.as_const().is_none_or(|n| n % lanes as i64 != 0);
        let rows_layout = matches!(gemm.right.layout, RightLayout::Rows { .. });
        let shape = shape::of_loop(self, gemm.epilogue.column, &gemm.epilogue.body, &[], &[gemm.epilogue.sum])
            .map_err(Stop::Unsupported)?;
        if shape.scatters && n.as_const().is_none() {
            return Err(Stop::Unsupported(Reason::Scatter));
        }
        if shape.narrow && partial && !self.f.evex {
            return Err(Stop::Unsupported(Reason::NarrowTail));
        }
        // Panels are padded to their width, which need not be whole vectors when the panel was made for another target.
        let mask_loads = partial && (rows_layout || !gemm.tile.width.is_multiple_of(lanes));
        if mask_loads && (numbers != Numbers::F32 || gemm.right.grid.is_some()) {
            return Err(Stop::Unsupported(Reason::ProductType));
        }
        let rows = self.tile_rows(gemm, vectors, most_vectors, mask_loads, n.as_const().is_none());
        let (k, taps) = self.sums(gemm)?;
        let offset = self.resolve(&gemm.right.offset);
        let element = i64::from(numbers.bytes());
        let b = self.pointer(gemm.right.buffer, &offset, numbers.bytes() as usize)?;
        let grid = self.grid(gemm)?;
        let b_stride = match &gemm.right.layout {
            RightLayout::Panel | RightLayout::Nibbles => self.stride(&(Index::from(gemm.tile.width) * element), 16)?,
            RightLayout::Rows { row_stride } => {
                let bytes = self.resolve(row_stride) * 4;
                self.stride(&bytes, 16)?
            }
        };
        let a_bytes = self.resolve(&gemm.left.row_stride) * 4;
        let a_stride = self.stride(&a_bytes, rows as i64)?;
        let rows = match a_stride {
            Stride::Const(_) => rows,
            Stride::Reg(_) => rows.min(micro::MAX_DYNAMIC_ROWS),
        };
        let panel = Panel {
            gemm,
            vectors,
            n,
            mask_loads,
            k,
            a_stride,
            b,
            b_stride,
            numbers,
            grid,
            taps,
            weight: shape.weight,
            by_lane: shape.by_lane,
        };
        match m.as_const() {
            Some(m) => {
                let mut at = Index::ZERO;
                for (rows, count) in tiles::even(m.unsigned_abs(), rows as u64) {
                    let limit = &at + (rows * count) as i64;
                    at = self.tiles(&panel, at, &limit, rows as usize)?;
                }
                Ok(())
            }
            None => {
                let at = self.tiles(&panel, Index::ZERO, &m, rows)?;
                self.left(&panel, &at, &m, rows)
            }
        }
    }

    /// Tiles of `rows` rows from a row on, as many as end before another; yields the row behind them.
    fn tiles(&mut self, panel: &Panel<'_>, from: Index, end: &Index, rows: usize) -> Lowered<Index> {
        let first_row = self.fresh_var();
        let done = self.counted(first_row, from, end.clone(), rows as i64, &[], |lower, _| {
            lower.tile(panel, first_row, rows)?;
            Ok(vec![])
        })?;
        Ok(done.end)
    }

    /// The rows that full tiles leave, of a number that a run decides: one tile, or two of which the first may have a row
    /// more.
    fn left(&mut self, panel: &Panel<'_>, from: &Index, end: &Index, most: usize) -> Lowered<()> {
        let largest = tiles::most_left(most as u64, panel.vectors as u64) as usize;
        // The first tile that does not reach beyond the end ends there.
        let one = |lower: &mut Self, from: Index, end: &Index| {
            (1..=largest).rev().try_fold(from, |at, rows| lower.tiles(panel, at, end, rows))
        };
        if largest + 1 >= most {
            return one(self, from.clone(), end).map(drop);
        }
        // In registers, for expressions of expressions become too large to be held.
        let (from, end) = (self.settled(from)?, self.settled(end)?);
        let rest = &end - &from;
        let two = self.settled(&Index::from(largest).lt01(&rest))?;
        let half = self.settled(&rest.floor_div(&Index::from(2)))?;
        let second = self.settled(&(&two * &half))?;
        let part = self.fresh_var();
        let start = self.index_reg(&from)?;
        self.counted(part, Index::ZERO, &two + 1, 1, &[start], |lower, carried| {
            let from = lower.bind_fresh(carried[0]);
            let limit = &end - &second + &second * part.index();
            let at = one(lower, from, &limit)?;
            Ok(vec![lower.index_reg(&at)?])
        })?;
        Ok(())
    }

    /// A variable that holds an index's value.
    fn settled(&mut self, index: &Index) -> Lowered<Index> {
        let register = self.index_reg(index)?;
        Ok(self.bind_fresh(register))
    }

    /// Most rows of a tile.
    fn tile_rows(
        &self,
        gemm: &Contraction,
        vectors: usize,
        most_vectors: usize,
        mask_loads: bool,
        all_masked: bool,
    ) -> usize {
        let mut rows = gemm.tile.rows.max(1);
        if vectors < most_vectors {
            // A panel with few columns leaves registers for more rows.
            rows = rows.max(if self.size == Size::Z { 28 } else { 12 } / vectors);
        }
        let masks = match (mask_loads, all_masked) {
            (false, _) => 0,
            (true, false) => 1,
            (true, true) => vectors,
        };
        let tables = usize::from(gemm.right.less > 0 || gemm.right.layout == RightLayout::Nibbles);
        while rows > 1 && !MicroKernel::fits(rows, vectors, (masks, tables), self.size) {
            rows -= 1;
        }
        rows
    }

    /// A byte distance that is used up to `times` over.
    fn stride(&mut self, bytes: &Index, times: i64) -> Lowered<Stride> {
        match bytes.as_const().filter(|b| b.unsigned_abs() < (1 << 30) / times.max(1) as u64) {
            Some(bytes) => Ok(Stride::Const(bytes as i32)),
            None => Ok(Stride::Reg(self.index_reg(bytes)?)),
        }
    }

    /// Zero points and scales of a panel.
    fn grid(&mut self, gemm: &Contraction) -> Lowered<Option<Grid>> {
        let Some(grid) = &gemm.right.grid else { return Ok(None) };
        let offset = self.resolve(&grid.offset);
        let at = self.pointer(grid.buffer, &offset, 4)?;
        let row = gemm.tile.width as i32 * 4;
        Ok(Some(Grid { at, row, zeros: grid.zeros, scales: grid.scales, per_tap: grid.per_tap }))
    }

    /// What integers are looked up in, or what is subtracted from them.
    fn table(&mut self, panel: &Panel<'_>) -> Lowered<Option<VReg>> {
        let less = i32::from(panel.gemm.right.less);
        let words: Vec<u32> = match (panel.numbers, self.size) {
            (Numbers::Nibbles, Size::Z) => (0..16).map(|n| ((n - less) as f32).to_bits()).collect(),
            _ if less == 0 => return Ok(None),
            _ => vec![less as u32],
        };
        let context = Context { size: self.size, lanes: self.lanes, axis: None, tail: None };
        self.constant_reg(&words, &context).map(Some)
    }

    /// The summed loops: elements of k, and the loops around.
    fn sums(&mut self, gemm: &Contraction) -> Lowered<(Result<i64, VReg>, Vec<Tap>)> {
        let mut k = self.resolve(&gemm.extents.k);
        let mut loops: Vec<(usize, Index)> =
            gemm.taps.iter().filter(|t| t.count != 1).map(|t| (t.count, self.resolve(&t.stride))).collect();
        if loops.iter().any(|l| l.0 == 0) {
            return Ok((Ok(0), vec![]));
        }
        // Taps whose rows of `a` follow each other are more k.
        let apart = gemm.right.grid.as_ref().is_some_and(|grid| grid.per_tap);
        while let Some((count, step)) = loops.last() {
            if apart || *step != k {
                break;
            }
            k = k * *count as i64;
            loops.pop();
        }
        let mut walked = &k * 4;
        let mut taps = vec![];
        for (count, step) in loops.iter().rev() {
            let step = step * 4;
            let distance = &step - &walked;
            walked = &step * *count as i64;
            let advance = match distance.as_const().and_then(|d| i32::try_from(d).ok()) {
                Some(bytes) => Advance::Const(bytes),
                None => {
                    let slot = self.f.frame(8, 8);
                    let reg = self.index_reg(&distance)?;
                    self.effect(M::Mov, vec![Operand::Mem(Mem::frame(slot)), r64(reg)]);
                    Advance::Frame(slot)
                }
            };
            taps.push(Tap { count: *count, advance, counter: self.f.frame(8, 8) });
        }
        taps.reverse();
        let k = match k.as_const() {
            Some(k) => Ok(k.max(0)),
            None => Err(self.index_reg(&k)?),
        };
        Ok((k, taps))
    }

    /// The mask of vector `j` of a row; `None` when it is full.
    fn column_mask(&mut self, panel: &Panel<'_>, j: usize) -> Lowered<Option<VReg>> {
        let left = &panel.n - (j * self.lanes) as i64;
        match left.as_const() {
            Some(left) if left >= self.lanes as i64 => Ok(None),
            Some(left) => Ok(Some(self.tail_mask(&Index::from(left))?)),
            None => {
                let left = left.max(&Index::ZERO);
                Ok(Some(self.tail_mask(&left)?))
            }
        }
    }

    /// What a tile of `rows` rows from `start` on fetches.
    fn fetch(&mut self, panel: &Panel<'_>, start: &Index, rows: usize) -> Lowered<micro::Fetch> {
        let (offset, per_row) = match &panel.gemm.right.fetch {
            Fetch::Nothing => return Ok(micro::Fetch::Nothing),
            Fetch::Ahead => return Ok(micro::Fetch::Ahead),
            Fetch::Next { offset, per_row } => (self.resolve(offset), self.resolve(per_row)),
        };
        let element = i64::from(panel.numbers.bytes());
        let at = self.pointer(panel.gemm.right.buffer, &(offset + start * &per_row), panel.numbers.bytes() as usize)?;
        let taps: i64 = panel.taps.iter().map(|tap| tap.count as i64).product();
        let rounds = panel.k.map_or(0, |k| k / micro::UNROLL).saturating_mul(taps);
        // More than the whole of what a round reads would be another panel's.
        let of_step = panel.vectors as i64 * i64::from(self.size.bytes()) / 4 * element;
        let most = (of_step * micro::UNROLL / panel.numbers.steps()).max(micro::LINE);
        if rounds == 0 {
            // In how many rounds is known at run time only: a line a round.
            return Ok(micro::Fetch::Next { at, bytes: Stride::Const(micro::LINE as i32) });
        }
        let of_round = (&per_row * (element * rows as i64)).ceil_div(&Index::from(rounds));
        let bytes = match of_round.as_const() {
            Some(bytes) => Stride::Const(bytes.clamp(0, most) as i32),
            None => {
                let bytes = of_round.max(&Index::ZERO).min(&Index::from(most.min(micro::FETCHED)));
                Stride::Reg(self.index_reg(&bytes)?)
            }
        };
        Ok(micro::Fetch::Next { at, bytes })
    }

    /// One tile of rows.
    fn tile(&mut self, panel: &Panel<'_>, first_row: Var, rows: usize) -> Lowered<()> {
        let block = self.block();
        self.scopes.push(Scope { barrier: true, ..Scope::new(block) });
        let result = self.tile_in_scope(panel, first_row, rows);
        let block = self.block();
        self.scopes.pop();
        self.scope().block = block;
        result
    }

    fn tile_in_scope(&mut self, panel: &Panel<'_>, first_row: Var, rows: usize) -> Lowered<()> {
        let gemm = panel.gemm;
        let start = self.resolve(&first_row.index());
        let a_index = self.resolve(&gemm.left.offset) + &start * self.resolve(&gemm.left.row_stride);
        let a = self.pointer(gemm.left.buffer, &a_index, 4)?;
        let mut masks = vec![];
        for j in 0..panel.vectors {
            masks.push(if panel.mask_loads { self.column_mask(panel, j)? } else { None });
        }
        let fetch = self.fetch(panel, &start, rows)?;
        let table = self.table(panel)?;
        let results: Vec<VReg> = (0..rows * panel.vectors).map(|_| self.f.vec()).collect();
        self.push(Body::Micro(Box::new(MicroKernel {
            rows,
            vectors: panel.vectors,
            size: self.size,
            k: panel.k,
            a,
            a_stride: panel.a_stride,
            b: panel.b,
            b_stride: panel.b_stride,
            numbers: panel.numbers,
            table,
            grid: panel.grid,
            taps: panel.taps.clone(),
            masks,
            results: results.clone(),
            fetch,
        })));
        let mut tails = vec![];
        for j in 0..panel.vectors {
            tails.push(self.column_mask(panel, j)?);
        }
        if panel.weight * results.len() <= INLINE_EPILOGUE {
            for (r, row) in results.chunks(panel.vectors).enumerate() {
                let values: Vec<Value> = row.iter().map(|v| Value::Vec(*v)).collect();
                self.epilogue_row(panel, &start + r as i64, &values, &tails)?;
            }
            return Ok(());
        }
        let bytes = self.size.bytes();
        let row_bytes = bytes * panel.vectors as i32;
        let frame = self.f.frame(row_bytes * rows as i32, 64);
        for (i, v) in results.iter().enumerate() {
            let mem = Mem::frame(frame + i as i32 * bytes);
            self.effect(M::Vmovups, vec![Operand::Mem(mem), Operand::Reg(*v, self.size)]);
        }
        let row = self.fresh_var();
        self.counted(row, Index::ZERO, Index::from(rows), 1, &[], |lower, _| {
            let at = lower.resolve(&row.index());
            let offset = lower.index_reg(&(&at * i64::from(row_bytes)))?;
            let values: Vec<Value> = (0..panel.vectors as i32)
                .map(|j| {
                    let index = Some((offset, 1));
                    Value::Mem(Mem { base: Base::Frame, index, disp: frame + j * bytes }, false)
                })
                .collect();
            lower.epilogue_row(panel, &start + at, &values, &tails)?;
            Ok(vec![])
        })?;
        Ok(())
    }

    /// The epilogue of one row.
    fn epilogue_row(&mut self, panel: &Panel<'_>, row: Index, values: &[Value], tails: &[Option<VReg>]) -> Lowered<()> {
        let gemm = panel.gemm;
        let (row_var, column_var) = (gemm.epilogue.row, gemm.epilogue.column);
        self.by_lane.clone_from(&panel.by_lane);
        self.last = Some(&panel.n - 1);
        for (j, &value) in values.iter().enumerate() {
            self.replaced.insert(row_var, row.clone());
            self.replaced.insert(column_var, Index::from(j * self.lanes));
            self.values.insert(gemm.epilogue.sum, (value, self.depth(), true));
            let tail = tails.get(j).copied().flatten();
            let context = Context { size: self.size, lanes: self.lanes, axis: Some(column_var), tail };
            self.statements(&gemm.epilogue.body, &context)?;
        }
        self.by_lane.clear();
        self.last = None;
        self.replaced.remove(&row_var);
        self.replaced.remove(&column_var);
        self.values.remove(&gemm.epilogue.sum);
        Ok(())
    }
}
