//! Architectures and instruction-set extensions.

/// A processor architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arch {
    /// x86-64, System V calling convention.
    X86_64,
    /// 64-bit Arm, little-endian.
    Aarch64,
}

impl Arch {
    /// The name in target triples.
    pub const fn name(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86_64",
            Arch::Aarch64 => "aarch64",
        }
    }
}

macro_rules! features {
    ($($variant:ident, $name:literal, $arch:ident, $implies:expr, $doc:literal;)*) => {
        /// An instruction-set extension that code generation may use.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Feature { $(#[doc = $doc] $variant,)* }

        impl Feature {
            /// Every feature; a feature's position is its bit in [`Features`].
            pub const ALL: &'static [Feature] = &[$(Feature::$variant,)*];

            /// The name used on the command line.
            pub const fn name(self) -> &'static str {
                match self { $(Feature::$variant => $name,)* }
            }

            /// The architecture it belongs to.
            pub const fn arch(self) -> Arch {
                match self { $(Feature::$variant => Arch::$arch,)* }
            }

            /// Features it cannot be without.
            pub const fn implies(self) -> &'static [Feature] {
                match self { $(Feature::$variant => $implies,)* }
            }
        }
    };
}

features! {
    Sse3, "sse3", X86_64, &[], "SSE3";
    Ssse3, "ssse3", X86_64, &[Feature::Sse3], "SSSE3";
    Sse41, "sse4.1", X86_64, &[Feature::Ssse3], "SSE4.1";
    Sse42, "sse4.2", X86_64, &[Feature::Sse41], "SSE4.2";
    Popcnt, "popcnt", X86_64, &[], "POPCNT";
    Lzcnt, "lzcnt", X86_64, &[], "LZCNT";
    Bmi1, "bmi1", X86_64, &[], "BMI1";
    Bmi2, "bmi2", X86_64, &[Feature::Bmi1], "BMI2";
    Avx, "avx", X86_64, &[Feature::Sse42], "AVX";
    F16c, "f16c", X86_64, &[Feature::Avx], "half-precision conversion";
    Fma, "fma", X86_64, &[Feature::Avx], "FMA3";
    Avx2, "avx2", X86_64, &[Feature::Avx], "AVX2";
    Avx512f, "avx512f", X86_64, &[Feature::Avx2, Feature::Fma, Feature::F16c], "AVX-512 foundation";
    Avx512bw, "avx512bw", X86_64, &[Feature::Avx512f], "AVX-512 byte and word";
    Avx512dq, "avx512dq", X86_64, &[Feature::Avx512f], "AVX-512 doubleword and quadword";
    Avx512vl, "avx512vl", X86_64, &[Feature::Avx512f], "AVX-512 vector length";
    Avx512vnni, "avx512vnni", X86_64, &[Feature::Avx512bw], "AVX-512 int8 dot product";
    Avx512bf16, "avx512bf16", X86_64, &[Feature::Avx512bw], "AVX-512 bfloat16 dot product";
    Neon, "neon", Aarch64, &[], "Advanced SIMD";
    DotProd, "dotprod", Aarch64, &[Feature::Neon], "int8 dot product";
    Fp16, "fp16", Aarch64, &[Feature::Neon], "half-precision arithmetic";
}

/// A set of features, closed under [`Feature::implies`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Features(u64);

impl Features {
    /// The set of `features` and what they imply.
    pub fn of(features: &[Feature]) -> Features {
        features.iter().fold(Features::default(), |set, &f| set.with(f))
    }

    /// Whether it holds a feature.
    pub fn has(self, feature: Feature) -> bool {
        self.0 >> feature as u64 & 1 == 1
    }

    /// With a feature and what it implies.
    pub fn with(self, feature: Feature) -> Features {
        feature.implies().iter().fold(Features(self.0 | 1 << feature as u64), |set, &f| set.with(f))
    }

    /// Without a feature and what implies it.
    pub fn without(self, feature: Feature) -> Features {
        Feature::ALL
            .iter()
            .filter(|f| f.implies().contains(&feature) && self.has(**f))
            .fold(Features(self.0 & !(1 << feature as u64)), |set, &f| set.without(f))
    }

    /// The features, in declaration order.
    pub fn iter(self) -> impl Iterator<Item = Feature> {
        Feature::ALL.iter().copied().filter(move |f| self.has(*f))
    }
}
