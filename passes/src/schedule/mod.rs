//! The schedule: how the loops of kernels, and the steps that run them, are laid onto the machine.
//!
//! What lowering emits says which loops may run in any order (`AxisKind::Free`); here it is decided how they do. Each
//! module is one transformation of a whole program, and a row of [`crate::pipeline::PASSES`].
//!
//! Invariants: a transformation changes no result; afterwards every step runs over the extent of its kernel's parallel loop.

mod chain;
mod collapse;
mod group;
mod join;
mod launch;
mod parallelise;
mod part;
mod partition;
mod share;
mod split;
mod unswitch;
mod work;

use crate::choose;
use crate::lower::Lowered;
use nnc_desc::Target;
use nnc_kernels::kernel::{Index, Kernel, Stmt, Var, VarInfo};
use nnc_kernels::plan::{Program, Step};
use nnc_kernels::walk::{Mention, walk};
use rustc_hash::FxHashMap;

/// Fuses loops nested perfectly in each other wherever every index sees them as one.
pub fn collapse(lowered: &mut Lowered, _: &Target) {
    each_kernel(&mut lowered.program, collapse::collapse);
}

/// Makes the outermost loop of each kernel the one that threads share.
pub fn parallelise(lowered: &mut Lowered, _: &Target) {
    each_kernel(&mut lowered.program, parallelise::parallelise);
}

/// Splits vector loops over several axes where an index has to tell the axes apart.
pub fn split(lowered: &mut Lowered, _: &Target) {
    each_kernel(&mut lowered.program, split::split);
}

/// Has kernels test once what sizes of axes they rely on.
pub fn unswitch(lowered: &mut Lowered, _: &Target) {
    each_kernel(&mut lowered.program, unswitch::unswitch);
}

pub use chain::chain;
pub use join::join;
pub use share::share;

/// Counts the work of the steps that do not know theirs.
pub fn count_work(lowered: &mut Lowered, target: &Target) {
    let program = &mut lowered.program;
    let kernels = &program.kernels;
    each_run(&mut program.steps, &mut |step| {
        if let Step::Run { kernel, params, work, .. } = step
            && work.is_const(0)
        {
            let kernel = &kernels[kernel.0 as usize];
            *work = choose::known(work::of_kernel(kernel, target, &kernel.sizes(params)));
        }
    });
}

/// What a kernel is for: its name without the number.
fn job(kernel: &Kernel) -> &str {
    let job = kernel.name.rsplit_once('_').filter(|(_, number)| number.bytes().all(|c| c.is_ascii_digit()));
    job.map_or(&kernel.name, |(job, _)| job)
}

/// Calls `f` on every step that runs a kernel, those in branches and loops included.
fn each_run(steps: &mut [Step], f: &mut dyn FnMut(&mut Step)) {
    for step in steps {
        match step {
            Step::Run { .. } => f(step),
            Step::If { then, otherwise, .. } => {
                each_run(then, f);
                each_run(otherwise, f);
            }
            Step::While { body, .. } => each_run(body, f),
            Step::Bind { .. } | Step::Check(_) | Step::Allocate { .. } | Step::Release { .. } => {}
        }
    }
}

/// Transforms every kernel, and has the steps run over what has become of its parallel loop.
fn each_kernel(program: &mut Program, transform: fn(&mut Kernel)) {
    program.kernels.iter_mut().for_each(transform);
    let kernels = &program.kernels;
    each_run(&mut program.steps, &mut |step| {
        if let Step::Run { kernel, params, extent, .. } = step {
            let kernel = &kernels[kernel.0 as usize];
            *extent = kernel.parallel.1.export(&kernel.sizes(params));
        }
    });
}

/// Calls `f` on every index of the statements.
fn for_each_index(statements: &mut [Stmt], f: &mut dyn FnMut(&mut Index)) {
    walk(statements, &mut |mention| {
        if let Mention::Index(index) = mention {
            f(index);
        }
    });
}

/// Substitutes a variable in every index of the statements; uses as plain expressions are left alone.
fn substitute(statements: &mut [Stmt], var: Var, by: &Index) {
    for_each_index(statements, &mut |i| *i = i.substitute(&|v| (v == var).then(|| by.clone())));
}

/// Whether a variable is used as an expression of its own.
fn mentions_as_value(statements: &mut [Stmt], var: Var) -> bool {
    let mut found = false;
    walk(statements, &mut |mention| found |= matches!(mention, Mention::Var(v) if *v == var));
    found
}

/// Gives the variables that the statements define names of their own in a kernel; `given` are those of others. `vars` is
/// what is known of the variables that the statements mention.
fn rename(statements: &mut [Stmt], vars: &[VarInfo], kernel: &mut Kernel, mut given: FxHashMap<Var, Var>) {
    walk(statements, &mut |mention| match mention {
        Mention::Definition(var) => {
            let copy = copy_var(kernel, &vars[var.0 as usize]);
            given.insert(*var, copy);
            *var = copy;
        }
        Mention::Var(var) => *var = given.get(var).copied().unwrap_or(*var),
        Mention::Index(index) => *index = renamed(index, &given),
        Mention::Buffer(_) | Mention::AxisKind(_) | Mention::Expr(_) => {}
    });
}

/// An index with variables of other names.
fn renamed(index: &Index, names: &FxHashMap<Var, Var>) -> Index {
    index.substitute(&|var| names.get(&var).map(|v| v.index()))
}

/// Adds a variable like another one.
fn copy_var(kernel: &mut Kernel, info: &VarInfo) -> Var {
    kernel.add_var(&info.name, info.dtype, info.min, info.max)
}

#[cfg(test)]
mod tests;
