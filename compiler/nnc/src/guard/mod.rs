//! Runs a model in memory of exactly the sizes that it asks for, each tensor, the workspace and the weights between
//! pages that no access survives.
//!
//! Every run is made three times: all memory ending at a fence, all beginning after one, and all at odd addresses with
//! the work split as many threads would. The workspace holds other bytes each time, and so do the outputs before the
//! run: results that differ show that memory is read before it is written, or not written. Inputs and weights cannot be
//! written.
//!
//! Not found: an access outside of a value but inside of the workspace or the weights; a read of the bytes that round
//! workspace or weights up to their alignment (a write there is found).

pub mod fault;
mod memory;
#[cfg(test)]
mod tests;

use std::ffi::c_void;

use nnc_runtime::abi::{ALIGNMENT, ParallelBody, RunArgs, RunContext};
use nnc_runtime::{Model, Signature, StateInfo, Status, TensorRef};

use self::fault::Watched;
use self::memory::{Edge, Fenced};
use crate::array::Array;
use crate::errors::{Failure, Result};
use crate::{inputs, sizes};

/// A way to lay out the memory of a run.
struct Variant {
    /// For messages.
    name: &'static str,
    edge: Edge,
    workspace: u8,
    outputs: u8,
    threads: u32,
}

const VARIANTS: [Variant; 3] = [
    // As a float, 0xFF… is not a number.
    Variant { name: "memory ending at a fence", edge: Edge::End, workspace: 0xFF, outputs: 0xA5, threads: 1 },
    Variant { name: "memory beginning at a fence", edge: Edge::Start, workspace: 0, outputs: 0x5A, threads: 1 },
    Variant { name: "memory at odd addresses", edge: Edge::Odd, workspace: 0x7B, outputs: 0x3C, threads: 4 },
];

/// The most bytes of inputs, outputs and workspace of a run with made-up sizes.
const MOST_BYTES: u64 = 64 << 20;

/// The outputs of a run, or in a few words what is wrong with how it uses memory.
pub type Outcome = Result<Vec<Array>, String>;

/// Runs a model in every variant.
///
/// # Errors
/// When the inputs do not fit, the model refuses them, or there is no memory.
pub fn run(model: &Model, inputs: &[TensorRef<'_>]) -> Result<Outcome> {
    let mut first: Option<Vec<Array>> = None;
    for variant in &VARIANTS {
        let outputs = match variant.run(model, inputs)? {
            Ok(outputs) => outputs,
            Err(problem) => return Ok(Err(format!("{problem} ({})", variant.name))),
        };
        let Some(first) = &first else {
            first = Some(outputs);
            continue;
        };
        for ((one, other), info) in first.iter().zip(&outputs).zip(&model.signature().outputs) {
            if one.dims() != other.dims() || one.bytes() != other.bytes() {
                let name = &info.name;
                let (a, b) = (VARIANTS[0].name, variant.name);
                return Ok(Err(format!(
                    "output `{name}` depends on what memory held before: differs between {a} and {b}"
                )));
            }
        }
    }
    Ok(Ok(first.unwrap_or_default()))
}

/// Runs a model with symbols at small, odd and large sizes, on made-up inputs; what is wrong, if anything is.
///
/// # Errors
/// When there is no memory, or nnc is at fault.
pub fn sizes(model: &Model) -> Result<Option<String>> {
    let signature = model.signature();
    let symbols = signature.symbols.len();
    if symbols == 0 {
        return Ok(None);
    }
    let mut choices: Vec<Vec<i64>> = [0, 1, 2, 7, 33, 1001].iter().map(|&n| vec![n; symbols]).collect();
    if symbols > 1 {
        let mixed = [3, 0, 17, 1];
        choices.extend((0..mixed.len()).map(|k| (0..symbols).map(|i| mixed[(i + k) % mixed.len()]).collect()));
    }
    for mut values in choices {
        for (value, symbol) in values.iter_mut().zip(&signature.symbols) {
            *value = (*value).clamp(symbol.min, symbol.max);
        }
        // Sizes that the model refuses are none of this check's business.
        let Ok(dims) = sizes::input_dims(signature, &values) else { continue };
        let shapes: Vec<&[i64]> = dims.iter().map(Vec::as_slice).collect();
        let Ok(plan) = model.plan(&shapes) else { continue };
        if sizes::run_bytes(signature, &dims, &plan).is_none_or(|n| n > MOST_BYTES) {
            continue;
        }
        let made_up = inputs::random_at(signature, dims.clone())?;
        let views: Vec<TensorRef<'_>> = made_up.iter().map(Array::view).collect();
        match run(model, &views) {
            Ok(Ok(_)) => {}
            Ok(Err(problem)) => return Ok(Some(format!("inputs {dims:?}: {problem}"))),
            Err(failure) if failure.blame() == crate::errors::Blame::Compiler => return Err(failure),
            Err(_) => {}
        }
    }
    Ok(None)
}

impl Variant {
    fn run(&self, model: &Model, inputs: &[TensorRef<'_>]) -> Result<Outcome> {
        let signature = model.signature();
        let no_memory = |e: std::io::Error| Failure::user(format!("memory between fences: {e}"));
        let shapes: Vec<&[i64]> = inputs.iter().map(|t| t.dims).collect();
        let plan = model.plan(&shapes)?;
        for (info, given) in signature.inputs.iter().zip(inputs) {
            let count = given.dims.iter().try_fold(1u64, |n, &d| n.checked_mul(u64::try_from(d).ok()?));
            let bytes = count.and_then(|n| given.dtype.bytes_for(n));
            if given.dtype != info.dtype || bytes != Some(given.data.len() as u64) {
                return Err(Failure::user(format!("input `{}`: expected {info}, got {}", info.name, given.dtype)));
            }
        }
        let read =
            |name: String, bytes: &[u8], align| Fenced::read_only(name, bytes, align, self.edge).map_err(no_memory);
        let numbers = |n: &[i64]| -> Vec<u8> { n.iter().flat_map(|d| d.to_ne_bytes()).collect() };
        let tensors: Vec<Fenced> = signature
            .inputs
            .iter()
            .zip(inputs)
            .map(|(info, given)| read(format!("input `{}`", info.name), given.data, 1))
            .collect::<Result<_>>()?;
        let input_dims = read("the input dimensions".to_owned(), &numbers(&shapes.concat()), 8)?;
        let weights = read("the weights".to_owned(), model.weights(), ALIGNMENT)?;
        let written = |name: String, len: u64, align, fill| {
            let len = usize::try_from(len).map_err(|_| no_memory(std::io::ErrorKind::OutOfMemory.into()))?;
            Fenced::new(name, len, align, self.edge, fill).map_err(no_memory)
        };
        let outputs: Vec<Fenced> = signature
            .outputs
            .iter()
            .zip(&plan.output_bytes)
            .map(|(info, &bytes)| written(format!("output `{}`", info.name), bytes, 1, self.outputs))
            .collect::<Result<_>>()?;
        let output_dims = written("the output dimensions".to_owned(), 8 * signature.output_dims_len() as u64, 8, 0xFF)?;
        let blocks = self.blocks(signature, inputs, &written)?;
        let workspace = written("the workspace".to_owned(), plan.workspace_bytes, ALIGNMENT, self.workspace)?;

        // Memory for nothing may be anywhere, or nowhere.
        let pointer = |memory: &Fenced| -> *mut c_void {
            if self.edge == Edge::Start && memory.bytes().is_empty() {
                std::ptr::null_mut()
            } else {
                memory.pointer().cast()
            }
        };
        // The tensors of states lie in their blocks; the run has no business with these pointers.
        let unless_kept =
            |memory: &Fenced, kept: Option<usize>| kept.map_or_else(|| pointer(memory), |_| std::ptr::null_mut());
        let input_pointers =
            tensors.iter().enumerate().map(|(i, t)| unless_kept(t, signature.state_of_input(i)).cast_const());
        let input_pointers: Vec<*const c_void> = input_pointers.collect();
        let output_pointers = outputs.iter().enumerate().map(|(i, t)| unless_kept(t, signature.state_of_output(i)));
        let output_pointers: Vec<*mut c_void> = output_pointers.collect();
        let block_pointers: Vec<*mut c_void> = blocks.iter().map(pointer).collect();
        let context = RunContext {
            parallel_for: Some(last_first),
            pool: std::ptr::null_mut(),
            threads: self.threads,
            flags: 0,
            seed: 0,
            reserved: [0; 2],
        };
        let args = RunArgs {
            inputs: input_pointers.as_ptr(),
            input_dims: pointer(&input_dims).cast(),
            outputs: output_pointers.as_ptr(),
            output_dims: pointer(&output_dims).cast(),
            workspace: pointer(&workspace),
            workspace_bytes: plan.workspace_bytes,
            weights: if weights.bytes().is_empty() { std::ptr::null() } else { weights.pointer().cast() },
            context: if self.threads > 1 { &context } else { std::ptr::null() },
            n_inputs: tensors.len() as u32,
            n_outputs: outputs.len() as u32,
            fault: std::ptr::null_mut(),
            states: block_pointers.as_ptr(),
            n_states: blocks.len() as u64,
        };
        let entry = model.descriptor().run.ok_or_else(|| Failure::internal("the model has no `run`"))?;
        let all = || {
            tensors
                .iter()
                .chain([&input_dims, &weights])
                .chain(&outputs)
                .chain([&output_dims, &workspace])
                .chain(&blocks)
        };
        let mut watched = Watched { spans: all().map(Fenced::span).collect(), run: self.name };
        // SAFETY: `plan` has accepted the dimensions, and all memory has the sizes it gave; what the model does beyond
        // them faults or is found below.
        let code = fault::watch(&mut watched, || unsafe { entry(&args) });
        if let Some((memory, at)) = all().find_map(|m| Some((m, m.spoiled()?))) {
            let (name, len) = (memory.name(), memory.bytes().len());
            return Ok(Err(format!("writes byte {at} of {name}, which has {len} bytes")));
        }
        let status = Status::from_code(code).unwrap_or(Status::Internal);
        if status != Status::Ok {
            let message = format!("model `{}`: {status} (status {code})", signature.name);
            return Err(if status == Status::Internal { Failure::internal(message) } else { Failure::user(message) });
        }
        let given: Vec<i64> =
            output_dims.bytes().chunks_exact(8).map(|b| i64::from_ne_bytes(b.try_into().unwrap_or_default())).collect();
        let mut rest = &given[..];
        let mut results = vec![];
        for (i, ((info, memory), bound)) in signature.outputs.iter().zip(&outputs).zip(&plan.output_dims).enumerate() {
            let (dims, tail) = rest.split_at(info.dims.len());
            rest = tail;
            if dims.iter().zip(bound).any(|(&d, &most)| d < 0 || d > most) {
                return Ok(Err(format!("output `{}` has dimensions {dims:?}, planned were {bound:?}", info.name)));
            }
            let mut array = Array::zeros(info.dtype, dims.to_vec())?;
            match signature.state_of_output(i) {
                Some(k) => {
                    let taken = signature.states[k].bring_out(info.dtype, dims, blocks[k].bytes(), array.bytes_mut());
                    taken
                        .ok_or_else(|| Failure::internal(format!("output `{}` is no state of {dims:?}", info.name)))?;
                }
                None => {
                    let len = array.bytes().len();
                    array.bytes_mut().copy_from_slice(&memory.bytes()[..len]);
                }
            }
            results.push(array);
        }
        Ok(Ok(results))
    }
}

impl Variant {
    /// The blocks of states, which hold their inputs.
    fn blocks(
        &self,
        signature: &Signature,
        inputs: &[TensorRef<'_>],
        written: &dyn Fn(String, u64, usize, u8) -> Result<Fenced>,
    ) -> Result<Vec<Fenced>> {
        let block = |state: &StateInfo| {
            let (info, given) = (&signature.inputs[state.input], &inputs[state.input]);
            let unfit = || Failure::user(format!("the state of `{}` has no room for {:?}", info.name, given.dims));
            let bytes = state.block_bytes(info.dtype, given.dims).ok_or_else(unfit)?;
            let mut memory = written(format!("the state of `{}`", info.name), bytes as u64, 1, self.workspace)?;
            state.bring_in(info.dtype, given.dims, given.data, memory.bytes_mut()).ok_or_else(unfit)?;
            Ok(memory)
        };
        signature.states.iter().map(block).collect()
    }
}

/// A loop in pieces as small as allowed, the last one first, on the calling thread.
unsafe extern "C" fn last_first(_: *mut c_void, count: i64, grain: i64, body: ParallelBody, data: *mut c_void) {
    let grain = grain.max(1);
    let pieces = if count < 1 { 0 } else { (count - 1) / grain + 1 };
    for piece in (0..pieces).rev() {
        let begin = piece * grain;
        // SAFETY: the model's own function on a part of its range; ranges are disjoint and cover all of it.
        unsafe { body(data, begin, count.min(begin.saturating_add(grain))) };
    }
}
