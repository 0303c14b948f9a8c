//! One instruction by itself: whether every processor of the target has it and does the same with it.

use iced_x86::{Code, CpuidFeature as Cpuid, EncodingKind, FlowControl, Instruction, Mnemonic as M, OpKind, Register};
use nnc_desc::{Feature, Features};

use super::{Defect, Kind};

/// What every x86-64 processor has, of what compilers use: no x87, no MMX, no system instructions.
const BASELINE: [Cpuid; 10] = [
    Cpuid::INTEL8086,
    Cpuid::INTEL186,
    Cpuid::INTEL286,
    Cpuid::INTEL386,
    Cpuid::INTEL486,
    Cpuid::X64,
    Cpuid::CMOV,
    Cpuid::MULTIBYTENOP,
    Cpuid::SSE,
    Cpuid::SSE2,
];

/// The CPUID bit of a feature of ours.
fn cpuid(feature: Feature) -> Option<Cpuid> {
    Some(match feature {
        Feature::Sse3 => Cpuid::SSE3,
        Feature::Ssse3 => Cpuid::SSSE3,
        Feature::Sse41 => Cpuid::SSE4_1,
        Feature::Sse42 => Cpuid::SSE4_2,
        Feature::Popcnt => Cpuid::POPCNT,
        Feature::Lzcnt => Cpuid::LZCNT,
        Feature::Bmi1 => Cpuid::BMI1,
        Feature::Bmi2 => Cpuid::BMI2,
        Feature::Avx => Cpuid::AVX,
        Feature::F16c => Cpuid::F16C,
        Feature::Fma => Cpuid::FMA,
        Feature::Avx2 => Cpuid::AVX2,
        Feature::Avx512f => Cpuid::AVX512F,
        Feature::Avx512bw => Cpuid::AVX512BW,
        Feature::Avx512dq => Cpuid::AVX512DQ,
        Feature::Avx512vl => Cpuid::AVX512VL,
        Feature::Avx512vnni => Cpuid::AVX512_VNNI,
        Feature::Avx512bf16 => Cpuid::AVX512_BF16,
        Feature::Neon | Feature::DotProd | Feature::Fp16 => return None,
    })
}

/// The CPUID bits that code may rely on.
pub(crate) struct Allowed([bool; 256]);

impl Allowed {
    pub(crate) fn new(features: Features) -> Allowed {
        let mut allowed = [false; 256];
        for bit in BASELINE.into_iter().chain(features.iter().filter_map(cpuid)) {
            allowed[bit as usize & 255] = true;
        }
        Allowed(allowed)
    }

    /// What an instruction needs beyond it.
    pub(crate) fn missing(&self, code: Code) -> Option<Cpuid> {
        code.cpuid_features().iter().copied().find(|f| !self.0[*f as usize & 255])
    }
}

/// Checks one instruction.
pub(super) fn check(inst: &Instruction, kind: Kind, allowed: &Allowed) -> Result<(), Defect> {
    let refuse = |why: &str| Defect::at(inst.ip() as usize, format!("{:?}: {why}", inst.code()));
    if let Some(feature) = allowed.missing(inst.code()) {
        return refuse(&format!("the target does not promise {feature:?}"));
    }
    let info = inst.op_code();
    let flow = inst.flow_control();
    if flow != FlowControl::Next && info.operand_size() == 16 {
        return refuse("processors differ on 16-bit branches and returns");
    }
    if inst.has_segment_prefix() || inst.has_rep_prefix() || inst.has_repne_prefix() || inst.is_string_instruction() {
        return refuse("a prefix or string instruction, of which generated code uses none");
    }
    if narrow_address(inst) {
        return refuse("a 32-bit address");
    }
    if info.is_privileged()
        || info.may_require_cpl0()
        || info.is_input_output()
        || !info.intel_decoder64()
        || !info.amd_decoder64()
    {
        return refuse("it is not for programs");
    }
    if inst.has_lock_prefix() && kind != Kind::Host {
        return refuse("kernels share nothing");
    }
    match flow {
        FlowControl::Call | FlowControl::IndirectCall if kind != Kind::Host => return refuse("only entry points call"),
        FlowControl::Return if inst.op_count() != 0 => return refuse("a return that drops arguments"),
        _ => {}
    }
    match inst.mnemonic() {
        // Estimates: each vendor has its own digits.
        M::Rcpps | M::Rcpss | M::Rsqrtps | M::Rsqrtss | M::Vrcpps | M::Vrcpss | M::Vrsqrtps | M::Vrsqrtss => {
            refuse("processors give different digits")
        }
        M::Stmxcsr | M::Ldmxcsr | M::Vstmxcsr | M::Vldmxcsr if kind != Kind::Environment => {
            refuse("only the entry points change the floating-point environment")
        }
        M::Std
        | M::Cld
        | M::Sti
        | M::Cli
        | M::Pushfq
        | M::Popfq
        | M::Lahf
        | M::Sahf
        | M::Syscall
        | M::Sysenter
        | M::Cpuid
        | M::Rdtsc
        | M::Int
        | M::Int1
        | M::Int3
        | M::Xlatb
        | M::Enter
        | M::Leave
        | M::Loop
        | M::Loope
        | M::Loopne
        | M::Jrcxz
        | M::Ud0
        | M::Ud1 => refuse("generated code has no use for it"),
        M::Pop | M::Push if non_canonical_stack(inst) => refuse("the long form, which some tools do not know"),
        M::Pop | M::Push if !matches!(inst.code(), Code::Pop_r64 | Code::Push_r64) => refuse("not a 64-bit register"),
        _ => Ok(()),
    }
}

fn non_canonical_stack(inst: &Instruction) -> bool {
    matches!(inst.code(), Code::Pop_rm64 | Code::Push_rm64) && inst.op0_kind() == OpKind::Register
}

fn narrow_address(inst: &Instruction) -> bool {
    let narrow = |r: Register| r.is_gpr32() || r.is_gpr16() || matches!(r, Register::EIP);
    narrow(inst.memory_base()) || narrow(inst.memory_index())
}

/// Whether an instruction is SSE code, which stalls or merges where upper halves of vector registers are dirty.
pub(super) fn is_sse(inst: &Instruction) -> bool {
    inst.encoding() == EncodingKind::Legacy && (0..inst.op_count()).any(|i| inst.op_register(i).is_xmm())
}

/// Whether an instruction touches more than 128 bits of a vector register.
pub(super) fn is_wide(inst: &Instruction) -> bool {
    let wide = |r: Register| r.is_ymm() || r.is_zmm();
    (0..inst.op_count()).any(|i| wide(inst.op_register(i))) || wide(inst.memory_index())
}

/// The alignment that an instruction demands of its memory operand.
pub(super) fn demanded_alignment(inst: &Instruction) -> Option<usize> {
    if !(0..inst.op_count()).any(|i| inst.op_kind(i) == OpKind::Memory) {
        return None;
    }
    let size = inst.memory_size().size();
    if size < 16 || matches!(inst.mnemonic(), M::Lea | M::Nop) {
        return None;
    }
    let demands = match inst.mnemonic() {
        M::Movaps | M::Movapd | M::Movdqa | M::Movntps | M::Movntpd | M::Movntdq | M::Movntdqa => true,
        M::Vmovaps | M::Vmovapd | M::Vmovdqa | M::Vmovdqa32 | M::Vmovdqa64 => true,
        M::Vmovntps | M::Vmovntpd | M::Vmovntdq | M::Vmovntdqa => true,
        M::Movups | M::Movupd | M::Movdqu | M::Lddqu => false,
        M::Pcmpestri | M::Pcmpestrm | M::Pcmpistri | M::Pcmpistrm => false,
        // SSE arithmetic faults on unaligned operands, AVX does not.
        _ => inst.encoding() == EncodingKind::Legacy,
    };
    demands.then_some(size)
}
