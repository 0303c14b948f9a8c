//! Fills a Cranelift module with a program: kernels, entry points, descriptor.
//!
//! The same for objects and for memory. Each kernel is offered to the wide x86 generator first; Cranelift lowers what it
//! declines. Kernels are compiled in the program's order, so the same program gives the same bytes.

use crate::check::Kind;
use crate::cranelift::isa::Abilities;
use crate::cranelift::{lower, signature};
use crate::emit::Listing;
use crate::error::CodegenError;
use crate::host::{Faults, Host};
use crate::object::descriptor::{self, Facts};
use crate::object::weights::Layout;
use crate::{KernelCode, Options, Width, x86};
use cranelift_codegen::ir::UserFuncName;
use cranelift_frontend::FunctionBuilderContext;
use cranelift_module::{DataId, FuncId, Linkage, Module};
use nnc_desc::Target;
use nnc_kernels::kernel::AxisKind;
use nnc_kernels::{Kernel, Program, Stmt};

/// What a module was filled with.
pub(crate) struct Filled {
    /// The descriptor.
    pub(crate) descriptor: DataId,
    /// The kernels, in the program's order.
    pub(crate) kernels: Vec<KernelCode>,
}

/// Where weights will be, as code sees them.
#[derive(Clone, Copy)]
pub(crate) enum Site<'a> {
    /// In the same object.
    Near,
    /// Anywhere in this process.
    Far,
    /// In a file of this name, which the caller of a run maps.
    Beside(&'a str),
}

/// The symbol of a program's weights.
pub(crate) fn weights_symbol(program: &Program) -> String {
    format!("nnc_weights_{}", program.name)
}

/// Defines everything but the weights in `module`.
#[allow(clippy::too_many_arguments, reason = "one call, from two places")]
pub(crate) fn fill<M: Module>(
    module: &mut M,
    program: &Program,
    target: &Target,
    options: &Options,
    layout: &Layout,
    weights_hash: [u8; 32],
    site: Site<'_>,
    listing: &mut Listing,
) -> Result<Filled, CodegenError> {
    let weights = match (layout.bytes, site) {
        (0, _) | (_, Site::Beside(_)) => None,
        _ => Some(
            module
                .declare_data(&weights_symbol(program), Linkage::Import, false, false)
                .map_err(|e| CodegenError::backend("weights", e))?,
        ),
    };
    let mut functions = vec![];
    let mut kernels = vec![];
    let mut fails = vec![];
    for kernel in &program.kernels {
        let (id, code) = define_kernel(module, program, kernel, target, listing)?;
        functions.push(id);
        fails.push(may_fail(&kernel.body));
        kernels.push(code);
    }
    let faults = Faults::of(program, &fails);
    let entries = Host {
        module,
        program,
        target,
        kernels: &functions,
        fails: &fails,
        weights,
        offsets: &layout.offsets,
        beside: matches!(site, Site::Beside(_)),
        near: matches!(site, Site::Near),
        listing,
        environment: None,
        trampoline: None,
        faults: &faults,
        report: None,
        releaser: None,
        functions: 0,
    }
    .entries()?;
    let facts = Facts {
        target,
        compiler: &options.compiler,
        source_hash: options.source_hash,
        weights_hash,
        weights,
        weights_file: if let Site::Beside(name) = site { Some(name) } else { None },
        weights_bytes: layout.bytes,
        code_bytes: listing.code_bytes,
        entries,
        faults: &faults.texts,
        widths: &crate::width::notes(&kernels),
    };
    let descriptor = descriptor::define(module, program, &facts)?;
    Ok(Filled { descriptor, kernels })
}

pub(crate) fn define_kernel<M: Module>(
    module: &mut M,
    program: &Program,
    kernel: &Kernel,
    target: &Target,
    listing: &mut Listing,
) -> Result<(FuncId, KernelCode), CodegenError> {
    let name = format!("{}.{}", program.name, kernel.name);
    let signature = signature(module.isa().default_call_conv());
    let id = module.declare_function(&name, Linkage::Local, &signature).map_err(|e| CodegenError::backend(&name, e))?;
    let expanded = nnc_kernels::math::expand(kernel);
    let mut width = Width::Full;
    if x86::serves(target) {
        let wide = x86::compile(&expanded, target).map_err(|e| CodegenError::kernel(&kernel.name, e.to_string()))?;
        match wide {
            Ok(code) => {
                listing.define_bytes(module, id, &name, Kind::Kernel, code.align, &code.bytes)?;
                if !code.scalar_loops.is_empty() {
                    width = Width::ScalarLoops(code.scalar_loops);
                }
                return Ok((id, KernelCode { name: kernel.name.clone(), bytes: code.bytes.len() as u64, width }));
            }
            Err(reason) if has_lanes(&kernel.body) => width = Width::Narrow(reason),
            Err(_) => {}
        }
    }
    let mut context = module.make_context();
    context.func.signature = signature;
    context.func.name = UserFuncName::user(0, id.as_u32());
    let mut builder = FunctionBuilderContext::new();
    lower(&expanded, module.isa(), Abilities::of(target), &mut context.func, &mut builder)?;
    let bytes = listing.define(module, id, &name, Kind::Kernel, &mut context)?;
    Ok((id, KernelCode { name: kernel.name.clone(), bytes, width }))
}

/// Whether vectors do any of the work.
fn has_lanes(stmts: &[Stmt]) -> bool {
    stmts.iter().any(|s| {
        s.any(&|s| match s {
            Stmt::For(header, _) | Stmt::Reduce(header, ..) => header.axis == AxisKind::Vector,
            _ => matches!(s, Stmt::Contract(_)),
        })
    })
}

/// Whether a kernel can answer anything but 0.
fn may_fail(stmts: &[Stmt]) -> bool {
    stmts.iter().any(|s| s.any(&|s| matches!(s, Stmt::Fail(_))))
}
