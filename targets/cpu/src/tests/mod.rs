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
use nnc_abi::{ModelDescriptor, PlanResult, RunArgs, RunContext};
use nnc_desc::Target;
use nnc_kernels::{Kernel, Program};
use std::ffi::c_void;

/// The function of a kernel.
type KernelFn = unsafe extern "C" fn(*const *mut u8, *const i64, i64, i64) -> i32;

/// A program without anything.
pub(crate) fn empty_program(name: &str) -> Program {
    Program::new(name, Default::default())
}

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line([u8; 64]);

/// What a model answered.
struct Called {
    status: i32,
    /// The output dimensions that `plan` gave.
    planned: Vec<i64>,
    /// The workspace that `plan` asked for.
    workspace_bytes: u64,
    /// The output dimensions that the run found.
    found: Vec<i64>,
}

/// Asks `plan`, then runs the model; a status of either other than 0 ends the call.
///
/// # Safety
/// The arguments are what the model's signature asks for.
unsafe fn call_model(
    model: &ModelDescriptor,
    dims: &[i64],
    inputs: &[*const c_void],
    outputs: &[*mut c_void],
    context: Option<&RunContext>,
) -> Called {
    let mut planned = vec![-1; model.output_dims_len as usize];
    let mut plan = PlanResult {
        out_dims: planned.as_mut_ptr(),
        workspace_bytes: 0,
        fault_dim: -1,
        fault_expected: -1,
        fault: nnc_abi::Fault::NONE,
    };
    // SAFETY: the dimensions are as many as the model takes and gives.
    let status = unsafe { (model.plan.unwrap())(dims.as_ptr(), &mut plan) };
    let workspace_bytes = plan.workspace_bytes;
    let mut found = vec![0; planned.len()];
    if status != 0 {
        return Called { status, planned, workspace_bytes, found };
    }
    let mut workspace = vec![Line([0xa5; 64]); workspace_bytes.div_ceil(64) as usize + 1];
    // SAFETY: the caller's promise; the workspace is larger than `plan` asks for.
    let status = unsafe {
        (model.run.unwrap())(&RunArgs {
            inputs: inputs.as_ptr(),
            input_dims: dims.as_ptr(),
            outputs: outputs.as_ptr(),
            output_dims: found.as_mut_ptr(),
            workspace: workspace.as_mut_ptr().cast(),
            workspace_bytes,
            weights: std::ptr::null(),
            context: context.map_or(std::ptr::null(), |c| c),
            n_inputs: inputs.len() as u32,
            n_outputs: outputs.len() as u32,
            fault: std::ptr::null_mut(),
            states: std::ptr::null(),
            n_states: 0,
        })
    };
    assert!(workspace.last().is_some_and(|line| line.0 == [0xa5; 64]), "stray store");
    Called { status, planned, workspace_bytes, found }
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
