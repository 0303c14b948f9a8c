//! Processor architectures and the bits that name their features.
//!
//! Only the assignment lives here; `nnc-runtime` detects, `nnc-desc` decides which target needs which.

/// A processor architecture, as in `ModelDescriptor::arch`.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Arch {
    /// 64-bit x86.
    X86_64 = 1,
    /// 64-bit little-endian Arm.
    Aarch64 = 2,
}

impl Arch {
    /// Every architecture.
    pub const ALL: [Arch; 2] = [Arch::X86_64, Arch::Aarch64];

    /// The architecture this crate was compiled for, if it is a known one.
    pub const HOST: Option<Arch> = if cfg!(target_arch = "x86_64") {
        Some(Arch::X86_64)
    } else if cfg!(all(target_arch = "aarch64", target_endian = "little")) {
        Some(Arch::Aarch64)
    } else {
        None
    };

    /// The architecture with this id.
    pub const fn from_code(code: u32) -> Option<Arch> {
        match code {
            1 => Some(Arch::X86_64),
            2 => Some(Arch::Aarch64),
            _ => None,
        }
    }

    /// The name used in target triples and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86_64",
            Arch::Aarch64 => "aarch64",
        }
    }

    /// The ELF header's `e_machine`.
    pub const fn elf_machine(self) -> u16 {
        match self {
            Arch::X86_64 => 62,
            Arch::Aarch64 => 183,
        }
    }
}

/// A named bit of `ModelDescriptor::features`.
pub type Feature = (&'static str, u64);

macro_rules! features {
    ($(#[$doc:meta])* $module:ident { $($name:ident = $bit:literal $text:literal,)* }) => {
        $(#[$doc])*
        pub mod $module {
            $(#[doc = concat!("The feature `", $text, "`.")] pub const $name: u64 = 1 << $bit;)*

            /// Every feature with its name, by ascending bit.
            pub const ALL: &[super::Feature] = &[$(($text, $name)),*];
        }
    };
}

features! {
    /// Feature bits of [`Arch::X86_64`]. SSE2 is part of the architecture and has none.
    x86_64 {
        SSE3 = 0 "sse3",
        SSSE3 = 1 "ssse3",
        SSE4_1 = 2 "sse4.1",
        SSE4_2 = 3 "sse4.2",
        POPCNT = 4 "popcnt",
        AVX = 5 "avx",
        AVX2 = 6 "avx2",
        FMA = 7 "fma",
        F16C = 8 "f16c",
        BMI1 = 9 "bmi1",
        BMI2 = 10 "bmi2",
        LZCNT = 11 "lzcnt",
        MOVBE = 12 "movbe",
        AVX512F = 16 "avx512f",
        AVX512BW = 17 "avx512bw",
        AVX512DQ = 18 "avx512dq",
        AVX512VL = 19 "avx512vl",
        AVX512CD = 20 "avx512cd",
        AVX512VNNI = 21 "avx512vnni",
        AVX512BF16 = 22 "avx512bf16",
        AVX512FP16 = 23 "avx512fp16",
        AVX512VBMI = 24 "avx512vbmi",
        AVX512VBMI2 = 25 "avx512vbmi2",
        AVX512IFMA = 26 "avx512ifma",
        AVX512BITALG = 27 "avx512bitalg",
        AVX512VPOPCNTDQ = 28 "avx512vpopcntdq",
        AVXVNNI = 32 "avxvnni",
        AVXVNNIINT8 = 33 "avxvnniint8",
        AVXNECONVERT = 34 "avxneconvert",
        AVXIFMA = 35 "avxifma",
        AVXVNNIINT16 = 36 "avxvnniint16",
        AMX_TILE = 40 "amx-tile",
        AMX_INT8 = 41 "amx-int8",
        AMX_BF16 = 42 "amx-bf16",
        AMX_FP16 = 43 "amx-fp16",
    }
}

features! {
    /// Feature bits of [`Arch::Aarch64`].
    aarch64 {
        NEON = 0 "neon",
        DOTPROD = 1 "dotprod",
        FP16 = 2 "fp16",
        I8MM = 3 "i8mm",
        BF16 = 4 "bf16",
        SVE = 5 "sve",
        SVE2 = 6 "sve2",
        LSE = 7 "lse",
        FHM = 8 "fhm",
        RDM = 9 "rdm",
        SME = 10 "sme",
    }
}

/// The features of an architecture, by ascending bit.
pub const fn features_of(arch: Arch) -> &'static [Feature] {
    match arch {
        Arch::X86_64 => x86_64::ALL,
        Arch::Aarch64 => aarch64::ALL,
    }
}

/// The names of the features set in `bits`; a bit without a name is passed over.
pub fn names_of_features(arch: Arch, bits: u64) -> impl Iterator<Item = &'static str> {
    features_of(arch).iter().filter(move |(_, bit)| bits & bit != 0).map(|&(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_and_names_are_distinct() {
        for arch in Arch::ALL {
            assert_eq!(Arch::from_code(arch as u32), Some(arch));
            let all = features_of(arch);
            let mut seen = 0;
            for (i, (name, bit)) in all.iter().enumerate() {
                assert_eq!(bit.count_ones(), 1);
                assert_eq!(seen & bit, 0, "{name}");
                seen |= bit;
                assert!(all[..i].iter().all(|(other, _)| other != name), "{name}");
            }
        }
        assert!(names_of_features(Arch::X86_64, x86_64::AVX2 | x86_64::FMA).eq(["avx2", "fma"]));
    }
}
