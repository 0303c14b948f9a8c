//! From allocated machine IR to bytes: frame, moves between locations, block layout.
//!
//! Frame, from the stack pointer up (aligned to 64): areas handed out by `Function::frame`, then spill slots. rbp keeps
//! the caller's stack pointer, so the alignment needs no bookkeeping.

use iced_x86::{ConditionCode, Mnemonic as M, Register};
use regalloc2::{Allocation, Block as RaBlock, Edit, InstOrEdit, PReg, RegClass};

use super::Fault;
use super::assembler::{Arg, Assembler, Extras, Label};
use super::machine::{Base, BlockId, Body, Form, Function, Mem, Operand, Plain, Size};
use super::regalloc::{CALLEE_SAVED, Flat, allocate};

/// The finished bytes of a function and what tests want to know about it.
pub struct Encoded {
    /// Code and constants.
    pub bytes: Vec<u8>,
    /// Number of spill slots of 8 bytes.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests ask"))]
    pub spill_slots: usize,
}

/// A general register by number and size.
pub fn gpr(number: usize, size: Size) -> Register {
    const R64: [Register; 16] = [
        Register::RAX,
        Register::RCX,
        Register::RDX,
        Register::RBX,
        Register::RSP,
        Register::RBP,
        Register::RSI,
        Register::RDI,
        Register::R8,
        Register::R9,
        Register::R10,
        Register::R11,
        Register::R12,
        Register::R13,
        Register::R14,
        Register::R15,
    ];
    const R8: [Register; 16] = [
        Register::AL,
        Register::CL,
        Register::DL,
        Register::BL,
        Register::SPL,
        Register::BPL,
        Register::SIL,
        Register::DIL,
        Register::R8L,
        Register::R9L,
        Register::R10L,
        Register::R11L,
        Register::R12L,
        Register::R13L,
        Register::R14L,
        Register::R15L,
    ];
    match size {
        Size::R8 => R8[number & 15],
        Size::R32 => R64[number & 15].full_register32(),
        _ => R64[number & 15],
    }
}

/// A vector register by number and size.
pub fn vector(number: usize, size: Size) -> Register {
    let first = match size {
        Size::X => Register::XMM0,
        Size::Y => Register::YMM0,
        _ => Register::ZMM0,
    };
    first + number as u32
}

fn physical(preg: PReg, size: Size) -> Register {
    match preg.class() {
        RegClass::Int => gpr(preg.hw_enc(), size),
        RegClass::Float => vector(preg.hw_enc(), size),
        RegClass::Vector => Register::K0 + preg.hw_enc() as u32,
    }
}

struct Encoder<'a> {
    asm: Assembler,
    function: &'a Function,
    /// Bytes of frame areas, rounded; spill slots follow.
    spill_base: i32,
}

/// Encodes a function.
///
/// # Errors
/// When the machine IR is malformed or the code too large.
pub fn encode(function: &Function) -> Result<Encoded, Fault> {
    let flat = Flat::new(function);
    let output = allocate(&flat)?;
    let mut saved = used_callee_saved(&flat, &output);
    saved.sort_unstable();
    let spill_base = (function.frame_bytes + 63) / 64 * 64;
    let spill_bytes = i32::try_from(output.num_spillslots * 8).map_err(|_| Fault("frame too large".into()))?;
    let mut encoder = Encoder { asm: Assembler::new(function.evex), function, spill_base };
    encoder.prologue(&saved, spill_base + spill_bytes)?;
    let labels: Vec<Label> = function.blocks.iter().map(|_| encoder.asm.label()).collect();

    // Edge blocks that the allocator left empty are jumped through.
    let forward: Vec<BlockId> = (0..function.blocks.len())
        .map(|b| match function.blocks[b].insts.as_slice() {
            [Body::Jump(target, _)]
                if output
                    .block_insts_and_edits(&flat, RaBlock::new(b))
                    .all(|x| !matches!(x, InstOrEdit::Edit(Edit::Move { from, to }) if from != to)) =>
            {
                *target
            }
            _ => BlockId(b as u32),
        })
        .collect();
    let resolve = |block: BlockId| {
        let mut at = block;
        // A cycle of empty blocks would be an endless loop without work; the bound keeps this one finite.
        for _ in 0..forward.len() {
            let next = forward[at.0 as usize];
            if next == at {
                break;
            }
            at = next;
        }
        at
    };
    let placed: Vec<BlockId> = function.layout.iter().copied().filter(|&b| forward[b.0 as usize] == b).collect();
    for (position, &block) in placed.iter().enumerate() {
        let next = placed.get(position + 1).copied();
        encoder.asm.bind(labels[block.0 as usize]);
        for item in output.block_insts_and_edits(&flat, RaBlock::new(block.0 as usize)) {
            match item {
                InstOrEdit::Edit(Edit::Move { from, to }) => encoder.copy(*from, *to)?,
                InstOrEdit::Inst(inst) => {
                    let allocs = output.inst_allocs(inst);
                    match flat.insts[inst.index()] {
                        Body::Plain(plain) => encoder.plain(plain, allocs)?,
                        Body::Arguments(_) => {}
                        Body::Divide { .. } => {
                            let divisor = encoder.register(allocs.get(3), Size::R64)?;
                            encoder.asm.op(M::Cqo, &[])?;
                            encoder.asm.op(M::Idiv, &[Arg::Reg(divisor)])?;
                        }
                        Body::Gather { disp, size, .. } => encoder.gather(allocs, *disp, *size)?,
                        Body::Micro(micro) => micro.emit(&mut encoder.asm)?,
                        Body::Jump(target, _) => {
                            let target = resolve(*target);
                            if Some(target) != next {
                                encoder.asm.op(M::Jmp, &[Arg::To(labels[target.0 as usize])])?;
                            }
                        }
                        Body::Branch(condition, then, otherwise) => {
                            let (then, otherwise) = (resolve(*then), resolve(*otherwise));
                            let to = |b: BlockId| Arg::To(labels[b.0 as usize]);
                            if Some(then) == next {
                                encoder.asm.op(jcc(negate(*condition)), &[to(otherwise)])?;
                            } else {
                                encoder.asm.op(jcc(*condition), &[to(then)])?;
                                if Some(otherwise) != next {
                                    encoder.asm.op(M::Jmp, &[to(otherwise)])?;
                                }
                            }
                        }
                        Body::Return(status) => encoder.epilogue(&saved, *status)?,
                    }
                }
            }
        }
    }
    let bytes = encoder.asm.finish(&function.pool)?;
    Ok(Encoded { bytes, spill_slots: output.num_spillslots })
}

fn used_callee_saved(flat: &Flat<'_>, output: &regalloc2::Output) -> Vec<usize> {
    let mut used = vec![];
    let mut note = |preg: PReg| {
        let number = preg.hw_enc();
        if preg.class() == RegClass::Int && CALLEE_SAVED.contains(&number) && !used.contains(&number) {
            used.push(number);
        }
    };
    output.allocs.iter().filter_map(|a| a.as_reg()).for_each(&mut note);
    for (_, Edit::Move { from, to }) in &output.edits {
        [from, to].into_iter().filter_map(|a| a.as_reg()).for_each(&mut note);
    }
    for i in 0..flat.insts.len() {
        flat.clobbers(regalloc2::Inst::new(i)).into_iter().for_each(&mut note);
    }
    used
}

impl Encoder<'_> {
    fn prologue(&mut self, saved: &[usize], frame: i32) -> Result<(), Fault> {
        let (rsp, rbp) = (Arg::Reg(Register::RSP), Arg::Reg(Register::RBP));
        self.asm.op(M::Push, &[rbp])?;
        self.asm.op(M::Mov, &[rbp, rsp])?;
        for &r in saved {
            self.asm.op(M::Push, &[Arg::Reg(gpr(r, Size::R64))])?;
        }
        if frame > 0 {
            // Touch each page in turn: the guard page below the stack must not be jumped over.
            let mut left = frame;
            while left > 4096 {
                self.asm.op(M::Sub, &[rsp, Arg::Imm(4096)])?;
                self.asm.op(M::Test, &[Arg::Mem(Register::RSP, None, 0), Arg::Reg(Register::RSP)])?;
                left -= 4096;
            }
            self.asm.op(M::Sub, &[rsp, Arg::Imm(i64::from(left))])?;
            self.asm.op(M::And, &[rsp, Arg::Imm(-64)])?;
        }
        Ok(())
    }

    fn epilogue(&mut self, saved: &[usize], status: i32) -> Result<(), Fault> {
        let (rsp, rbp) = (Arg::Reg(Register::RSP), Arg::Reg(Register::RBP));
        let down = -8 * saved.len() as i32;
        self.asm.op(M::Lea, &[rsp, Arg::Mem(Register::RBP, None, down)])?;
        for &r in saved.iter().rev() {
            self.asm.op(M::Pop, &[Arg::Reg(gpr(r, Size::R64))])?;
        }
        self.asm.op(M::Pop, &[rbp])?;
        if status == 0 {
            self.asm.op(M::Xor, &[Arg::Reg(Register::EAX), Arg::Reg(Register::EAX)])?;
        } else {
            self.asm.op(M::Mov, &[Arg::Reg(Register::EAX), Arg::Imm(i64::from(status))])?;
        }
        self.asm.op(M::Vzeroupper, &[])?;
        self.asm.op(M::Ret, &[])
    }

    fn register(&self, allocation: Option<&Allocation>, size: Size) -> Result<Register, Fault> {
        let preg = allocation.and_then(|a| a.as_reg()).ok_or_else(|| Fault("operand without register".into()))?;
        Ok(physical(preg, size))
    }

    fn copy(&mut self, from: Allocation, to: Allocation) -> Result<(), Fault> {
        if from == to {
            return Ok(());
        }
        let class = from.as_reg().or(to.as_reg()).map(|p| p.class());
        let (op, size) = match class {
            Some(RegClass::Int) => (M::Mov, Size::R64),
            Some(RegClass::Float) => (M::Vmovaps, if self.function.evex { Size::Z } else { Size::Y }),
            Some(RegClass::Vector) => (M::Kmovq, Size::K),
            None => return Err(Fault("move between stack slots".into())),
        };
        let place = |a: Allocation| match (a.as_reg(), a.as_stack()) {
            (Some(preg), _) => Ok(Arg::Reg(physical(preg, size))),
            (None, Some(slot)) => Ok(Arg::Mem(Register::RSP, None, self.spill_base + 8 * slot.index() as i32)),
            _ => Err(Fault("move without location".into())),
        };
        let args = [place(to)?, place(from)?];
        self.asm.op(op, &args)
    }

    fn memory(&self, mem: &Mem, allocs: &mut std::slice::Iter<'_, Allocation>) -> Result<Arg, Fault> {
        let base = match mem.base {
            Base::Pool => return Ok(Arg::Pool(mem.disp)),
            Base::Frame => Register::RSP,
            Base::Reg(_) => self.register(allocs.next(), Size::R64)?,
        };
        let index = match mem.index {
            Some((_, scale)) => Some((self.register(allocs.next(), Size::R64)?, scale)),
            None => None,
        };
        Ok(Arg::Mem(base, index, mem.disp))
    }

    fn plain(&mut self, plain: &Plain, allocs: &[Allocation]) -> Result<(), Fault> {
        let mut allocs = allocs.iter();
        if matches!(plain.form, Form::Tied(_)) {
            allocs.next();
        }
        let mut args = Vec::with_capacity(4);
        for operand in &plain.operands {
            args.push(match operand {
                Operand::Reg(_, size) => Arg::Reg(self.register(allocs.next(), *size)?),
                Operand::Mem(mem) => self.memory(mem, &mut allocs)?,
                Operand::Imm(value) => Arg::Imm(*value),
            });
        }
        let mask = match plain.mask {
            Some(_) => Some(self.register(allocs.next(), Size::K)?),
            None => None,
        };
        self.asm.emit(plain.op, &args, Extras { mask, zeroing: plain.zeroing, broadcast: plain.broadcast })
    }

    fn gather(&mut self, allocs: &[Allocation], disp: i32, size: Size) -> Result<(), Fault> {
        let result = self.register(allocs.get(1), size)?;
        let index = self.register(allocs.get(2), size)?;
        let base = self.register(allocs.get(3), Size::R64)?;
        let mem = Arg::Mem(base, Some((index, 4)), disp);
        if self.function.evex {
            let mask = Some(self.register(allocs.get(5), Size::K)?);
            self.asm.emit(M::Vgatherdps, &[Arg::Reg(result), mem], Extras { mask, ..Extras::default() })
        } else {
            let mask = self.register(allocs.get(5), size)?;
            self.asm.op(M::Vgatherdps, &[Arg::Reg(result), mem, Arg::Reg(mask)])
        }
    }
}

fn negate(condition: ConditionCode) -> ConditionCode {
    use ConditionCode as C;
    match condition {
        C::o => C::no,
        C::no => C::o,
        C::b => C::ae,
        C::ae => C::b,
        C::e => C::ne,
        C::ne => C::e,
        C::be => C::a,
        C::a => C::be,
        C::s => C::ns,
        C::ns => C::s,
        C::p => C::np,
        C::np => C::p,
        C::l => C::ge,
        C::ge => C::l,
        C::le => C::g,
        C::g => C::le,
        C::None => C::None,
    }
}

/// The conditional jump of a condition.
fn jcc(condition: ConditionCode) -> M {
    use ConditionCode as C;
    match condition {
        C::o => M::Jo,
        C::no => M::Jno,
        C::b => M::Jb,
        C::ae => M::Jae,
        C::e => M::Je,
        C::ne => M::Jne,
        C::be => M::Jbe,
        C::a => M::Ja,
        C::s => M::Js,
        C::ns => M::Jns,
        C::p => M::Jp,
        C::np => M::Jnp,
        C::l => M::Jl,
        C::ge => M::Jge,
        C::le => M::Jle,
        C::g => M::Jg,
        C::None => M::Jmp,
    }
}
