//! A small assembler over iced-x86: finds the encoding of a mnemonic from its operands, resolves labels, and lays the
//! constant pool after the code.
//!
//! Invariants: code for AVX-512 targets uses EVEX wherever it exists, since operands may lie in registers 16 to 31;
//! the pool starts at a multiple of [`POOL_ALIGN`] from the start of the code.

use std::collections::HashMap;
use std::sync::OnceLock;

use iced_x86::{
    BlockEncoder, BlockEncoderOptions, Code, EncodingKind, Instruction, InstructionBlock, Mnemonic,
    OpCodeOperandKind as Kind, OpKind, Register,
};

use super::Fault;

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

/// Candidate codes of each mnemonic that matter here.
fn candidates(mnemonic: Mnemonic) -> &'static [Code] {
    static TABLE: OnceLock<HashMap<Mnemonic, Vec<Code>>> = OnceLock::new();
    let table = TABLE.get_or_init(|| {
        let mut table: HashMap<Mnemonic, Vec<Code>> = HashMap::new();
        for code in Code::values() {
            let info = code.op_code();
            let usable = matches!(info.encoding(), EncodingKind::Legacy | EncodingKind::VEX | EncodingKind::EVEX);
            if usable && info.mode64() && info.is_instruction() {
                table.entry(code.mnemonic()).or_default().push(code);
            }
        }
        table
    });
    table.get(&mnemonic).map_or(&[], Vec::as_slice)
}

/// Whether an operand may take this place.
fn fits(kind: Kind, arg: &Arg) -> bool {
    match arg {
        Arg::Reg(r) => match kind {
            Kind::r8_or_mem | Kind::r8_reg => r.is_gpr8(),
            Kind::r32_or_mem | Kind::r32_reg | Kind::r32_rm | Kind::r32_vvvv | Kind::r32_opcode => r.is_gpr32(),
            Kind::r64_or_mem | Kind::r64_reg | Kind::r64_rm | Kind::r64_vvvv | Kind::r64_opcode => r.is_gpr64(),
            Kind::xmm_or_mem | Kind::xmm_reg | Kind::xmm_rm | Kind::xmm_vvvv | Kind::xmm_is4 => r.is_xmm(),
            Kind::ymm_or_mem | Kind::ymm_reg | Kind::ymm_rm | Kind::ymm_vvvv | Kind::ymm_is4 => r.is_ymm(),
            Kind::zmm_or_mem | Kind::zmm_reg | Kind::zmm_rm | Kind::zmm_vvvv => r.is_zmm(),
            Kind::k_reg | Kind::k_rm | Kind::k_vvvv | Kind::k_or_mem => r.is_k(),
            _ => false,
        },
        Arg::Mem(_, index, _) => match kind {
            Kind::mem_vsib32x => index.is_some_and(|(r, _)| r.is_xmm()),
            Kind::mem_vsib32y => index.is_some_and(|(r, _)| r.is_ymm()),
            Kind::mem_vsib32z => index.is_some_and(|(r, _)| r.is_zmm()),
            _ => is_memory(kind) && !index.is_some_and(|(r, _)| r.is_vector_register()),
        },
        Arg::Pool(_) => is_memory(kind),
        Arg::Imm(value) => match kind {
            Kind::imm8 => (-128..256).contains(value),
            Kind::imm8sex32 | Kind::imm8sex64 => i8::try_from(*value).is_ok(),
            Kind::imm32sex64 => i32::try_from(*value).is_ok(),
            Kind::imm32 => i32::try_from(*value).is_ok() || u32::try_from(*value).is_ok(),
            Kind::imm64 => true,
            _ => false,
        },
        Arg::To(_) => matches!(kind, Kind::br64_1 | Kind::br64_4),
    }
}

fn is_memory(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::mem
            | Kind::r8_or_mem
            | Kind::r32_or_mem
            | Kind::r64_or_mem
            | Kind::xmm_or_mem
            | Kind::ymm_or_mem
            | Kind::zmm_or_mem
            | Kind::k_or_mem
    )
}

/// The register size in bytes that a memory-capable place stands for (0 when it is memory only).
fn place_bytes(kind: Kind) -> usize {
    match kind {
        Kind::r8_or_mem => 1,
        Kind::r32_or_mem => 4,
        Kind::r64_or_mem => 8,
        Kind::xmm_or_mem => 16,
        Kind::ymm_or_mem => 32,
        Kind::zmm_or_mem => 64,
        _ => 0,
    }
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

    fn select(&self, mnemonic: Mnemonic, args: &[Arg], extras: Extras) -> Option<Code> {
        let needs_evex = extras.mask.is_some() || extras.broadcast;
        let rank = |code: &Code| {
            let info = code.op_code();
            let encoding = match (info.encoding(), self.evex) {
                (EncodingKind::EVEX, true) | (EncodingKind::VEX, false) | (EncodingKind::Legacy, _) => 0,
                _ => 1,
            };
            // Short immediates first; of several memory forms the one without a register alternative, then the widest.
            let long = (0..info.op_count())
                .any(|i| matches!(info.op_kind(i), Kind::imm32sex64 | Kind::imm32 | Kind::imm64 | Kind::br64_1));
            let width: usize = (0..info.op_count()).map(|i| 64 - place_bytes(info.op_kind(i))).sum();
            (encoding, long, width)
        };
        candidates(mnemonic)
            .iter()
            .filter(|code| {
                let info = code.op_code();
                info.op_count() as usize == args.len()
                    && args.iter().enumerate().all(|(i, arg)| fits(info.op_kind(i as u32), arg))
                    && (!needs_evex || info.encoding() == EncodingKind::EVEX)
                    && (self.evex || info.encoding() != EncodingKind::EVEX)
                    && (!extras.broadcast || info.can_broadcast())
            })
            .min_by_key(|code| rank(code))
            .copied()
    }

    /// Appends an instruction.
    ///
    /// # Errors
    /// When no encoding takes these operands.
    pub fn emit(&mut self, mnemonic: Mnemonic, args: &[Arg], extras: Extras) -> Result<(), Fault> {
        let code = self
            .select(mnemonic, args, extras)
            .ok_or_else(|| Fault(format!("no encoding of {mnemonic:?} {args:?} {extras:?}")))?;
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
        Ok(())
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
