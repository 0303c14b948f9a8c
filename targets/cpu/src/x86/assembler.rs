//! A small assembler over iced-x86: resolves labels, and lays the constant pool after the code. Encodings are chosen in
//! `encoding`.
//!
//! Invariant: the pool starts at a multiple of [`POOL_ALIGN`] from the start of the code.

use iced_x86::{
    BlockEncoder, BlockEncoderOptions, Code, Instruction, InstructionBlock, Mnemonic, OpCodeOperandKind as Kind,
    OpKind, Register,
};

use super::Fault;
use super::encoding::choose;

/// Alignment of the constant pool, and so of the code.
pub const POOL_ALIGN: usize = 64;

/// A place in the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label(usize);

/// An operand with its registers.
#[derive(Clone, Copy, Debug)]
pub enum Arg {
    /// A register.
    Reg(Register),
    /// Memory: base, index with factor, displacement.
    Mem(Register, Option<(Register, u8)>, i32),
    /// Bytes from the start of the constant pool.
    Pool(i32),
    /// A constant.
    Imm(i64),
    /// A branch target.
    To(Label),
}

/// EVEX extras of an instruction.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extras {
    /// Write mask.
    pub mask: Option<Register>,
    /// Zeroing rather than merging.
    pub zeroing: bool,
    /// The memory operand is one element.
    pub broadcast: bool,
}

/// Instructions being collected.
pub struct Assembler {
    insts: Vec<Instruction>,
    labels: Vec<Option<usize>>,
    branches: Vec<(usize, Label)>,
    pool_uses: Vec<(usize, i32)>,
    evex: bool,
}

impl Assembler {
    /// An empty one.
    pub fn new(evex: bool) -> Assembler {
        Assembler { insts: vec![], labels: vec![], branches: vec![], pool_uses: vec![], evex }
    }

    /// A label to bind later.
    pub fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// Binds a label to the next instruction.
    pub fn bind(&mut self, label: Label) {
        self.labels[label.0] = Some(self.insts.len());
    }

    /// Appends an instruction.
    ///
    /// # Errors
    /// When no encoding takes these operands.
    pub fn emit(&mut self, mnemonic: Mnemonic, args: &[Arg], extras: Extras) -> Result<(), Fault> {
        let code = choose(mnemonic, args, extras, self.evex)
            .ok_or_else(|| Fault(format!("no encoding of {mnemonic:?} {args:?} {extras:?}")))?;
        self.encode_as(code, args, extras);
        Ok(())
    }

    /// Appends an instruction in a given encoding, which must take these operands.
    pub fn encode_as(&mut self, code: Code, args: &[Arg], extras: Extras) {
        let info = code.op_code();
        let mut inst = Instruction::default();
        inst.set_code(code);
        for (i, arg) in args.iter().enumerate() {
            let n = i as u32;
            match *arg {
                Arg::Reg(r) => {
                    inst.set_op_kind(n, OpKind::Register);
                    inst.set_op_register(n, r);
                }
                Arg::Mem(base, index, disp) => {
                    inst.set_op_kind(n, OpKind::Memory);
                    inst.set_memory_base(base);
                    if let Some((r, scale)) = index {
                        inst.set_memory_index(r);
                        inst.set_memory_index_scale(u32::from(scale));
                    }
                    inst.set_memory_displ_size(u32::from(disp != 0));
                    inst.set_memory_displacement64(i64::from(disp) as u64);
                }
                Arg::Pool(offset) => {
                    inst.set_op_kind(n, OpKind::Memory);
                    inst.set_memory_base(Register::RIP);
                    inst.set_memory_displ_size(8);
                    self.pool_uses.push((self.insts.len(), offset));
                }
                Arg::Imm(value) => {
                    let kind = match info.op_kind(n) {
                        Kind::imm8sex32 => OpKind::Immediate8to32,
                        Kind::imm8sex64 => OpKind::Immediate8to64,
                        Kind::imm32sex64 => OpKind::Immediate32to64,
                        Kind::imm32 => OpKind::Immediate32,
                        Kind::imm64 => OpKind::Immediate64,
                        _ => OpKind::Immediate8,
                    };
                    inst.set_op_kind(n, kind);
                    let value = match kind {
                        OpKind::Immediate8 => value as u8 as u64,
                        OpKind::Immediate32 => value as u32 as u64,
                        _ => value as u64,
                    };
                    inst.set_immediate_u64(n, value);
                }
                Arg::To(label) => {
                    inst.set_op_kind(n, OpKind::NearBranch64);
                    self.branches.push((self.insts.len(), label));
                }
            }
        }
        if let Some(mask) = extras.mask {
            inst.set_op_mask(mask);
            inst.set_zeroing_masking(extras.zeroing);
        }
        inst.set_is_broadcast(extras.broadcast);
        self.insts.push(inst);
    }

    /// Appends an instruction without extras.
    ///
    /// # Errors
    /// When no encoding takes these operands.
    pub fn op(&mut self, mnemonic: Mnemonic, args: &[Arg]) -> Result<(), Fault> {
        self.emit(mnemonic, args, Extras::default())
    }

    /// The code followed by the pool.
    ///
    /// # Errors
    /// When a label was never bound, or the code outgrows 32-bit displacements.
    pub fn finish(mut self, pool: &[u32]) -> Result<Vec<u8>, Fault> {
        let ip = |index: usize| 16 * (index as u64 + 1);
        let code_len = self.insts.len();
        for &(inst, label) in &self.branches {
            let target = self.labels[label.0].ok_or_else(|| Fault("unbound label".into()))?;
            self.insts[inst].set_near_branch64(ip(target));
        }
        let pool_ip = ip(code_len + POOL_ALIGN);
        for &(inst, offset) in &self.pool_uses {
            self.insts[inst].set_memory_displacement64(pool_ip + offset as u64 / 4 * 16);
        }
        for (i, inst) in self.insts.iter_mut().enumerate() {
            inst.set_ip(ip(i));
        }
        // The length of the code does not depend on the padding (no branch crosses it), so a first encoding tells it.
        let mut padding = 0;
        loop {
            let mut all = self.insts.clone();
            for i in 0..padding {
                let mut byte = declare(&[0xCC])?;
                byte.set_ip(ip(code_len + i));
                all.push(byte);
            }
            for (i, word) in pool.iter().enumerate() {
                let mut data = declare(&word.to_le_bytes())?;
                data.set_ip(pool_ip + 16 * i as u64);
                all.push(data);
            }
            let block = InstructionBlock::new(&all, 0);
            let result = BlockEncoder::encode(64, block, BlockEncoderOptions::NONE)
                .map_err(|e| Fault(format!("encoding: {e}")))?;
            let bytes = result.code_buffer;
            let code_bytes = bytes.len() - pool.len() * 4;
            if pool.is_empty() || code_bytes.is_multiple_of(POOL_ALIGN) {
                return Ok(bytes);
            }
            if padding != 0 {
                return Err(Fault("constant pool cannot be aligned".into()));
            }
            padding = POOL_ALIGN - code_bytes % POOL_ALIGN;
        }
    }
}

fn declare(bytes: &[u8]) -> Result<Instruction, Fault> {
    Instruction::with_declare_byte(bytes).map_err(|e| Fault(format!("constant pool: {e}")))
}
