//! The target table and its command-line syntax: `x86_64-avx2+avx512f,-fma`.

use crate::features::{Arch, Feature, Features};
use crate::rates::{self, Rates};

/// A processor that code is generated for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// As the user may write it: a base name and the features added to or taken from it.
    pub name: String,
    /// Architecture.
    pub arch: Arch,
    /// Extensions that may be used.
    pub features: Features,
    /// What work costs.
    pub rates: &'static Rates,
}

/// Why a target text was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The base name is not in the table.
    #[error("unknown target {0:?}: there are {known}", known = names())]
    UnknownTarget(String),
    /// A feature name is not one.
    #[error("target {target}: unknown feature {feature:?}: there are {known}", known = feature_names(*arch))]
    UnknownFeature {
        /// The whole text.
        target: String,
        /// Architecture of the base.
        arch: Arch,
        /// The word.
        feature: String,
    },
    /// `native` on a host that no target fits.
    #[error("no target fits this machine's processor: name one with --target, there are {known}", known = names())]
    NoNative,
}

struct Row {
    name: &'static str,
    arch: Arch,
    features: &'static [Feature],
    rates: &'static Rates,
}

const AVX2: &[Feature] = &[Feature::Avx2, Feature::Fma, Feature::F16c, Feature::Bmi2, Feature::Popcnt, Feature::Lzcnt];
const AVX512: &[Feature] = &[
    Feature::Avx512f,
    Feature::Avx512bw,
    Feature::Avx512dq,
    Feature::Avx512vl,
    Feature::Bmi2,
    Feature::Popcnt,
    Feature::Lzcnt,
];

const TABLE: &[Row] = &[
    Row { name: "x86_64", arch: Arch::X86_64, features: &[], rates: &rates::X86_64 },
    Row { name: "x86_64-avx2", arch: Arch::X86_64, features: AVX2, rates: &rates::X86_64_AVX2 },
    Row { name: "x86_64-avx512", arch: Arch::X86_64, features: AVX512, rates: &rates::X86_64_AVX512 },
    Row { name: "aarch64", arch: Arch::Aarch64, features: &[Feature::Neon], rates: &rates::AARCH64 },
];

fn names() -> String {
    let mut names: Vec<_> = TABLE.iter().map(|r| r.name).collect();
    names.push("native");
    names.join(", ")
}

fn feature_names(arch: Arch) -> String {
    let names: Vec<_> = Feature::ALL.iter().filter(|f| f.arch() == arch).map(|f| f.name()).collect();
    names.join(", ")
}

impl Target {
    /// Reads `BASE[(+|-)FEATURE,...]`, e.g. `native`, `x86_64-avx2`, `x86_64-avx512+avx512vnni,-avx512vl`.
    ///
    /// # Errors
    /// When a name is unknown.
    pub fn parse(text: &str) -> Result<Target, TargetError> {
        let base_row = TABLE
            .iter()
            .map(|r| r.name)
            .chain(["native"])
            .filter(|n| text.strip_prefix(*n).is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', '-', ','])))
            .max_by_key(|n| n.len())
            .ok_or_else(|| TargetError::UnknownTarget(text.to_owned()))?;
        let mut target = Target::named(base_row)?;
        let changes = &text[base_row.len()..];
        for change in changes.split(',').filter(|c| !c.is_empty()) {
            let (add, word) = match change.as_bytes()[0] {
                b'-' => (false, &change[1..]),
                b'+' => (true, &change[1..]),
                _ => (true, change),
            };
            let feature =
                Feature::ALL.iter().find(|f| f.arch() == target.arch && f.name() == word).ok_or_else(|| {
                    TargetError::UnknownFeature { target: text.to_owned(), arch: target.arch, feature: word.to_owned() }
                })?;
            target.features = if add { target.features.with(*feature) } else { target.features.without(*feature) };
        }
        if !changes.is_empty() {
            target.name = format!("{}{}", target.name, changes);
        }
        Ok(target)
    }

    fn named(name: &str) -> Result<Target, TargetError> {
        if name == "native" {
            return Target::native();
        }
        let row = TABLE.iter().find(|r| r.name == name).ok_or_else(|| TargetError::UnknownTarget(name.to_owned()))?;
        Ok(Target { name: row.name.to_owned(), arch: row.arch, features: Features::of(row.features), rates: row.rates })
    }

    /// The best row of the table that this machine's processor can run.
    fn native() -> Result<Target, TargetError> {
        let host = host_features().ok_or(TargetError::NoNative)?;
        let row = TABLE
            .iter()
            .rev()
            .filter(|r| r.arch == host.0)
            .find(|r| Features::of(r.features).iter().all(|f| host.1.has(f)))
            .ok_or(TargetError::NoNative)?;
        let mut target = Target::named(row.name)?;
        target.features = host.1;
        target.name = format!("{}+native", row.name);
        Ok(target)
    }

    /// Bytes of the widest vector that code for this target uses.
    pub fn vector_bytes(&self) -> usize {
        if self.features.has(Feature::Avx512f)
            && self.features.has(Feature::Avx512vl)
            && self.features.has(Feature::Avx512bw)
            && self.features.has(Feature::Avx512dq)
        {
            64
        } else if self.features.has(Feature::Avx2) && self.features.has(Feature::Fma) {
            32
        } else {
            16
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn host_features() -> Option<(Arch, Features)> {
    macro_rules! detect {
        ($($text:tt => $feature:ident),* $(,)?) => {{
            let mut set = Features::default();
            $(if std::is_x86_feature_detected!($text) { set = set.with(Feature::$feature); })*
            set
        }};
    }
    let set = detect! {
        "sse3" => Sse3, "ssse3" => Ssse3, "sse4.1" => Sse41, "sse4.2" => Sse42, "popcnt" => Popcnt,
        "lzcnt" => Lzcnt, "bmi1" => Bmi1, "bmi2" => Bmi2, "avx" => Avx, "f16c" => F16c, "fma" => Fma,
        "avx2" => Avx2, "avx512f" => Avx512f, "avx512bw" => Avx512bw, "avx512dq" => Avx512dq,
        "avx512vl" => Avx512vl, "avx512vnni" => Avx512vnni, "avx512bf16" => Avx512bf16,
    };
    Some((Arch::X86_64, set))
}

#[cfg(target_arch = "aarch64")]
fn host_features() -> Option<(Arch, Features)> {
    Some((Arch::Aarch64, Features::of(&[Feature::Neon])))
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn host_features() -> Option<(Arch, Features)> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_bases_and_feature_changes() {
        let avx2 = Target::parse("x86_64-avx2").unwrap();
        assert_eq!(avx2.vector_bytes(), 32);
        assert_eq!(Target::parse("x86_64").unwrap().vector_bytes(), 16);
        assert_eq!(Target::parse("x86_64-avx512").unwrap().vector_bytes(), 64);
        assert_eq!(Target::parse("x86_64-avx512+avx512vnni,-avx512vl").unwrap().vector_bytes(), 32);
        assert!(!Target::parse("x86_64-avx2-avx").unwrap().features.has(Feature::Avx2));
        assert!(Target::parse("native").is_ok());
    }

    #[test]
    fn refuses_unknown_names() {
        assert!(matches!(Target::parse("z80"), Err(TargetError::UnknownTarget(_))));
        assert!(matches!(Target::parse("x86_64+neon"), Err(TargetError::UnknownFeature { .. })));
    }
}
