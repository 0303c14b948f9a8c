//! Cranelift's target, from ours.

use crate::error::CodegenError;
use cranelift_codegen::isa::{self, OwnedTargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use nnc_desc::{Arch, Feature, Target};

/// What the lowering itself must know of a target: operations without these would become calls into a runtime library,
/// which artifacts do not have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Abilities {
    /// Rounding instructions.
    pub(crate) round: bool,
    /// Fused multiply-add.
    pub(crate) fma: bool,
    /// Rows of a GEMM tile of two vectors, by the size of the register file.
    pub(crate) tile_rows: usize,
    /// Whether Cranelift may make a load part of a vector comparison that faults unless memory is aligned: it does
    /// not ask when it selects `cmpps` and `cmppd`, as it does for all other instructions without AVX.
    pub(crate) comparison_faults: bool,
}

impl Abilities {
    pub(crate) fn of(target: &Target) -> Abilities {
        match target.arch {
            Arch::X86_64 => Abilities {
                round: target.features.has(Feature::Sse41),
                fma: target.features.has(Feature::Fma),
                tile_rows: 4,
                comparison_faults: !target.features.has(Feature::Avx),
            },
            Arch::Aarch64 => Abilities { round: true, fma: true, tile_rows: 8, comparison_faults: false },
        }
    }
}

/// Cranelift's flag for a feature; the others are of no use to it.
fn flag(feature: Feature) -> Option<&'static str> {
    Some(match feature {
        Feature::Sse3 => "has_sse3",
        Feature::Ssse3 => "has_ssse3",
        Feature::Sse41 => "has_sse41",
        Feature::Sse42 => "has_sse42",
        Feature::Popcnt => "has_popcnt",
        Feature::Lzcnt => "has_lzcnt",
        Feature::Bmi1 => "has_bmi1",
        Feature::Bmi2 => "has_bmi2",
        Feature::Avx => "has_avx",
        Feature::Avx2 => "has_avx2",
        Feature::Fma => "has_fma",
        Feature::Avx512f => "has_avx512f",
        Feature::Avx512dq => "has_avx512dq",
        Feature::Avx512vl => "has_avx512vl",
        Feature::F16c
        | Feature::Avx512bw
        | Feature::Avx512vnni
        | Feature::Avx512bf16
        | Feature::Neon
        | Feature::DotProd
        | Feature::Fp16 => return None,
    })
}

/// The instruction set for ELF objects on Linux, or for memory of this process.
pub(crate) fn isa(target: &Target, pic: bool) -> Result<OwnedTargetIsa, CodegenError> {
    let fail = |e: &dyn std::fmt::Display| CodegenError::backend(&target.name, e);
    let mut flags = settings::builder();
    let choices = [
        ("opt_level", "speed"),
        ("is_pic", if pic { "true" } else { "false" }),
        ("unwind_info", "false"),
        ("enable_probestack", "false"),
        ("enable_verifier", if cfg!(debug_assertions) { "true" } else { "false" }),
    ];
    for (name, value) in choices {
        flags.set(name, value).map_err(|e| fail(&e))?;
    }
    let triple = match target.arch {
        Arch::X86_64 => "x86_64-unknown-linux-gnu",
        Arch::Aarch64 => "aarch64-unknown-linux-gnu",
    };
    let mut builder = isa::lookup_by_name(triple).map_err(|e| fail(&e))?;
    for name in target.features.iter().filter_map(flag) {
        builder.enable(name).map_err(|e| fail(&e))?;
    }
    builder.finish(settings::Flags::new(flags)).map_err(|e| fail(&e))
}
