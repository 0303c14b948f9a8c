//! Numbers of the right operand of a GEMM: how they are stored, and what makes `F32` of them as a tile loads them.
//!
//! 4-bit numbers are looked up in a register of the 16 values where vectors have as many lanes; integers are otherwise
//! converted after what is subtracted from all of them, which is exact. Zero points and scales are read from memory, where all
//! tiles of a panel find them in the first-level cache.

use iced_x86::Mnemonic as M;
use regalloc2::VReg;

use super::Fault;
use super::assembler::{Arg, Assembler};
use super::encode::{gpr, vector};
use super::machine::Size;
use super::micro::{GRID, MicroKernel, Plan};

/// How numbers are stored; all but [`Numbers::F32`] are converted as they are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    F32,
    F16,
    BF16,
    I8,
    U8,
    /// A byte for two successive k, the first in the lower half.
    Nibbles,
}

impl Numbers {
    /// Bytes of an element of `b`; of nibbles an element is a pair.
    pub fn bytes(self) -> i32 {
        match self {
            Numbers::F32 => 4,
            Numbers::F16 | Numbers::BF16 => 2,
            Numbers::I8 | Numbers::U8 | Numbers::Nibbles => 1,
        }
    }

    /// Successive k that an element holds.
    pub fn steps(self) -> i64 {
        if self == Numbers::Nibbles { 2 } else { 1 }
    }
}

/// Rows of zero points, which are subtracted from numbers, and of scales, by which they are multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Address of the first row.
    pub at: VReg,
    /// Bytes of a row.
    pub row: i32,
    /// Whether zero points are there.
    pub zeros: bool,
    /// Whether scales are there, behind them.
    pub scales: bool,
    /// Whether every tap has its own.
    pub per_tap: bool,
}

impl MicroKernel {
    /// Loads the vector of a column of `b` as `F32`; of nibbles the lower halves, or the upper.
    pub(super) fn load(
        &self,
        asm: &mut Assembler,
        plan: &Plan,
        to: usize,
        memory: Arg,
        (column, upper): (usize, bool),
    ) -> Result<(), Fault> {
        let register = |i| Arg::Reg(vector(i, self.size));
        let (to, table) = (register(to), register(plan.table));
        match self.numbers {
            Numbers::F32 => asm.op(M::Vmovups, &[to, memory])?,
            Numbers::F16 => asm.op(M::Vcvtph2ps, &[to, memory])?,
            Numbers::BF16 => {
                asm.op(M::Vpmovzxwd, &[to, memory])?;
                asm.op(M::Vpslld, &[to, to, Arg::Imm(16)])?;
            }
            Numbers::I8 => asm.op(M::Vpmovsxbd, &[to, memory])?,
            Numbers::U8 | Numbers::Nibbles => asm.op(M::Vpmovzxbd, &[to, memory])?,
        }
        if self.numbers == Numbers::Nibbles && upper {
            asm.op(M::Vpsrld, &[to, to, Arg::Imm(4)])?;
        }
        match (self.numbers, self.table) {
            // The table is looked up by the lower 4 bits, whatever is above.
            (Numbers::Nibbles, Some(_)) if self.size == Size::Z => asm.op(M::Vpermps, &[to, to, table])?,
            (Numbers::I8 | Numbers::U8 | Numbers::Nibbles, less) => {
                if self.numbers == Numbers::Nibbles && !upper {
                    asm.op(M::Vpslld, &[to, to, Arg::Imm(28)])?;
                    asm.op(M::Vpsrld, &[to, to, Arg::Imm(28)])?;
                }
                if less.is_some() {
                    asm.op(M::Vpsubd, &[to, to, table])?;
                }
                asm.op(M::Vcvtdq2ps, &[to, to])?;
            }
            _ => {}
        }
        let Some(grid) = self.grid else { return Ok(()) };
        let row = |at: i32| Arg::Mem(gpr(GRID, Size::R64), None, at + column as i32 * self.size.bytes());
        if grid.zeros {
            asm.op(M::Vsubps, &[to, to, row(0)])?;
        }
        if grid.scales {
            asm.op(M::Vmulps, &[to, to, row(if grid.zeros { grid.row } else { 0 })])?;
        }
        Ok(())
    }
}
