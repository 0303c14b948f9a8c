//! How much of the target's vectors a kernel uses, and what is said of it when it is less than all.

use crate::KernelCode;
use crate::x86::Reason;
use std::collections::BTreeMap;

/// How much of the target's vectors a kernel uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Width {
    /// All.
    Full,
    /// All, but for vector loops that run one element at a time: why, each reason once.
    ScalarLoops(Vec<Reason>),
    /// 128 bits of wider vectors.
    Narrow(Reason),
}

impl Width {
    /// Why it is less than all; empty if it is all.
    pub fn reasons(&self) -> Vec<String> {
        match self {
            Width::Full => vec![],
            Width::ScalarLoops(reasons) => reasons.iter().map(|why| format!("loops without vectors: {why}")).collect(),
            Width::Narrow(why) => vec![format!("128-bit vectors: {why}")],
        }
    }
}

/// Most kernels that a note names.
const NAMED: usize = 3;

/// One line for each class of kernels that do not use the target's vectors fully.
pub fn notes(kernels: &[KernelCode]) -> Vec<String> {
    let mut classes: BTreeMap<(bool, Reason), Vec<&str>> = BTreeMap::new();
    for kernel in kernels {
        match &kernel.width {
            Width::Full => {}
            Width::Narrow(reason) => classes.entry((false, *reason)).or_default().push(&kernel.name),
            Width::ScalarLoops(reasons) => {
                for reason in reasons {
                    classes.entry((true, *reason)).or_default().push(&kernel.name);
                }
            }
        }
    }
    classes.into_iter().map(|((scalar, reason), names)| note(scalar, reason, &names)).collect()
}

fn note(scalar: bool, reason: Reason, names: &[&str]) -> String {
    let count = match names.len() {
        1 => "1 kernel".to_owned(),
        n => format!("{n} kernels"),
    };
    let what = match (scalar, names.len()) {
        (false, 1) => "runs with 128-bit vectors",
        (false, _) => "run with 128-bit vectors",
        (true, 1) => "has loops without vectors",
        (true, _) => "have loops without vectors",
    };
    let more = if names.len() > NAMED { ", ..." } else { "" };
    let names = names[..names.len().min(NAMED)].join(", ");
    format!("{count} {what}: {reason} ({names}{more})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_each_class() {
        let kernel = |name: &str, width| KernelCode { name: name.to_owned(), bytes: 1, width };
        let kernels = [
            kernel("map_0", Width::Full),
            kernel("map_1", Width::Narrow(Reason::F64)),
            kernel("map_2", Width::ScalarLoops(vec![Reason::Lanes64, Reason::F64])),
            kernel("map_3", Width::Narrow(Reason::F64)),
            kernel("map_4", Width::Narrow(Reason::F64)),
            kernel("map_5", Width::Narrow(Reason::F64)),
        ];
        assert_eq!(
            notes(&kernels),
            [
                "4 kernels run with 128-bit vectors: f64 arithmetic (map_1, map_3, map_4, ...)",
                "1 kernel has loops without vectors: f64 arithmetic (map_2)",
                "1 kernel has loops without vectors: 64-bit elements (map_2)",
            ]
        );
    }
}
