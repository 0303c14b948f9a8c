//! Classifies 8x8 images of digits with a model that is part of the program.
//!
//! `NNC=path/to/nnc cargo run < images.f32`; input: images of 64 floats each; output: one digit per line.

use std::ffi::c_void;
use std::io::{self, ErrorKind, Read};
use std::ptr;

use nnc_abi::{ModelDescriptor, RunArgs, Status};

unsafe extern "C" {
    safe static nnc_model_digits_cnn: ModelDescriptor;
}

/// Memory of one run, aligned as the ABI demands.
#[derive(Clone)]
#[repr(align(64))]
struct Block {
    _bytes: [u8; 64],
}

fn main() -> io::Result<()> {
    let model = &nnc_model_digits_cnn;
    let run = model.run.ok_or_else(|| io::Error::other("the model has no code"))?;
    let bytes = usize::try_from(model.workspace_bytes).map_err(io::Error::other)?;
    let mut workspace = vec![Block { _bytes: [0; 64] }; bytes.div_ceil(64)];
    let (mut image, mut logits) = ([0u8; 256], [0f32; 10]);
    loop {
        match io::stdin().read_exact(&mut image) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            read => read?,
        }
        let inputs = [image.as_ptr().cast::<c_void>()];
        let outputs = [logits.as_mut_ptr().cast::<c_void>()];
        let args = RunArgs {
            inputs: inputs.as_ptr(),
            input_dims: ptr::null(),
            outputs: outputs.as_ptr(),
            output_dims: ptr::null_mut(),
            workspace: workspace.as_mut_ptr().cast(),
            workspace_bytes: bytes as u64,
            weights: ptr::null(),
            context: ptr::null(),
            n_inputs: 1,
            n_outputs: 1,
            fault: ptr::null_mut(),
            states: std::ptr::null(),
            n_states: 0,
        };
        // SAFETY: one input of 64 floats, of any alignment, one output of 10, and as much workspace as the model asks for.
        let status = unsafe { run(&args) };
        if status != Status::Ok as i32 {
            return Err(io::Error::other(format!("status {status}")));
        }
        let best = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap_or(0);
        println!("{best}");
    }
}
