//! Equal kernels become one: equal layers then share their machine code.

use super::{each_run, job};
use crate::lower::Lowered;
use nnc_desc::Target;
use nnc_kernels::kernel::Kernel;
use nnc_kernels::plan::{KernelId, Step};
use rustc_hash::FxHashMap;

/// Leaves one of each kernel, numbered in the order of the steps.
pub fn share(lowered: &mut Lowered, _: &Target) {
    let program = &mut lowered.program;
    let mut given: Vec<Option<Kernel>> = std::mem::take(&mut program.kernels).into_iter().map(Some).collect();
    let mut became: Vec<Option<KernelId>> = vec![None; given.len()];
    let (mut kept, mut seen): (Vec<Kernel>, FxHashMap<Kernel, KernelId>) = Default::default();
    each_run(&mut program.steps, &mut |step| {
        let Step::Run { kernel: id, .. } = step else { return };
        let place = id.0 as usize;
        if let Some(mut kernel) = given[place].take() {
            // A name says what a kernel is for, and nothing about what it does.
            let name = job(&kernel).to_owned();
            kernel.name.clear();
            became[place] = Some(*seen.entry(kernel).or_insert_with_key(|kernel| {
                let id = KernelId(kept.len() as u32);
                kept.push(Kernel { name: format!("{name}_{}", id.0), ..kernel.clone() });
                id
            }));
        }
        *id = became[place].unwrap_or(*id);
    });
    program.kernels = kept;
}
