//! Which encoding an instruction gets: from its mnemonic and operands to one iced [`Code`].
//!
//! Operand shapes alone do not tell: `ret` without operands is C3, but also 66 C3, which AMD processors execute as a
//! 16-bit return; `pop rbx` is 5B, but also 8F C3. So encodings are chosen by a rule:
//!
//! 1. [`plain`] codes only: 64-bit mode, the same meaning on Intel and AMD, no prefix that changes the size of operands
//!    to 16 bits or of addresses to 32, neither privileged nor reserved.
//! 2. EVEX for AVX-512 code, since operands may lie in registers 16 to 31; VEX for the rest; legacy where there is
//!    nothing else. Masks and broadcasts need EVEX.
//! 3. Of what remains, the shortest: short immediates before long ones, registers in the opcode byte before a ModRM
//!    byte, without W bit before with one, low opcode maps before high ones. Branches are the exception: the long form is chosen here, and shortened
//!    when distances are known.
//! 4. Where a memory operand's size would be a guess, there is no encoding: `mov [rax], 1` may store 4 bytes or 8.

use std::sync::OnceLock;

use iced_x86::{Code, EncodingKind, MemorySize, Mnemonic, OpCodeInfo, OpCodeOperandKind as Kind};
use rustc_hash::FxHashMap;

use super::assembler::{Arg, Extras};

/// The encoding of a mnemonic with these operands; `evex`: for AVX-512 code.
pub fn choose(mnemonic: Mnemonic, args: &[Arg], extras: Extras, evex: bool) -> Option<Code> {
    let needs_evex = extras.mask.is_some() || extras.broadcast;
    let usable = |code: &&Code| {
        let info = code.op_code();
        info.op_count() as usize == args.len()
            && args.iter().enumerate().all(|(i, arg)| fits(info.op_kind(i as u32), arg))
            && (!needs_evex || info.encoding() == EncodingKind::EVEX)
            && (evex || info.encoding() != EncodingKind::EVEX)
            && (!extras.broadcast || info.can_broadcast())
    };
    let preferred = |code: &Code| match code.encoding() {
        EncodingKind::EVEX => !evex,
        EncodingKind::VEX => evex,
        _ => false,
    };
    let key = |code: &Code| (preferred(code), length_class(code.op_code()), *code as usize);
    let candidates = || candidates(mnemonic).iter().filter(usable);
    let best = *candidates().min_by_key(|code| key(code))?;
    if args.iter().any(|a| matches!(a, Arg::Mem(..) | Arg::Pool(_))) {
        let size = |code: &Code| match code.op_code() {
            info if extras.broadcast => info.broadcast_memory_size(),
            info => info.memory_size(),
        };
        let bytes = |code: &Code| MemorySize::size(size(code));
        if candidates().any(|c| preferred(c) == preferred(&best) && bytes(c) != bytes(&best)) {
            return None;
        }
    }
    Some(best)
}

/// The plain codes of each mnemonic.
fn candidates(mnemonic: Mnemonic) -> &'static [Code] {
    static TABLE: OnceLock<FxHashMap<Mnemonic, Vec<Code>>> = OnceLock::new();
    let table = TABLE.get_or_init(|| {
        let mut table: FxHashMap<Mnemonic, Vec<Code>> = FxHashMap::default();
        for code in Code::values().filter(|code| plain(code.op_code())) {
            table.entry(code.mnemonic()).or_default().push(code);
        }
        table
    });
    table.get(&mnemonic).map_or(&[], Vec::as_slice)
}

/// Whether a code means the same on every processor that has it, and needs nothing of the system.
pub fn plain(info: &OpCodeInfo) -> bool {
    matches!(info.encoding(), EncodingKind::Legacy | EncodingKind::VEX | EncodingKind::EVEX)
        && info.is_instruction()
        && info.mode64()
        && info.intel_decoder64()
        && info.amd_decoder64()
        && info.operand_size() != 16
        && !matches!(info.address_size(), 16 | 32)
        && !info.fwait()
        && !info.is_privileged()
        && !info.is_reserved_nop()
}

/// Orders the encodings of one instruction by length: bytes of immediates, then a ModRM byte, then a W bit.
fn length_class(info: &OpCodeInfo) -> (u32, bool, bool) {
    let immediate = |kind| match kind {
        Kind::imm8 | Kind::imm8sex32 | Kind::imm8sex64 => 1,
        Kind::imm32 | Kind::imm32sex64 => 4,
        Kind::imm64 => 8,
        // The long branch is meant: see the module's description.
        Kind::br64_1 => 8,
        _ => 0,
    };
    let bytes = info.op_kinds().iter().map(|k| immediate(*k)).sum();
    let in_opcode = info.op_kinds().iter().any(|k| matches!(k, Kind::r32_opcode | Kind::r64_opcode));
    let wide = match info.encoding() {
        EncodingKind::Legacy => info.operand_size() == 64 && !info.default_op_size64(),
        _ => info.w() == 1,
    };
    (bytes, !in_opcode, wide)
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
