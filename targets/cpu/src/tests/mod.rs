//! Tests that run what was compiled.

mod control;
mod emulated;
mod environment;
pub(crate) mod kernels;
mod program;

use crate::KernelCode;
use crate::code::define_kernel;
use crate::cranelift::isa::isa;
use crate::emit::{Form, Listing};
use cranelift_jit::{JITBuilder, JITModule};
use nnc_desc::Target;
use nnc_kernels::{Kernel, Program};

/// The function of a kernel.
type KernelFn = unsafe extern "C" fn(*const *mut u8, *const i64, i64, i64) -> i32;

/// A program without anything.
fn empty_program(name: &str) -> Program {
    Program {
        name: name.to_owned(),
        dims: Default::default(),
        inputs: vec![],
        outputs: vec![],
        weights: vec![],
        buffers: vec![],
        kernels: vec![],
        checks: vec![],
        steps: vec![],
        workspace_bytes: nnc_ir::Dim::ZERO,
    }
}

/// Compiles a kernel alone and runs it on these buffers.
fn run_kernel(
    kernel: &Kernel,
    target: &Target,
    buffers: &mut [Vec<u8>],
    params: &[i64],
    extent: i64,
) -> (i32, KernelCode) {
    let names = cranelift_module::default_libcall_names();
    let mut module = JITModule::new(JITBuilder::with_isa(isa(target, false).unwrap(), names));
    let mut listing = Listing::new(Form::None, target);
    let (id, code) =
        define_kernel(&mut module, &empty_program("m"), kernel, target, &mut listing).unwrap_or_else(|e| panic!("{e}"));
    module.finalize_definitions().unwrap();
    let address = module.get_finalized_function(id);
    // Poison around each buffer shows stray stores.
    let guard = 64;
    let mut guarded: Vec<Vec<u8>> =
        buffers.iter().map(|b| [vec![0xa5; guard], b.clone(), vec![0xa5; guard]].concat()).collect();
    let pointers: Vec<*mut u8> = guarded.iter_mut().map(|b| b[guard..].as_mut_ptr()).collect();
    // SAFETY: the address is that of a finished function of this type; the module lives until the end; the buffers are
    // as long as the interpreter, which checks every access, found them to be.
    let status = unsafe {
        let function: KernelFn = std::mem::transmute(address);
        function(pointers.as_ptr(), params.as_ptr(), 0, extent)
    };
    for (buffer, after) in buffers.iter_mut().zip(&guarded) {
        assert!(after[..guard].iter().chain(&after[after.len() - guard..]).all(|b| *b == 0xa5), "stray store");
        buffer.copy_from_slice(&after[guard..after.len() - guard]);
    }
    // SAFETY: nothing of the module is used any more.
    unsafe { module.free_memory() };
    (status, code)
}
