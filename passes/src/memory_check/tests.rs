//! Plans that hold, and broken ones that are found.

use super::*;
use nnc_ir::{DType, DimTable, SymbolInfo};
use nnc_kernels::kernel::{Access, Kernel};
use nnc_kernels::plan::{Argument, Buffer, BufferId, KernelId, Step};

/// A program of buffers of the given sizes, and steps each using the named ones.
fn program(sizes: &[Dim], steps: &[&[u32]], dims: DimTable) -> Program {
    let buffer = |(i, bytes): (usize, &Dim)| Buffer {
        name: format!("b{i}"),
        dtype: DType::U8,
        bytes: bytes.clone(),
        place: Place::Workspace { offset: Dim::from(0) },
    };
    let step = |used: &&[u32]| Step::Run {
        kernel: KernelId(0),
        arguments: used.iter().map(|&b| Argument { buffer: BufferId(b), offset: Dim::from(0) }).collect(),
        params: vec![],
        extent: Dim::from(1),
        work: Dim::from(1),
        apart: false,
        origin: String::new(),
    };
    let mut kernel = Kernel::new("k");
    kernel.add_buffer("x", DType::U8, Access::Read);
    kernel.add_buffer("y", DType::U8, Access::Write);
    Program {
        name: "p".into(),
        dims,
        inputs: vec![],
        states: vec![],
        outputs: vec![],
        weights: vec![],
        buffers: sizes.iter().enumerate().map(buffer).collect(),
        kernels: vec![kernel],
        checks: vec![],
        steps: steps.iter().map(step).collect(),
        workspace_bytes: Dim::from(0),
    }
}

#[test]
fn a_chain_uses_two_buffers_worth_of_bytes() {
    let sizes = vec![Dim::from(100); 5];
    let mut p = program(&sizes, &[&[0, 1], &[1, 2], &[2, 3], &[3, 4]], DimTable::default());
    crate::memory::plan(&mut p);
    assert_eq!(check(&p), Ok(()));
    assert_eq!(p.workspace_bytes, Dim::from(256));
}

#[test]
fn symbolic_buffers_share_slots_and_stay_apart() {
    let mut dims = DimTable::default();
    let n = Dim::sym(dims.new_symbol(SymbolInfo::input("n")));
    let sizes = vec![&n * 4, &n * 8, &n * 4, Dim::from(64)];
    let mut p = program(&sizes, &[&[0, 1], &[1, 2], &[2, 3]], dims);
    crate::memory::plan(&mut p);
    assert_eq!(check(&p), Ok(()));
    assert!(p.workspace_bytes.symbols().len() == 1);
}

/// A buffer lives to its last use, whatever comes between.
#[test]
fn a_buffer_read_again_is_alive() {
    let sizes = vec![Dim::from(100); 2];
    for (steps, fits) in [(&[&[0][..], &[1], &[0]][..], false), (&[&[0], &[0], &[1]], true)] {
        let mut p = program(&sizes, steps, DimTable::default());
        p.workspace_bytes = Dim::from(128);
        assert_eq!(check(&p).is_ok(), fits, "{steps:?}");
    }
}

#[test]
fn overlapping_live_buffers_are_found() {
    let sizes = vec![Dim::from(100); 2];
    let mut p = program(&sizes, &[&[0, 1]], DimTable::default());
    p.workspace_bytes = Dim::from(256);
    p.buffers[1].place = Place::Workspace { offset: Dim::from(64) };
    assert!(check(&p).is_err_and(|e| e.to_string().contains("share bytes")));
    p.buffers[1].place = Place::Workspace { offset: Dim::from(192) };
    assert!(check(&p).is_err_and(|e| e.to_string().contains("ends past")));
}
