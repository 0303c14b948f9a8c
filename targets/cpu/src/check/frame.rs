//! The stack, the caller's registers and the upper halves of vector registers, on every path.
//!
//! An abstract interpretation over the instructions. Of each general register it knows that it still holds what some
//! register held at entry, or an address in the stack frame, or nothing; of the frame, which slots hold such values.
//! Where paths meet, only what both know remains; the stack pointer must be known and the same.
//!
//! Frame addresses count from the stack pointer at entry, where the return address lies. Rounding the stack pointer down
//! begins a new *base*, whose distance from the entry is known up to the rounding; so two addresses are compared by the
//! bytes that they may touch.
//!
//! Stores through pointers are taken not to reach the saved registers: nothing here can know them.

use iced_x86::{Code, FlowControl, Instruction, InstructionInfoFactory, Mnemonic as M, OpAccess, OpKind, Register};
use rustc_hash::FxHashMap;

use super::decode::Decoded;
use super::instruction::{demanded_alignment, is_sse, is_wide};
use super::{Defect, Kind};

const RSP: usize = 4;
/// rbx, rbp, r12 to r15.
const CALLEE_SAVED: [usize; 6] = [3, 5, 12, 13, 14, 15];

/// An address in the frame: `offset` bytes from a base, which lies up to `slack` bytes lower than it would without
/// rounding, and is a multiple of `align`, less `skew`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Address {
    /// The instruction that rounded; 0 for the stack pointer at entry.
    base: u64,
    /// Bytes from the stack pointer at entry, were there no rounding.
    offset: i64,
    /// Bytes that rounding may have taken.
    slack: i64,
    /// What the base is a multiple of.
    align: i64,
    /// `offset` of the base.
    start: i64,
}

impl Address {
    /// At entry the return address has been pushed on a stack aligned to 16.
    const ENTRY: Address = Address { base: 0, offset: 0, slack: 0, align: 16, start: 8 };

    fn plus(self, bytes: i64) -> Address {
        Address { offset: self.offset.wrapping_add(bytes), ..self }
    }

    fn is_aligned(self, to: i64) -> bool {
        self.align % to == 0 && (self.offset - self.start) % to == 0
    }

    /// Lowest byte it may mean.
    fn low(self) -> i64 {
        self.offset - self.slack
    }
}

/// What a register or a slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    Unknown,
    /// What this register held at entry.
    Entry(u8),
    Frame(Address),
}

/// What is known before an instruction.
#[derive(Clone, Debug, PartialEq)]
struct State {
    registers: [Value; 16],
    /// Slots of 8 bytes whose value is known.
    slots: Vec<(Address, Value)>,
    /// Whether an upper half of a vector register may be in use.
    dirty: bool,
}

impl State {
    fn entry() -> State {
        let mut registers = [Value::Unknown; 16];
        for r in CALLEE_SAVED {
            registers[r] = Value::Entry(r as u8);
        }
        registers[RSP] = Value::Frame(Address::ENTRY);
        State { registers, slots: vec![], dirty: false }
    }

    fn rsp(&self, at: usize) -> Result<Address, Defect> {
        match self.registers[RSP] {
            Value::Frame(address) => Ok(address),
            _ => Defect::at(at, "the stack pointer is lost"),
        }
    }

    /// Whether anything was forgotten in joining `other`.
    fn join(&mut self, other: &State, at: usize) -> Result<bool, Defect> {
        let before = (self.slots.len(), self.dirty);
        if self.registers[RSP] != other.registers[RSP] {
            return Defect::at(at, "the stack pointer depends on the way here");
        }
        let mut changed = false;
        for (mine, theirs) in self.registers.iter_mut().zip(&other.registers) {
            if *mine != *theirs && *mine != Value::Unknown {
                *mine = Value::Unknown;
                changed = true;
            }
        }
        self.slots.retain(|slot| other.slots.contains(slot));
        self.dirty |= other.dirty;
        Ok(changed || before != (self.slots.len(), self.dirty))
    }

    fn load(&self, address: Address) -> Value {
        self.slots.iter().find(|(a, _)| *a == address).map_or(Value::Unknown, |(_, v)| *v)
    }

    /// A store of some bytes; slots that it may touch are forgotten.
    fn store(&mut self, address: Address, bytes: i64, value: Value) {
        let apart = |slot: &Address| {
            if slot.base == address.base {
                slot.offset + 8 <= address.offset || address.offset + bytes <= slot.offset
            } else {
                slot.offset + 8 <= address.low() || address.offset + bytes <= slot.low()
            }
        };
        self.slots.retain(|(slot, _)| apart(slot));
        if value != Value::Unknown && bytes == 8 {
            self.slots.push((address, value));
        }
    }
}

/// Checks all paths of a function.
pub(super) fn check(decoded: &Decoded, kind: Kind) -> Result<(), Defect> {
    let mut frame = Frame { decoded, kind, factory: InstructionInfoFactory::new() };
    let heads = frame.heads();
    let mut known: FxHashMap<usize, State> = FxHashMap::default();
    let mut work = vec![(0, State::entry())];
    while let Some((start, mut state)) = work.pop() {
        let mut at = start;
        loop {
            if heads[at] {
                let changed = match known.get_mut(&at) {
                    None => {
                        known.insert(at, state.clone());
                        true
                    }
                    Some(old) => {
                        let changed = old.join(&state, decoded.instructions[at].ip() as usize)?;
                        state.clone_from(old);
                        changed
                    }
                };
                if !changed {
                    break;
                }
            }
            let inst = &decoded.instructions[at];
            frame.step(&mut state, inst)?;
            match inst.flow_control() {
                FlowControl::Return | FlowControl::Exception => break,
                FlowControl::UnconditionalBranch => at = frame.index(inst, inst.near_branch_target())?,
                FlowControl::ConditionalBranch => {
                    work.push((frame.index(inst, inst.near_branch_target())?, state.clone()));
                    at = frame.index(inst, inst.next_ip())?;
                }
                _ => at = frame.index(inst, inst.next_ip())?,
            }
        }
    }
    Ok(())
}

struct Frame<'a> {
    decoded: &'a Decoded,
    kind: Kind,
    factory: InstructionInfoFactory,
}

/// Number of a general register, whatever part of it is meant.
fn number(register: Register) -> Option<usize> {
    register.is_gpr().then(|| register.full_register().number())
}

impl Frame<'_> {
    fn index(&self, inst: &Instruction, offset: u64) -> Result<usize, Defect> {
        match self.decoded.index(offset) {
            Some(index) => Ok(index),
            None => Defect::at(inst.ip() as usize, "a path to no instruction"),
        }
    }

    /// Whether each instruction is the target of a branch.
    fn heads(&self) -> Vec<bool> {
        let mut heads = vec![false; self.decoded.instructions.len()];
        for inst in &self.decoded.instructions {
            let branches =
                matches!(inst.flow_control(), FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch);
            if let Some(index) = self.decoded.index(inst.near_branch_target()).filter(|_| branches) {
                heads[index] = true;
            }
        }
        heads
    }

    /// What an instruction does.
    fn step(&mut self, state: &mut State, inst: &Instruction) -> Result<(), Defect> {
        let at = inst.ip() as usize;
        self.memory(state, inst)?;
        match inst.mnemonic() {
            M::Vzeroupper | M::Vzeroall => state.dirty = false,
            _ if is_wide(inst) => state.dirty = true,
            _ if state.dirty && is_sse(inst) => return Defect::at(at, "SSE code after wide code without vzeroupper"),
            _ => {}
        }
        match inst.flow_control() {
            FlowControl::Return => return returns(state, at),
            FlowControl::Call | FlowControl::IndirectCall => {
                if state.dirty {
                    return Defect::at(at, "a call after wide code without vzeroupper");
                }
                if !state.rsp(at)?.is_aligned(16) {
                    return Defect::at(at, "a call with a misaligned stack");
                }
                for (i, value) in state.registers.iter_mut().enumerate() {
                    if i != RSP && !CALLEE_SAVED.contains(&i) {
                        *value = Value::Unknown;
                    }
                }
                // The callee's return address and frame lie below.
                let rsp = state.rsp(at)?;
                state.slots.retain(|(slot, _)| slot.base != rsp.base || slot.offset >= rsp.offset);
                return Ok(());
            }
            _ => {}
        }
        self.registers(state, inst)
    }

    /// Effects on general registers and slots.
    fn registers(&mut self, state: &mut State, inst: &Instruction) -> Result<(), Defect> {
        let at = inst.ip() as usize;
        let value = |state: &State, r: Register| number(r).map_or(Value::Unknown, |n| state.registers[n]);
        let frame_address = |state: &State| match value(state, inst.memory_base()) {
            Value::Frame(address) if inst.memory_index() == Register::None => {
                Some(address.plus(inst.memory_displacement64() as i64))
            }
            _ => None,
        };
        let moved = |state: &State, by: i64| match value(state, inst.op0_register()) {
            Value::Frame(address) => Value::Frame(address.plus(by)),
            _ => Value::Unknown,
        };
        let new = match inst.code() {
            Code::Push_r64 => {
                let rsp = state.rsp(at)?.plus(-8);
                state.store(rsp, 8, value(state, inst.op0_register()));
                state.registers[RSP] = Value::Frame(rsp);
                return Ok(());
            }
            Code::Pop_r64 => {
                let rsp = state.rsp(at)?;
                state.registers[RSP] = Value::Frame(rsp.plus(8));
                state.load(rsp)
            }
            Code::Mov_rm64_r64 if inst.op0_kind() == OpKind::Memory => {
                if let Some(address) = frame_address(state) {
                    state.store(address, 8, value(state, inst.op1_register()));
                }
                return Ok(());
            }
            Code::Mov_rm64_r64 | Code::Mov_r64_rm64 if inst.op1_kind() == OpKind::Register => {
                value(state, inst.op1_register())
            }
            Code::Mov_r64_rm64 => frame_address(state).map_or(Value::Unknown, |a| state.load(a)),
            Code::Lea_r64_m => frame_address(state).map_or(Value::Unknown, Value::Frame),
            Code::Add_rm64_imm8 | Code::Add_rm64_imm32 if inst.op0_kind() == OpKind::Register => {
                moved(state, inst.immediate(1) as i64)
            }
            Code::Sub_rm64_imm8 | Code::Sub_rm64_imm32 if inst.op0_kind() == OpKind::Register => {
                moved(state, (inst.immediate(1) as i64).wrapping_neg())
            }
            Code::And_rm64_imm8 if inst.op0_register() == Register::RSP => round(state.rsp(at)?, inst)?,
            _ => return self.others(state, inst),
        };
        if let Some(n) = number(inst.op0_register()) {
            state.registers[n] = new;
        }
        state.rsp(at).map(|_| ())
    }

    /// An instruction of no interest beyond what it overwrites.
    fn others(&mut self, state: &mut State, inst: &Instruction) -> Result<(), Defect> {
        let info = self.factory.info(inst);
        let writes = |access| {
            matches!(access, OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite)
        };
        for used in info.used_registers() {
            if let (true, Some(n)) = (writes(used.access()), number(used.register())) {
                state.registers[n] = Value::Unknown;
            }
        }
        for used in info.used_memory() {
            let Some(base) = number(used.base()).filter(|_| writes(used.access())) else { continue };
            let indexed = used.index() != Register::None;
            if let (false, Value::Frame(address)) = (indexed, state.registers[base]) {
                let bytes = used.memory_size().size() as i64;
                state.store(address.plus(used.displacement() as i64), bytes, Value::Unknown);
            }
        }
        state.rsp(inst.ip() as usize).map(|_| ())
    }

    /// Accesses to the frame: inside it, aligned where they must be.
    fn memory(&self, state: &State, inst: &Instruction) -> Result<(), Defect> {
        if inst.mnemonic() == M::Lea || !(0..inst.op_count()).any(|i| inst.op_kind(i) == OpKind::Memory) {
            return Ok(());
        }
        let at = inst.ip() as usize;
        let demanded = demanded_alignment(inst).map(|bytes| bytes as i64);
        if inst.is_ip_rel_memory_operand() {
            // Functions are aligned to at least 16 bytes, wide ones to 64.
            let aligned = demanded.is_none_or(|bytes| inst.ip_rel_memory_address() as i64 % bytes == 0);
            return if aligned { Ok(()) } else { Defect::at(at, "a misaligned constant") };
        }
        let base = number(inst.memory_base()).map_or(Value::Unknown, |n| state.registers[n]);
        let Value::Frame(base) = base else {
            return match demanded {
                Some(_) => Defect::at(at, "an access through a pointer that faults when it is not aligned"),
                None => Ok(()),
            };
        };
        let address = base.plus(inst.memory_displacement64() as i64);
        let indexed = inst.memory_index() != Register::None;
        if demanded.is_some_and(|bytes| indexed || !address.is_aligned(bytes)) {
            return Defect::at(at, "a misaligned access to the stack");
        }
        let rsp = state.rsp(at)?;
        if address.base == rsp.base && address.offset < rsp.offset {
            return Defect::at(at, "an access below the stack pointer");
        }
        let end = address.offset + inst.memory_size().size() as i64;
        let callers = address.slack == 0 && end > 0 && !indexed;
        // Arguments beyond the sixth lie above the return address.
        if callers && (self.kind != Kind::Host || address.offset < 8) {
            return Defect::at(at, "an access to the caller's frame");
        }
        Ok(())
    }
}

/// Rounding the stack pointer down.
fn round(rsp: Address, inst: &Instruction) -> Result<Value, Defect> {
    let align = (inst.immediate(1) as i64).wrapping_neg();
    if align <= 0 || align & (align - 1) != 0 {
        return Defect::at(inst.ip() as usize, "the stack pointer is masked");
    }
    let slack = rsp.slack + align - 1;
    Ok(Value::Frame(Address { base: inst.ip(), offset: rsp.offset, slack, align, start: rsp.offset }))
}

fn returns(state: &State, at: usize) -> Result<(), Defect> {
    if state.registers[RSP] != Value::Frame(Address::ENTRY) {
        return Defect::at(at, "a return with an unbalanced stack");
    }
    if let Some(r) = CALLEE_SAVED.into_iter().find(|r| state.registers[*r] != Value::Entry(*r as u8)) {
        let name = format!("{:?}", Register::RAX + r as u32).to_lowercase();
        return Defect::at(at, format!("a return without the caller's {name}"));
    }
    if state.dirty {
        return Defect::at(at, "a return after wide code without vzeroupper");
    }
    Ok(())
}
