//! Register allocation: the machine IR shown to `regalloc2`.
//!
//! Invariant: [`operands`] lists the registers of an instruction in the order in which `encode` reads their
//! allocations back.

use regalloc2::{
    Algorithm, Block as RaBlock, Function as RaFunction, Inst, InstRange, MachineEnv, Operand as RaOperand,
    OperandConstraint, OperandKind, OperandPos, PReg, PRegSet, RegClass, RegallocOptions, VReg,
};

use super::Fault;
use super::machine::{Base, BlockId, Body, Form, Function, Mem, Operand};

/// Hardware numbers of general registers.
pub mod gpr {
    #![allow(missing_docs, reason = "register names")]
    pub const RAX: usize = 0;
    pub const RCX: usize = 1;
    pub const RDX: usize = 2;
    pub const RBX: usize = 3;
    pub const RSI: usize = 6;
    pub const RDI: usize = 7;
    pub const R8: usize = 8;
    pub const R9: usize = 9;
    pub const R10: usize = 10;
    pub const R11: usize = 11;
    pub const R12: usize = 12;
    pub const R13: usize = 13;
    pub const R14: usize = 14;
    pub const R15: usize = 15;
}

/// General registers that the System V convention lets a callee overwrite.
const CALLER_SAVED: [usize; 9] =
    [gpr::RAX, gpr::RCX, gpr::RDX, gpr::RSI, gpr::RDI, gpr::R8, gpr::R9, gpr::R10, gpr::R11];
/// General registers that a callee must preserve (rbp holds the frame).
pub const CALLEE_SAVED: [usize; 5] = [gpr::RBX, gpr::R12, gpr::R13, gpr::R14, gpr::R15];

/// A function in the flat form that the allocator reads.
pub struct Flat<'a> {
    /// The function.
    pub function: &'a Function,
    /// Instructions of all blocks, one after the other.
    pub insts: Vec<&'a Body>,
    operands: Vec<Vec<RaOperand>>,
    clobbers: Vec<PRegSet>,
    ranges: Vec<InstRange>,
    succs: Vec<Vec<RaBlock>>,
    preds: Vec<Vec<RaBlock>>,
}

/// The vector register that holds the offsets of a gather: one of them, for emulators in use (QEMU 7.2) take the fourth
/// for no index, and read one element for all lanes.
const GATHERED: usize = 15;

/// Operands of an instruction.
fn operands(body: &Body, out: &mut Vec<RaOperand>, clobbers: &mut PRegSet) {
    let late_use = |v| RaOperand::new(v, OperandConstraint::Reg, OperandKind::Use, OperandPos::Late);
    let memory = |m: &Mem, out: &mut Vec<RaOperand>| {
        if let Base::Reg(v) = m.base {
            out.push(RaOperand::reg_use(v));
        }
        if let Some((v, _)) = m.index {
            out.push(RaOperand::reg_use(v));
        }
    };
    match body {
        Body::Plain(plain) => {
            let mut rest = plain.operands.as_slice();
            if let ([Operand::Reg(v, _), tail @ ..], Form::Def | Form::Tied(_)) = (rest, plain.form) {
                match plain.form {
                    Form::Tied(old) => {
                        out.push(RaOperand::reg_use(old));
                        out.push(RaOperand::reg_reuse_def(*v, 0));
                    }
                    _ => out.push(RaOperand::reg_def(*v)),
                }
                rest = tail;
            }
            for operand in rest {
                match operand {
                    Operand::Reg(v, _) => out.push(RaOperand::reg_use(*v)),
                    Operand::Mem(m) => memory(m, out),
                    Operand::Imm(_) => {}
                }
            }
            out.extend(plain.mask.map(RaOperand::reg_use));
        }
        Body::Arguments(args) => {
            for (v, reg) in args.iter().zip([gpr::RDI, gpr::RSI, gpr::RDX, gpr::RCX]) {
                out.push(RaOperand::reg_fixed_def(*v, PReg::new(reg, RegClass::Int)));
            }
        }
        Body::Divide { quotient, remainder, dividend, divisor } => {
            // The divisor must not lie in rdx, which the sign extension of the dividend overwrites first.
            out.push(RaOperand::reg_fixed_def(*quotient, PReg::new(gpr::RAX, RegClass::Int)));
            out.push(RaOperand::reg_fixed_def(*remainder, PReg::new(gpr::RDX, RegClass::Int)));
            out.push(RaOperand::reg_fixed_use(*dividend, PReg::new(gpr::RAX, RegClass::Int)));
            out.push(late_use(*divisor));
        }
        Body::Gather { result, zero, index, base, mask, .. } => {
            out.push(RaOperand::reg_use(*zero));
            out.push(RaOperand::reg_reuse_def(*result, 0));
            let place = OperandConstraint::FixedReg(PReg::new(GATHERED, RegClass::Float));
            out.push(RaOperand::new(*index, place, OperandKind::Use, OperandPos::Late));
            out.push(late_use(*base));
            out.push(RaOperand::reg_use(mask.0));
            out.push(RaOperand::reg_reuse_def(mask.1, 4));
        }
        Body::Micro(micro) => micro.operands(out, clobbers),
        Body::Jump(..) | Body::Branch(..) => {}
        Body::Return(_) => {}
    }
}

impl<'a> Flat<'a> {
    /// Flattens a function.
    pub fn new(function: &'a Function) -> Flat<'a> {
        let n = function.blocks.len();
        let mut flat = Flat {
            function,
            insts: vec![],
            operands: vec![],
            clobbers: vec![],
            ranges: vec![],
            succs: vec![vec![]; n],
            preds: vec![vec![]; n],
        };
        for (b, block) in function.blocks.iter().enumerate() {
            let start = flat.insts.len();
            for body in &block.insts {
                let (mut list, mut clobbers) = (vec![], PRegSet::empty());
                operands(body, &mut list, &mut clobbers);
                flat.operands.push(list);
                flat.clobbers.push(clobbers);
                flat.insts.push(body);
                let targets: &[BlockId] = match body {
                    Body::Jump(t, _) => &[*t],
                    Body::Branch(_, t, e) => &[*t, *e],
                    _ => &[],
                };
                for target in targets {
                    flat.succs[b].push(RaBlock::new(target.0 as usize));
                    flat.preds[target.0 as usize].push(RaBlock::new(b));
                }
            }
            flat.ranges.push(InstRange::new(Inst::new(start), Inst::new(flat.insts.len())));
        }
        flat
    }

    /// Registers that an instruction overwrites beyond its results.
    pub fn clobbers(&self, inst: Inst) -> PRegSet {
        self.clobbers[inst.index()]
    }
}

impl RaFunction for Flat<'_> {
    fn num_insts(&self) -> usize {
        self.insts.len()
    }
    fn num_blocks(&self) -> usize {
        self.ranges.len()
    }
    fn entry_block(&self) -> RaBlock {
        RaBlock::new(0)
    }
    fn block_insns(&self, block: RaBlock) -> InstRange {
        self.ranges[block.index()]
    }
    fn block_succs(&self, block: RaBlock) -> &[RaBlock] {
        &self.succs[block.index()]
    }
    fn block_preds(&self, block: RaBlock) -> &[RaBlock] {
        &self.preds[block.index()]
    }
    fn block_params(&self, block: RaBlock) -> &[VReg] {
        &self.function.blocks[block.index()].params
    }
    fn is_ret(&self, inst: Inst) -> bool {
        matches!(self.insts[inst.index()], Body::Return(_))
    }
    fn is_branch(&self, inst: Inst) -> bool {
        matches!(self.insts[inst.index()], Body::Jump(..) | Body::Branch(..))
    }
    fn branch_blockparams(&self, _block: RaBlock, inst: Inst, _succ: usize) -> &[VReg] {
        match self.insts[inst.index()] {
            Body::Jump(_, arguments) => arguments,
            _ => &[],
        }
    }
    fn inst_operands(&self, inst: Inst) -> &[RaOperand] {
        &self.operands[inst.index()]
    }
    fn inst_clobbers(&self, inst: Inst) -> PRegSet {
        self.clobbers[inst.index()]
    }
    fn num_vregs(&self) -> usize {
        self.function.vregs
    }
    fn spillslot_size(&self, class: RegClass) -> usize {
        match class {
            RegClass::Int | RegClass::Vector => 1,
            RegClass::Float => {
                if self.function.evex {
                    8
                } else {
                    4
                }
            }
        }
    }
}

/// The registers there are.
pub fn machine_env(evex: bool) -> MachineEnv {
    let set = |regs: &mut dyn Iterator<Item = usize>, class| {
        regs.fold(PRegSet::empty(), |mut set, r| {
            set.add(PReg::new(r, class));
            set
        })
    };
    let masks = if evex { set(&mut (1..8), RegClass::Vector) } else { PRegSet::empty() };
    MachineEnv {
        preferred_regs_by_class: [
            set(&mut CALLER_SAVED.into_iter(), RegClass::Int),
            set(&mut (0..if evex { 32 } else { 16 }), RegClass::Float),
            masks,
        ],
        non_preferred_regs_by_class: [
            set(&mut CALLEE_SAVED.into_iter(), RegClass::Int),
            PRegSet::empty(),
            PRegSet::empty(),
        ],
        scratch_by_class: [None; 3],
        fixed_stack_slots: vec![],
    }
}

/// Allocates registers.
///
/// # Errors
/// When the machine IR breaks its invariants.
pub fn allocate(flat: &Flat<'_>) -> Result<regalloc2::Output, Fault> {
    let options =
        RegallocOptions { verbose_log: false, validate_ssa: cfg!(debug_assertions), algorithm: Algorithm::Ion };
    let env = machine_env(flat.function.evex);
    let output = regalloc2::run(flat, &env, &options).map_err(|e| Fault(format!("register allocation: {e:?}")))?;
    #[cfg(test)]
    super::tests::allocation::check(flat, &env, &output)?;
    Ok(output)
}
