//! Compiling into this process's memory: for tests, tuning, and programs that bring their compiler along.

use crate::code::{Site, fill, weights_symbol};
use crate::cranelift::isa::isa;
use crate::emit::{Form, Listing};
use crate::object::weights::Layout;
use crate::{CodegenError, KernelCode, Options};
use cranelift_jit::{JITBuilder, JITModule};
use nnc_abi::{ALIGNMENT, ModelDescriptor};
use nnc_desc::Target;
use nnc_kernels::Program;

/// The in-memory compiler.
#[derive(Clone, Copy, Debug)]
pub struct Jit;

/// A model in memory: its code, its weights and its descriptor, which live as long as this.
pub struct JitModel {
    module: Option<JITModule>,
    descriptor: *const ModelDescriptor,
    // The code refers to these bytes.
    _weights: Vec<Line>,
    /// The kernels, in the program's order.
    pub kernels: Vec<KernelCode>,
}

/// An aligned piece of the weights.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; ALIGNMENT]);

// SAFETY: code, weights and descriptor are never written after compilation and are reached through shared references
// only; the module is kept solely to free its memory.
unsafe impl Send for JitModel {}
// SAFETY: as above.
unsafe impl Sync for JitModel {}

impl Jit {
    /// Compiles a program for this machine.
    ///
    /// # Errors
    /// As [`crate::compile`], and when this machine is not of the target's architecture or lacks one of its features.
    pub fn compile(program: &Program, target: &Target) -> Result<JitModel, CodegenError> {
        let host = Target::parse("native").ok().filter(|h| h.arch == target.arch);
        if !host.is_some_and(|h| target.features.iter().all(|f| h.features.has(f))) {
            return Err(CodegenError::WrongHost(target.name.clone()));
        }
        let layout = Layout::new(&program.weights);
        let mut weights = vec![Line([0; ALIGNMENT]); (layout.bytes as usize).div_ceil(ALIGNMENT)];
        let mut out = Lines { lines: &mut weights, at: 0 };
        let hash = layout.write_to(&program.weights, &mut out).map_err(|e| CodegenError::Program(e.to_string()))?;
        let names = cranelift_module::default_libcall_names();
        let mut builder = JITBuilder::with_isa(isa(target, false)?, names);
        builder.symbol(weights_symbol(program), weights.as_ptr().cast());
        let mut module = JITModule::new(builder);
        let mut listing = Listing::new(Form::None, target);
        let filled = fill(&mut module, program, target, &Options::default(), &layout, hash, Site::Far, &mut listing)?;
        module.finalize_definitions().map_err(|e| CodegenError::backend("memory", e))?;
        let (descriptor, _) = module.get_finalized_data(filled.descriptor);
        Ok(JitModel { module: Some(module), descriptor: descriptor.cast(), _weights: weights, kernels: filled.kernels })
    }
}

impl JitModel {
    /// The descriptor, valid as long as `self`.
    pub fn descriptor(&self) -> &ModelDescriptor {
        // SAFETY: the pointer is to a data object of the finalised module, laid out and aligned as a `ModelDescriptor`
        // by `object::descriptor`; the module is freed only when `self` is dropped.
        unsafe { &*self.descriptor }
    }
}

impl Drop for JitModel {
    fn drop(&mut self) {
        if let Some(module) = self.module.take() {
            // SAFETY: whoever calls the code holds a reference to `self` or to its descriptor, which borrows `self`.
            unsafe { module.free_memory() };
        }
    }
}

/// Writes into aligned memory.
struct Lines<'a> {
    lines: &'a mut [Line],
    at: usize,
}

impl std::io::Write for Lines<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut done = 0;
        while done < bytes.len() {
            let Some(line) = self.lines.get_mut(self.at / ALIGNMENT) else { break };
            let from = self.at % ALIGNMENT;
            let n = (ALIGNMENT - from).min(bytes.len() - done);
            line.0[from..from + n].copy_from_slice(&bytes[done..done + n]);
            (done, self.at) = (done + n, self.at + n);
        }
        Ok(done)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
