//! The inner loops of a GEMM tile: one pseudo-instruction to the register allocator, with every register placed here.
//!
//! A tile of `rows` by `vectors` registers accumulates `sum over taps, k of a[r][k] * b[k][c]`. To the allocator this
//! looks like a call: arguments in fixed registers, results (the accumulators) in fixed registers, everything else
//! overwritten. So nothing in these loops can be spilled, whatever surrounds them.
//!
//! Per k: the tile's vectors of `b` are loaded, then for each row one element of `a` is broadcast and multiplied into
//! the row's accumulators. When registers do not allow all vectors of `b` at once, the columns are done in groups; one
//! vector per group takes `a` as an embedded broadcast (AVX-512), one row takes `b` from memory. Tiles with few
//! accumulators keep several sets, for successive k, so that the latency of multiply-adds does not show; they are
//! added at the end.
//!
//! Source: the loop order is that of Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008);
//! the sum over taps is Georganas et al.'s batch-reduce GEMM (2019).

use iced_x86::{Mnemonic as M, Register};
use regalloc2::{Operand as RaOperand, PReg, PRegSet, RegClass, VReg};

use super::Fault;
use super::assembler::{Arg, Assembler, Extras};
use super::encode::{gpr, vector};
use super::machine::Size;
use super::numbers::{Grid, Numbers};
use super::regalloc::gpr as reg;

/// A byte distance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stride {
    /// Known when compiling.
    Const(i32),
    /// Known when running.
    Reg(VReg),
}

/// A summed loop around k.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tap {
    /// Iterations.
    pub count: usize,
    /// What is added to the address of `a` after each iteration of the loop inside: the step of this loop less the
    /// distance that the inner loops walked. In the frame when not constant.
    pub advance: Advance,
    /// Frame offset of the counter.
    pub counter: i32,
}

/// A distance that is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advance {
    /// Known when compiling.
    Const(i32),
    /// In the frame.
    Frame(i32),
}

/// The inner loops of a tile.
#[derive(Clone, Debug)]
pub struct MicroKernel {
    /// Rows.
    pub rows: usize,
    /// Vectors per row.
    pub vectors: usize,
    /// Vector width.
    pub size: Size,
    /// Elements summed per tap: a constant number or a register.
    pub k: Result<i64, VReg>,
    /// Address of the tile's first element of `a`.
    pub a: VReg,
    /// Distance between rows of `a`.
    pub a_stride: Stride,
    /// Address of the first element of `b`.
    pub b: VReg,
    /// Distance between rows of `b`.
    pub b_stride: Stride,
    /// How numbers of `b` are stored.
    pub numbers: Numbers,
    /// What turns integers into what they are less a number: with [`Numbers::Nibbles`] in 512 bits the 16 values as `F32`, else
    /// that number in every lane.
    pub table: Option<VReg>,
    /// What becomes of them when they are loaded.
    pub grid: Option<Grid>,
    /// Loops around k, outermost first.
    pub taps: Vec<Tap>,
    /// For each vector the mask of its loads from `b`, where not all lanes may be read.
    pub masks: Vec<Option<VReg>>,
    /// The accumulators, row by row.
    pub results: Vec<VReg>,
    /// What is fetched meanwhile.
    pub fetch: Fetch,
}

/// What a tile brings into cache meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// Nothing.
    Nothing,
    /// What it reads of `b`, a little ahead.
    Ahead,
    /// What is at an address, into the second level.
    Next {
        /// The first byte.
        at: VReg,
        /// Bytes for every [`UNROLL`] elements of k; no more than [`FETCHED`] where known when running, which takes a
        /// constant k.
        bytes: Stride,
    },
}

/// Elements of k per round of the loop.
pub const UNROLL: i64 = 4;

/// Bytes of a cache line.
pub const LINE: i64 = 64;

/// Bytes that are fetched at once where their number is known when running.
pub const FETCHED: i64 = 2 * LINE;

/// How far ahead a streamed panel is fetched.
const STREAM_AHEAD: i32 = 2048;

const A: usize = reg::RAX;
const B: usize = reg::RCX;
const K: usize = reg::RDX;
const A_STRIDE: usize = reg::RSI;
const B_STRIDE: usize = reg::RDI;
/// What is fetched next: only panels, where the distance between rows of `b` is constant, have a next one.
const NEXT: usize = B_STRIDE;
/// By how much that moves, where k is constant and takes no register.
const NEXT_BYTES: usize = K;
/// Further row bases when the distance between rows is not constant.
const BASES: [usize; 8] = [reg::R8, reg::R9, reg::R10, reg::R11, reg::RBX, reg::R12, reg::R13, reg::R14];
/// Zero points and scales.
pub(super) const GRID: usize = BASES[BASES.len() - 1];
/// Loop counter.
const COUNT: usize = reg::R15;

/// Most rows that a tile with a variable distance between rows may have, so that their bases leave [`GRID`] alone: see
/// [`row_places`].
pub const MAX_DYNAMIC_ROWS: usize = 24;

/// Number of vector registers.
pub fn vector_registers(size: Size) -> usize {
    if size == Size::Z { 32 } else { 16 }
}

/// For rows at a variable distance: the base rows, and for each row its base and factor of the distance.
fn row_places(rows: usize) -> (Vec<usize>, Vec<(usize, u8)>) {
    let mut places: Vec<Option<(usize, u8)>> = vec![None; rows];
    let mut bases = vec![];
    for row in 0..rows {
        if places[row].is_none() {
            for factor in [0, 1, 2, 4, 8] {
                if let Some(place) = places.get_mut(row + usize::from(factor)).filter(|p| p.is_none()) {
                    *place = Some((bases.len(), factor));
                }
            }
            bases.push(row);
        }
    }
    (bases, places.into_iter().flatten().collect())
}

/// How registers are split in a tile.
pub(super) struct Plan {
    /// Copies of the accumulators for successive k.
    sets: usize,
    /// Vectors of `b` held at once.
    group: usize,
    /// First register of `b` vectors, of broadcasts, of masks (AVX2), and their number.
    b: usize,
    broadcast: usize,
    broadcasts: usize,
    mask: usize,
    /// The register of [`MicroKernel::table`].
    pub(super) table: usize,
}

impl MicroKernel {
    /// Vector registers for masks of loads (AVX2 keeps masks in vector registers).
    fn mask_registers(&self) -> usize {
        if self.size == Size::Z { 0 } else { self.masks.iter().flatten().count() }
    }

    fn plan(&self) -> Plan {
        let table = vector_registers(self.size) - usize::from(self.table.is_some());
        let registers = table - self.mask_registers();
        let tile = self.rows * self.vectors;
        let fits = |sets: usize| tile * sets + self.vectors + 2 <= registers && tile * sets <= 16;
        let sets = if fits(4) && tile <= 4 {
            4
        } else if fits(2) && tile <= 8 {
            2
        } else {
            1
        };
        let free = registers.saturating_sub(tile * sets);
        let group = self.vectors.min(free.saturating_sub(1)).max(1);
        let b = tile * sets;
        let broadcasts = (registers - b - group).clamp(1, 4);
        Plan { sets, group, b, broadcast: b + group, broadcasts, mask: registers, table }
    }

    /// Whether a tile of this shape has enough registers, beside those for masks or for a table.
    pub fn fits(rows: usize, vectors: usize, (masks, tables): (usize, usize), size: Size) -> bool {
        let masks = if size == Size::Z { 0 } else { masks };
        // One vector of b and, on AVX2, one broadcast.
        rows * vectors + masks + tables + 2 <= vector_registers(size)
    }

    /// Operands and clobbers, for the allocator.
    pub fn operands(&self, out: &mut Vec<RaOperand>, clobbers: &mut PRegSet) {
        let int = |r| PReg::new(r, RegClass::Int);
        out.push(RaOperand::reg_fixed_use(self.a, int(A)));
        out.push(RaOperand::reg_fixed_use(self.b, int(B)));
        if let Err(k) = self.k {
            out.push(RaOperand::reg_fixed_use(k, int(K)));
        }
        if let Stride::Reg(v) = self.a_stride {
            out.push(RaOperand::reg_fixed_use(v, int(A_STRIDE)));
            let bases = row_places(self.rows).0.len();
            BASES.iter().take(bases.saturating_sub(1)).for_each(|&r| clobbers.add(int(r)));
        }
        if let Stride::Reg(v) = self.b_stride {
            out.push(RaOperand::reg_fixed_use(v, int(B_STRIDE)));
        } else if let Fetch::Next { at, bytes } = self.fetch {
            out.push(RaOperand::reg_fixed_use(at, int(NEXT)));
            clobbers.add(int(NEXT));
            if let (Stride::Reg(bytes), Ok(_)) = (bytes, self.k) {
                out.push(RaOperand::reg_fixed_use(bytes, int(NEXT_BYTES)));
            }
        }
        if let Some(grid) = self.grid {
            out.push(RaOperand::reg_fixed_use(grid.at, int(GRID)));
            clobbers.add(int(GRID));
        }
        let plan = self.plan();
        if let Some(table) = self.table {
            out.push(RaOperand::reg_fixed_use(table, PReg::new(plan.table, RegClass::Float)));
        }
        for (next, mask) in self.masks.iter().flatten().enumerate() {
            let preg = match self.size {
                Size::Z => PReg::new(1 + next, RegClass::Vector),
                _ => PReg::new(plan.mask + next, RegClass::Float),
            };
            out.push(RaOperand::reg_fixed_use(*mask, preg));
        }
        for r in [A, B, K, COUNT] {
            clobbers.add(int(r));
        }
        for (i, v) in self.results.iter().enumerate() {
            out.push(RaOperand::reg_fixed_def(*v, PReg::new(i, RegClass::Float)));
        }
        for r in self.results.len()..vector_registers(self.size) {
            clobbers.add(PReg::new(r, RegClass::Float));
        }
    }

    /// Appends the code.
    pub fn emit(&self, asm: &mut Assembler) -> Result<(), Fault> {
        let plan = self.plan();
        let r64 = |n| Arg::Reg(gpr(n, Size::R64));
        let bases = match self.a_stride {
            Stride::Const(_) => vec![0],
            Stride::Reg(_) => row_places(self.rows).0,
        };
        // Further bases: the row three (or more) distances on.
        for (i, rows) in bases.windows(2).enumerate() {
            let from = if i == 0 { A } else { BASES[i - 1] };
            let (mut left, mut at) = (rows[1] - rows[0], from);
            while left > 0 {
                let factor = [8, 4, 2, 1].into_iter().find(|f| *f <= left).unwrap_or(1);
                let stride = Some((gpr(A_STRIDE, Size::R64), factor as u8));
                asm.op(M::Lea, &[r64(BASES[i]), Arg::Mem(gpr(at, Size::R64), stride, 0)])?;
                at = BASES[i];
                left -= factor;
            }
        }
        for i in 0..self.rows * self.vectors * plan.sets {
            let r = Arg::Reg(vector(i, Size::X));
            let zero = if self.size == Size::Z { M::Vpxord } else { M::Vpxor };
            asm.op(zero, &[r, r, r])?;
        }
        let mut heads = vec![];
        for tap in &self.taps {
            asm.op(M::Mov, &[r64(COUNT), Arg::Imm(tap.count as i64)])?;
            asm.op(M::Mov, &[Arg::Mem(Register::RSP, None, tap.counter), r64(COUNT)])?;
            let head = asm.label();
            asm.bind(head);
            heads.push(head);
        }
        self.k_loop(asm, &plan, bases.len())?;
        if let Some(grid) = self.grid.filter(|grid| grid.per_tap && !self.taps.is_empty()) {
            asm.op(
                M::Add,
                &[r64(GRID), Arg::Imm(i64::from(grid.row) * i64::from(grid.zeros as i32 + grid.scales as i32))],
            )?;
        }
        for (tap, head) in self.taps.iter().zip(heads).rev() {
            for i in 0..bases.len() {
                let base = r64(if i == 0 { A } else { BASES[i - 1] });
                match tap.advance {
                    Advance::Const(0) => {}
                    Advance::Const(bytes) => asm.op(M::Add, &[base, Arg::Imm(i64::from(bytes))])?,
                    Advance::Frame(slot) => asm.op(M::Add, &[base, Arg::Mem(Register::RSP, None, slot)])?,
                }
            }
            asm.op(M::Mov, &[r64(COUNT), Arg::Mem(Register::RSP, None, tap.counter)])?;
            asm.op(M::Sub, &[r64(COUNT), Arg::Imm(1)])?;
            asm.op(M::Mov, &[Arg::Mem(Register::RSP, None, tap.counter), r64(COUNT)])?;
            asm.op(M::Jne, &[Arg::To(head)])?;
        }
        let tile = self.rows * self.vectors;
        let mut sets = plan.sets;
        while sets > 1 {
            sets /= 2;
            for i in 0..tile * sets {
                let r = |i| Arg::Reg(vector(i, self.size));
                asm.op(M::Vaddps, &[r(i), r(i), r(i + tile * sets)])?;
            }
        }
        Ok(())
    }

    fn k_loop(&self, asm: &mut Assembler, plan: &Plan, bases: usize) -> Result<(), Fault> {
        let r64 = |n| Arg::Reg(gpr(n, Size::R64));
        match self.k {
            Ok(k) => {
                let (rounds, rest) = (k / UNROLL, k % UNROLL);
                if rounds > 2 {
                    asm.op(M::Mov, &[r64(COUNT), Arg::Imm(rounds)])?;
                    let head = asm.label();
                    asm.bind(head);
                    self.steps(asm, plan, bases, UNROLL)?;
                    asm.op(M::Sub, &[r64(COUNT), Arg::Imm(1)])?;
                    asm.op(M::Jne, &[Arg::To(head)])?;
                    self.steps(asm, plan, bases, rest)
                } else {
                    self.steps(asm, plan, bases, k)
                }
            }
            Err(_) => {
                // The register keeps k across taps; a sum over nothing is possible.
                let (head, rest, done, single) = (asm.label(), asm.label(), asm.label(), asm.label());
                asm.op(M::Mov, &[r64(COUNT), r64(K)])?;
                asm.op(M::Sub, &[r64(COUNT), Arg::Imm(UNROLL)])?;
                asm.op(M::Jl, &[Arg::To(rest)])?;
                asm.bind(head);
                self.steps(asm, plan, bases, UNROLL)?;
                asm.op(M::Sub, &[r64(COUNT), Arg::Imm(UNROLL)])?;
                asm.op(M::Jge, &[Arg::To(head)])?;
                asm.bind(rest);
                asm.op(M::Add, &[r64(COUNT), Arg::Imm(UNROLL)])?;
                asm.op(M::Jle, &[Arg::To(done)])?;
                asm.bind(single);
                self.steps(asm, plan, bases, 1)?;
                asm.op(M::Sub, &[r64(COUNT), Arg::Imm(1)])?;
                asm.op(M::Jne, &[Arg::To(single)])?;
                asm.bind(done);
                Ok(())
            }
        }
    }

    /// `count` successive k, then moves the addresses on.
    fn steps(&self, asm: &mut Assembler, plan: &Plan, bases: usize, count: i64) -> Result<(), Fault> {
        if count == 0 {
            return Ok(());
        }
        let r64 = |n| Arg::Reg(gpr(n, Size::R64));
        if count == UNROLL {
            self.fetch_next(asm)?;
        }
        for step in 0..count as i32 {
            let b_offset = match self.b_stride {
                Stride::Const(bytes) => bytes * (step / self.numbers.steps() as i32),
                Stride::Reg(_) => 0,
            };
            if i64::from(step) % self.numbers.steps() == 0 {
                self.fetch_ahead(asm, b_offset)?;
            }
            let set = step as usize % plan.sets;
            let mut column = 0;
            while column < self.vectors {
                let columns = column..(column + plan.group).min(self.vectors);
                self.group(asm, plan, set, columns.clone(), b_offset, step)?;
                column = columns.end;
            }
            if let Stride::Reg(_) = self.b_stride {
                asm.op(M::Add, &[r64(B), r64(B_STRIDE)])?;
            }
        }
        if let Stride::Const(bytes) = self.b_stride {
            asm.op(M::Add, &[r64(B), Arg::Imm(i64::from(bytes) * count / self.numbers.steps())])?;
        }
        for i in 0..bases {
            asm.op(M::Add, &[r64(if i == 0 { A } else { BASES[i - 1] }), Arg::Imm(4 * count)])?;
        }
        Ok(())
    }

    /// Fetches a round's part of the next panel.
    fn fetch_next(&self, asm: &mut Assembler) -> Result<(), Fault> {
        let (Fetch::Next { bytes, .. }, Stride::Const(_)) = (self.fetch, self.b_stride) else { return Ok(()) };
        let r64 = |n| Arg::Reg(gpr(n, Size::R64));
        let (at_once, step) = match (bytes, self.k) {
            (Stride::Const(bytes), _) => (i64::from(bytes), Arg::Imm(i64::from(bytes))),
            (Stride::Reg(_), Ok(_)) => (FETCHED, r64(NEXT_BYTES)),
            (Stride::Reg(_), Err(_)) => return Err(Fault("bytes to fetch and k both in a register".into())),
        };
        for line in (0..at_once).step_by(LINE as usize) {
            asm.op(M::Prefetcht1, &[Arg::Mem(gpr(NEXT, Size::R64), None, line as i32)])?;
        }
        asm.op(M::Add, &[r64(NEXT), step])
    }

    /// Fetches ahead the part of the panel that a later step loads.
    fn fetch_ahead(&self, asm: &mut Assembler, b_offset: i32) -> Result<(), Fault> {
        let Stride::Const(bytes) = self.b_stride else { return Ok(()) };
        // Rows that are not dense belong to a larger matrix, where what follows is another panel's.
        let row = self.vectors as i32 * self.size.bytes() / 4 * self.numbers.bytes();
        // Of rows that share a line, the first fetches it.
        let fetched = bytes < LINE as i32 && b_offset % LINE as i32 != 0;
        if self.fetch != Fetch::Ahead || bytes != row || fetched {
            return Ok(());
        }
        let mut line = 0;
        while line < bytes {
            asm.op(M::Prefetcht0, &[Arg::Mem(gpr(B, Size::R64), None, b_offset + STREAM_AHEAD + line)])?;
            line += LINE as i32;
        }
        Ok(())
    }

    fn group(
        &self,
        asm: &mut Assembler,
        plan: &Plan,
        set: usize,
        columns: std::ops::Range<usize>,
        b_offset: i32,
        step: i32,
    ) -> Result<(), Fault> {
        let a_offset = step * 4;
        let register = |i| Arg::Reg(vector(i, self.size));
        let acc = |row: usize, column: usize| register((set * self.rows + row) * self.vectors + column);
        let width = self.size.bytes() / 4 * self.numbers.bytes();
        let b_memory = |column: usize| Arg::Mem(gpr(B, Size::R64), None, b_offset + column as i32 * width);
        let masked = columns.clone().any(|c| self.masks.get(c).is_some_and(Option::is_some));
        let direct = self.rows == 1 && !masked && self.numbers == Numbers::F32 && self.grid.is_none();
        if !direct {
            for (i, column) in columns.clone().enumerate() {
                let mask_number = self.masks.iter().take(column).flatten().count();
                match self.masks.get(column).copied().flatten() {
                    None => self.load(asm, plan, plan.b + i, b_memory(column), (column, step % 2 == 1))?,
                    Some(_) if self.size == Size::Z => {
                        let mask = Some(Register::K1 + mask_number as u32);
                        let extras = Extras { mask, zeroing: true, broadcast: false };
                        asm.emit(M::Vmovups, &[register(plan.b + i), b_memory(column)], extras)?;
                    }
                    Some(_) => {
                        let mask = register(plan.mask + mask_number);
                        asm.op(M::Vmaskmovps, &[register(plan.b + i), mask, b_memory(column)])?;
                    }
                }
            }
        }
        let embedded = self.size == Size::Z && columns.len() == 1 && !direct;
        let (_, places) = row_places(self.rows);
        for (row, &(base, factor)) in places.iter().enumerate() {
            let a = match self.a_stride {
                Stride::Const(bytes) => Arg::Mem(gpr(A, Size::R64), None, bytes * row as i32 + a_offset),
                Stride::Reg(_) => {
                    let base = gpr(if base == 0 { A } else { BASES[base - 1] }, Size::R64);
                    let index = (factor != 0).then(|| (gpr(A_STRIDE, Size::R64), factor));
                    Arg::Mem(base, index, a_offset)
                }
            };
            if embedded {
                let extras = Extras { broadcast: true, ..Extras::default() };
                asm.emit(M::Vfmadd231ps, &[acc(row, columns.start), register(plan.b), a], extras)?;
                continue;
            }
            let broadcast = register(plan.broadcast + row % plan.broadcasts);
            asm.op(M::Vbroadcastss, &[broadcast, a])?;
            for (i, column) in columns.clone().enumerate() {
                let b = if direct { b_memory(column) } else { register(plan.b + i) };
                asm.op(M::Vfmadd231ps, &[acc(row, column), broadcast, b])?;
            }
        }
        Ok(())
    }
}
