//! Models with free dimensions in memory of exactly the sizes that they ask for, at sizes 0, 1, odd and large.

use std::process::Command;

use crate::common::{NNC, root, run, targets};

#[test]
fn cases_use_no_memory_but_their_own() {
    for target in targets() {
        let mut nnc = Command::new(NNC);
        nnc.args(["test", "--guard", "--target", target]).arg(root().join("testsuite/cases"));
        let report = run(&mut nnc);
        assert!(report.contains(", 0 failed"), "{target}: {report}");
    }
}
