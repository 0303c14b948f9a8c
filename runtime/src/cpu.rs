//! Which features the processor and the operating system offer, in the bits of the ABI.

use std::sync::OnceLock;

use nnc_abi::Arch;

/// The features of this machine: bits of [`nnc_abi::x86_64`] or [`nnc_abi::aarch64`]. Detected once.
pub fn host_features() -> u64 {
    static FEATURES: OnceLock<u64> = OnceLock::new();
    *FEATURES.get_or_init(detect)
}

/// The bits of `required` that this machine lacks, or that the operating system refuses to this process.
pub(crate) fn missing(required: u64) -> u64 {
    let missing = required & !host_features();
    if missing == 0 && !permit(required) { required & permission_needed() } else { missing }
}

/// The names of features, separated by commas; bits that no name is known for as a number.
pub(crate) fn describe(arch: Arch, bits: u64) -> String {
    let known = nnc_abi::features_of(arch).iter().fold(0, |all, (_, bit)| all | bit);
    let mut names: Vec<String> = nnc_abi::names_of_features(arch, bits).map(str::to_owned).collect();
    if bits & !known != 0 {
        names.push(format!("unknown bits {:#x}", bits & !known));
    }
    names.join(", ")
}

#[cfg(target_arch = "x86_64")]
fn detect() -> u64 {
    use nnc_abi::x86_64::*;
    let mut found = 0;
    macro_rules! ask {
        ($($name:tt => $bit:ident,)*) => {
            $(if std::arch::is_x86_feature_detected!($name) { found |= $bit; })*
        };
    }
    ask! {
        "sse3" => SSE3,
        "ssse3" => SSSE3,
        "sse4.1" => SSE4_1,
        "sse4.2" => SSE4_2,
        "popcnt" => POPCNT,
        "avx" => AVX,
        "avx2" => AVX2,
        "fma" => FMA,
        "f16c" => F16C,
        "bmi1" => BMI1,
        "bmi2" => BMI2,
        "lzcnt" => LZCNT,
        "movbe" => MOVBE,
        "avx512f" => AVX512F,
        "avx512bw" => AVX512BW,
        "avx512dq" => AVX512DQ,
        "avx512vl" => AVX512VL,
        "avx512cd" => AVX512CD,
        "avx512vnni" => AVX512VNNI,
        "avx512bf16" => AVX512BF16,
        "avx512fp16" => AVX512FP16,
        "avx512vbmi" => AVX512VBMI,
        "avx512vbmi2" => AVX512VBMI2,
        "avx512ifma" => AVX512IFMA,
        "avx512bitalg" => AVX512BITALG,
        "avx512vpopcntdq" => AVX512VPOPCNTDQ,
        "avxvnni" => AVXVNNI,
        "avxvnniint8" => AVXVNNIINT8,
        "avxneconvert" => AVXNECONVERT,
        "avxifma" => AVXIFMA,
        "avxvnniint16" => AVXVNNIINT16,
    }
    // Miri interprets no assembly, and the features of its processor are those it was compiled for.
    found | if cfg!(miri) { 0 } else { detect_amx() }
}

/// AMX by hand, as std does not detect it: Intel SDM volume 2A, CPUID leaf 7, and XCR0 bits 17 and 18.
#[cfg(target_arch = "x86_64")]
fn detect_amx() -> u64 {
    use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};

    use nnc_abi::x86_64::*;

    const OSXSAVE: u32 = 1 << 27;
    const TILE_STATE: u64 = 0b11 << 17;

    #[target_feature(enable = "xsave")]
    fn xcr0() -> u64 {
        // SAFETY: the caller saw OSXSAVE, so XCR0 can be read.
        unsafe { _xgetbv(0) }
    }
    let (top, leaf1) = (__cpuid(0).eax, __cpuid(1));
    // SAFETY: OSXSAVE says that the instruction exists and is enabled.
    if top < 7 || leaf1.ecx & OSXSAVE == 0 || unsafe { xcr0() } & TILE_STATE != TILE_STATE {
        return 0;
    }
    // A sub-leaf that does not exist reads as zero.
    let (sub0, sub1) = (__cpuid_count(7, 0), __cpuid_count(7, 1));
    let bit = |register: u32, bit: u32, feature: u64| if register >> bit & 1 == 1 { feature } else { 0 };
    bit(sub0.edx, 24, AMX_TILE)
        | bit(sub0.edx, 25, AMX_INT8)
        | bit(sub0.edx, 22, AMX_BF16)
        | if sub0.eax >= 1 { bit(sub1.eax, 21, AMX_FP16) } else { 0 }
}

#[cfg(target_arch = "x86_64")]
fn permission_needed() -> u64 {
    use nnc_abi::x86_64::*;
    AMX_TILE | AMX_INT8 | AMX_BF16 | AMX_FP16
}

/// Linux hands out the tile registers only to a process that asks (Documentation/arch/x86/xstate.rst); asking enlarges
/// signal frames, so it is done only for a model that needs them.
#[cfg(target_arch = "x86_64")]
fn permit(required: u64) -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    required & permission_needed() == 0
        // SAFETY: arch_prctl with this code takes a number and changes nothing but the process's permission.
        || unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) } == 0
}

#[cfg(target_arch = "aarch64")]
fn detect() -> u64 {
    use nnc_abi::aarch64::*;
    const HWCAP2_SME: u64 = 1 << 23;
    let mut found = 0;
    macro_rules! ask {
        ($($name:tt => $bit:ident,)*) => {
            $(if std::arch::is_aarch64_feature_detected!($name) { found |= $bit; })*
        };
    }
    ask! {
        "neon" => NEON,
        "dotprod" => DOTPROD,
        "fp16" => FP16,
        "i8mm" => I8MM,
        "bf16" => BF16,
        "sve" => SVE,
        "sve2" => SVE2,
        "lse" => LSE,
        "fhm" => FHM,
        "rdm" => RDM,
    }
    // SAFETY: getauxval only reads the auxiliary vector.
    if unsafe { libc::getauxval(libc::AT_HWCAP2) } & HWCAP2_SME != 0 {
        found |= SME;
    }
    found
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn detect() -> u64 {
    0
}

#[cfg(not(target_arch = "x86_64"))]
fn permission_needed() -> u64 {
    0
}

#[cfg(not(target_arch = "x86_64"))]
fn permit(_required: u64) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_required_is_never_missing() {
        assert_eq!(missing(0), 0);
        assert_eq!(missing(1 << 63), 1 << 63);
        assert_eq!(describe(Arch::X86_64, 1 << 63 | 1 << 6), "avx2, unknown bits 0x8000000000000000");
    }

    /// The kernel's own list is an independent witness.
    #[cfg(target_arch = "x86_64")]
    #[test]
    #[cfg_attr(miri, ignore = "its processor is not the one of /proc")]
    fn agrees_with_proc_cpuinfo() {
        use nnc_abi::x86_64::*;
        let Ok(info) = std::fs::read_to_string("/proc/cpuinfo") else {
            return;
        };
        let Some(flags) = info.lines().find(|l| l.starts_with("flags")) else {
            return;
        };
        let flags: Vec<&str> = flags.split_whitespace().collect();
        let pairs = [("avx2", AVX2), ("fma", FMA), ("avx512f", AVX512F), ("avx512_vnni", AVX512VNNI)];
        for (name, bit) in pairs.into_iter().chain([("avx512_bf16", AVX512BF16), ("amx_tile", AMX_TILE)]) {
            assert_eq!(flags.contains(&name), host_features() & bit != 0, "{name}");
        }
    }
}
