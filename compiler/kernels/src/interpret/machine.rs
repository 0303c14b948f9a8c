//! Runs resolved kernels over checked memory.

use super::code::{Acc, Code, ContractionCode, Factor, Local, Node, Op, Poly};
use super::sum::Sum;
use crate::contraction::Grid;
use nnc_ir::DType;
use nnc_ir::dim::DimOp;

/// What memory holds before it is written: NaN in every floating-point type, so that reading too early shows.
pub(super) const POISON: u8 = 0xff;

/// Why a kernel stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// `Stmt::Fail`.
    Status(i32),
    /// An element outside its buffer.
    OutOfBounds { buffer: u32, index: i64 },
    /// An index beyond `i64` or a division by zero within one.
    Index,
    /// A variable left its declared range.
    Range { var: u32, value: i64 },
    /// A store to a buffer that is only read.
    ReadOnly { buffer: u32 },
    /// A micro-kernel asked for more columns than its width.
    Columns(i64),
}

/// Part of a memory region that a kernel sees as one buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    pub region: usize,
    /// First byte.
    pub start: usize,
    /// Number of bytes.
    pub len: usize,
    pub dtype: DType,
    pub writable: bool,
}

/// A kernel at work. `regions` are the memory; views lie inside them (checked by whoever makes them).
pub(super) struct Machine<'a> {
    pub regions: &'a mut [Vec<u8>],
    pub views: Vec<View>,
    pub locals: Vec<u64>,
}

impl Poly {
    /// The value; `None` when it overflows or divides by zero.
    pub fn eval(&self, locals: &[u64]) -> Option<i64> {
        let mut sum = self.constant;
        for &(coefficient, slot) in &self.linear {
            sum = sum.checked_add(coefficient.checked_mul(*locals.get(slot as usize)? as i64)?)?;
        }
        for (coefficient, factors) in &self.others {
            let mut product = *coefficient;
            for factor in factors {
                let value = match factor {
                    Factor::Var(slot) => *locals.get(*slot as usize)? as i64,
                    Factor::Op(op, operands) => operation(*op, operands, locals)?,
                };
                product = product.checked_mul(value)?;
            }
            sum = sum.checked_add(product)?;
        }
        Some(sum)
    }
}

fn operation(op: DimOp, operands: &[Poly], locals: &[u64]) -> Option<i64> {
    let at = |i: usize| operands.get(i)?.eval(locals);
    match op {
        DimOp::FloorDiv => {
            let (a, b) = (at(0)?, at(1)?);
            let quotient = a.checked_div(b)?;
            Some(if a.checked_rem(b)? != 0 && (a < 0) != (b < 0) { quotient - 1 } else { quotient })
        }
        DimOp::Mod => {
            let (a, b) = (at(0)?, at(1)?);
            let rem = a.checked_rem(b)?;
            Some(if rem != 0 && (rem < 0) != (b < 0) { rem + b } else { rem })
        }
        DimOp::Eq => Some(i64::from(at(0)? == at(1)?)),
        DimOp::Lt => Some(i64::from(at(0)? < at(1)?)),
        DimOp::Select => at(if at(0)? != 0 { 1 } else { 2 }),
        DimOp::Min | DimOp::Max => {
            let mut best = at(0)?;
            for i in 1..operands.len() {
                let value = at(i)?;
                best = if op == DimOp::Min { best.min(value) } else { best.max(value) };
            }
            Some(best)
        }
    }
}

impl Machine<'_> {
    /// Runs the parallel iterations `begin..end`. The last `scratch.len()` regions are the scratch buffers.
    pub fn run(&mut self, code: &Code, params: &[i64], begin: i64, end: i64) -> Result<(), Fault> {
        for (local, &value) in code.params.iter().zip(params) {
            self.set(*local, value as u64)?;
        }
        // Iterations are independent; the last comes first, so that one which is not is found.
        for p in (begin..end).rev() {
            self.set(code.parallel, p as u64)?;
            for i in 0..code.scratch.len() {
                let region = self.regions.len() - 1 - i;
                self.regions[region].fill(POISON);
            }
            self.block(&code.body)?;
        }
        Ok(())
    }

    fn set(&mut self, local: Local, bits: u64) -> Result<(), Fault> {
        if let Some((min, max)) = local.range
            && !(min..=max).contains(&(bits as i64))
        {
            return Err(Fault::Range { var: local.slot, value: bits as i64 });
        }
        self.locals[local.slot as usize] = bits;
        Ok(())
    }

    fn index(&self, poly: &Poly) -> Result<i64, Fault> {
        poly.eval(&self.locals).ok_or(Fault::Index)
    }

    /// Region and bytes of `count` elements from `index` on.
    fn span(&self, buffer: u32, index: i64, count: usize) -> Result<(usize, std::ops::Range<usize>), Fault> {
        let view = &self.views[buffer as usize];
        let range = usize::try_from(index).ok().and_then(|first| {
            let from = first.checked_mul(view.dtype.size())?;
            let bytes = count.checked_mul(view.dtype.size())?;
            (from.checked_add(bytes)? <= view.len).then(|| view.start + from..view.start + from + bytes)
        });
        Ok((view.region, range.ok_or(Fault::OutOfBounds { buffer, index })?))
    }

    fn load(&self, buffer: u32, index: i64) -> Result<u64, Fault> {
        let (region, range) = self.span(buffer, index, 1)?;
        Ok(read(&self.regions[region][range]))
    }

    fn store(&mut self, buffer: u32, index: i64, bits: u64) -> Result<(), Fault> {
        if !self.views[buffer as usize].writable {
            return Err(Fault::ReadOnly { buffer });
        }
        let (region, range) = self.span(buffer, index, 1)?;
        let size = range.len();
        self.regions[region][range].copy_from_slice(&bits.to_le_bytes()[..size]);
        Ok(())
    }

    fn eval(&self, node: &Node) -> Result<u64, Fault> {
        Ok(match node {
            Node::Const(bits) => *bits,
            Node::Var(slot) => self.locals[*slot as usize],
            Node::Index(poly) => self.index(poly)? as u64,
            Node::Load(buffer, poly) => self.load(*buffer, self.index(poly)?)?,
            Node::Unary(f, x) => f(self.eval(x)?),
            Node::Binary(f, operands) => {
                let [x, y] = &**operands;
                f(self.eval(x)?, self.eval(y)?)
            }
            Node::MulAdd(f, operands) => {
                let [x, y, z] = &**operands;
                f(self.eval(x)?, self.eval(y)?, self.eval(z)?)
            }
            Node::Select(operands) => {
                let [condition, x, y] = &**operands;
                // Both sides, as a backend without branches would: loads on either side must be in bounds.
                let (x, y) = (self.eval(x)?, self.eval(y)?);
                if self.eval(condition)? != 0 { x } else { y }
            }
            Node::LoadIf(operands, buffer, poly) => {
                let (condition, otherwise) = &**operands;
                if self.eval(condition)? != 0 { self.load(*buffer, self.index(poly)?)? } else { self.eval(otherwise)? }
            }
            Node::Convert(widen, narrow, x) => narrow(widen(self.eval(x)?)),
        })
    }

    fn block(&mut self, body: &[Op]) -> Result<(), Fault> {
        body.iter().try_for_each(|op| self.statement(op))
    }

    fn statement(&mut self, op: &Op) -> Result<(), Fault> {
        match op {
            Op::Set(local, value) => {
                let bits = self.eval(value)?;
                self.set(*local, bits)
            }
            Op::Store(buffer, index, value) => {
                let bits = self.eval(value)?;
                self.store(*buffer, self.index(index)?, bits)
            }
            Op::For(var, extent, body) => {
                for i in 0..self.index(extent)? {
                    self.set(*var, i as u64)?;
                    self.block(body)?;
                }
                Ok(())
            }
            Op::Reduce(var, extent, body, accumulators) => self.reduce(*var, extent, body, accumulators),
            Op::If(condition, then, otherwise) => {
                let branch = if self.eval(condition)? != 0 { then } else { otherwise };
                self.block(branch)
            }
            Op::While(condition, body) => {
                while self.eval(condition)? != 0 {
                    self.block(body)?;
                }
                Ok(())
            }
            Op::Fail(status) => Err(Fault::Status(*status)),
            Op::Contract(c) => match c.acc_dtype {
                DType::F32 => self.contract::<f32>(c),
                DType::F64 => self.contract::<f64>(c),
                DType::I32 => self.contract::<i32>(c),
                _ => self.contract::<i64>(c),
            },
        }
    }

    fn reduce(&mut self, var: Local, extent: &Poly, body: &[Op], accumulators: &[Acc]) -> Result<(), Fault> {
        let mut values = accumulators.iter().map(|a| self.eval(&a.init)).collect::<Result<Vec<_>, _>>()?;
        for i in 0..self.index(extent)? {
            self.set(var, i as u64)?;
            self.block(body)?;
            for (value, accumulator) in values.iter_mut().zip(accumulators) {
                *value = (accumulator.combine)(*value, self.eval(&accumulator.value)?);
            }
        }
        for (value, accumulator) in values.into_iter().zip(accumulators) {
            self.set(accumulator.local, value)?;
        }
        Ok(())
    }

    fn contract<T: Sum>(&mut self, g: &ContractionCode) -> Result<(), Fault> {
        let (m, n, k) = (self.index(&g.m)?, self.index(&g.n)?, self.index(&g.k)?.max(0));
        let columns = usize::try_from(n.max(0)).ok().filter(|&n| n <= g.width).ok_or(Fault::Columns(n))?;
        let mut taps = vec![0i64];
        for (count, step) in &g.taps {
            let step = self.index(step)?;
            let step_at = |i: i64, from: i64| i.checked_mul(step).and_then(|x| x.checked_add(from));
            let steps = taps.iter().flat_map(|&from| (0..*count as i64).map(move |i| step_at(i, from)));
            taps = steps.collect::<Option<Vec<i64>>>().ok_or(Fault::Index)?;
        }
        let (a_offset, a_stride) = (self.index(&g.a_offset)?, self.index(&g.a_row_stride)?);
        let b_offset = self.index(&g.b_offset)?;
        // A panel is read over its whole width, rows only over the columns there are.
        let (b_stride, b_count) = match &g.b_row_stride {
            None => (g.width as i64, g.width),
            Some(stride) => (self.index(stride)?, columns),
        };
        let at = |base: i64, n: i64, stride: i64| n.checked_mul(stride).and_then(|x| x.checked_add(base));
        let count = usize::try_from(k).map_err(|_| Fault::Index)?;
        let (mut left, mut right, mut sums) = (vec![], vec![], vec![T::default(); columns]);
        for row in 0..m {
            sums.fill(T::default());
            let start = at(a_offset, row, a_stride).ok_or(Fault::Index)?;
            for (tap, step) in (0i64..).zip(&taps) {
                if count == 0 {
                    continue;
                }
                let a = start.checked_add(*step).ok_or(Fault::Index)?;
                self.elements(g.a, a, count, &mut left)?;
                for (i, &x) in (0i64..).zip(&left) {
                    let step = tap.checked_mul(k).and_then(|t| t.checked_add(i)).ok_or(Fault::Index)?;
                    let position = at(b_offset, if g.nibbles { step / 2 } else { step }, b_stride);
                    self.elements::<T>(g.b, position.ok_or(Fault::Index)?, b_count, &mut right)?;
                    if g.nibbles {
                        right.iter_mut().for_each(|y| *y = y.nibble(step % 2 == 1));
                    }
                    if g.less > 0 {
                        right.iter_mut().for_each(|y| *y = y.less(T::from_byte(g.less)));
                    }
                    if let Some((buffer, offset, grid)) = &g.grid {
                        self.spread((*buffer, offset, grid), if grid.per_tap { tap } else { 0 }, &mut right)?;
                    }
                    for (sum, &y) in sums.iter_mut().zip(&right) {
                        *sum = sum.plus_product(x, y);
                    }
                }
            }
            for (col, sum) in sums.iter().enumerate() {
                self.set(g.row, row as u64)?;
                self.set(g.col, col as u64)?;
                self.locals[g.acc as usize] = sum.to_bits64();
                self.block(&g.epilogue)?;
            }
        }
        Ok(())
    }

    /// Subtracts the zero points of a tap from numbers, and multiplies them by its scales.
    fn spread<T: Sum>(
        &self,
        (buffer, offset, grid): (u32, &Poly, &Grid),
        tap: i64,
        out: &mut [T],
    ) -> Result<(), Fault> {
        let width = out.len();
        let first =
            tap.checked_mul(grid.row_elements(width) as i64).and_then(|t| self.index(offset).ok()?.checked_add(t));
        let mut first = first.ok_or(Fault::Index)?;
        let mut row = vec![];
        if grid.zeros {
            self.elements(buffer, first, width, &mut row)?;
            out.iter_mut().zip(&row).for_each(|(x, &zero)| *x = x.less(zero));
            first = first.checked_add(width as i64).ok_or(Fault::Index)?;
        }
        if grid.scales {
            self.elements(buffer, first, width, &mut row)?;
            out.iter_mut().zip(&row).for_each(|(x, &scale)| *x = x.times(scale));
        }
        Ok(())
    }

    /// Reads `count` elements, converted to the type of the sum.
    fn elements<T: Sum>(&self, buffer: u32, index: i64, count: usize, out: &mut Vec<T>) -> Result<(), Fault> {
        let (region, range) = self.span(buffer, index, count)?;
        let bytes = &self.regions[region][range];
        out.clear();
        T::read(self.views[buffer as usize].dtype, bytes, out);
        Ok(())
    }
}

/// Little-endian bits of at most 8 bytes.
pub(super) fn read(bytes: &[u8]) -> u64 {
    let mut word = [0u8; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(word)
}
