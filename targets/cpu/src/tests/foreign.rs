//! Kernels for another architecture, run under emulation where `qemu-aarch64` and a cross compiler are installed.
//!
//! All kernels go into one program, each with its buffers as inputs and outputs; a C program reads their bytes from one
//! file, runs the model and writes the outputs' bytes to another.

use super::empty_program;
use super::kernels::{Trial, binary_trials, conversion_trials, unary_trials};
use crate::{Options, compile};
use nnc_desc::Target;
use nnc_ir::Dim;
use nnc_kernels::kernel::Access;
use nnc_kernels::plan::Parameter;
use nnc_kernels::{Argument, Buffer, BufferId, KernelId, Place, Program, Step, generate, interpret};
use std::process::Command;

const HARNESS: &str = r#"
#include "foreign.h"
#include <stdio.h>
#include <stdlib.h>
static size_t bytes(const struct nnc_tensor_descriptor *t) { return (size_t)t->dims[0].value; }
int main(int argc, char **argv) {
    if (argc != 3) return 10;
    const struct nnc_model_descriptor *m = &nnc_model_foreign;
    FILE *in = fopen(argv[1], "rb"), *out = fopen(argv[2], "wb");
    const void **inputs = calloc(m->n_inputs + 1, 8);
    void **outputs = calloc(m->n_outputs + 1, 8);
    for (unsigned k = 0; k < m->n_inputs + m->n_outputs; k++) {
        const struct nnc_tensor_descriptor *t = k < m->n_inputs ? m->inputs + k : m->outputs + (k - m->n_inputs);
        void *p = aligned_alloc(64, (bytes(t) + 64) / 64 * 64);
        if (fread(p, 1, bytes(t), in) != bytes(t)) return 11;
        if (k < m->n_inputs) inputs[k] = p; else outputs[k - m->n_inputs] = p;
    }
    struct nnc_run_args args = {0};
    args.inputs = inputs;
    args.outputs = outputs;
    args.n_inputs = m->n_inputs;
    args.n_outputs = m->n_outputs;
    int status = m->run(&args);
    if (status) return status;
    for (unsigned k = 0; k < m->n_outputs; k++) fwrite(outputs[k], 1, bytes(m->outputs + k), out);
    return fclose(out);
}
"#;

fn trials() -> Vec<(Trial, Vec<i64>, i64)> {
    let mut all: Vec<_> =
        [unary_trials(), binary_trials(), conversion_trials()].into_iter().flatten().map(|t| (t, vec![], 1)).collect();
    for seed in 0..300 {
        let case = generate::kernel(seed);
        let mut after = case.buffers.clone();
        let status = interpret::run_kernel(&case.kernel, &mut after, &case.params, 0, case.extent).unwrap();
        // A failing kernel would end the whole run.
        if status == 0 {
            let what = format!("seed {seed}");
            all.push((
                Trial { kernel: case.kernel, buffers: case.buffers, tolerance: 1e-3, what },
                case.params,
                case.extent,
            ));
        }
    }
    all
}

/// One program with every trial as a step; tensors are bytes.
fn program(trials: &[(Trial, Vec<i64>, i64)]) -> Program {
    let mut program = empty_program("foreign");
    for (k, (trial, params, extent)) in trials.iter().enumerate() {
        let mut kernel = trial.kernel.clone();
        kernel.name = format!("k{k}");
        let mut arguments = vec![];
        for (decl, bytes) in kernel.buffers.iter().zip(&trial.buffers) {
            let list = if decl.access == Access::Write { &mut program.outputs } else { &mut program.inputs };
            let place = |i| if decl.access == Access::Write { Place::Output(i) } else { Place::Input(i) };
            let place = place(list.len());
            let name = format!("t{}", program.buffers.len());
            list.push(Parameter { name: name.clone(), dtype: nnc_ir::DType::U8, shape: vec![Dim::from(bytes.len())] });
            arguments.push(Argument { buffer: BufferId(program.buffers.len() as u32), offset: Dim::ZERO });
            program.buffers.push(Buffer { name, dtype: decl.dtype, bytes: Dim::from(bytes.len()), place });
        }
        program.kernels.push(kernel);
        program.steps.push(Step::Run {
            kernel: KernelId(k as u32),
            arguments,
            params: params.iter().map(|p| Dim::from(*p)).collect(),
            extent: Dim::from(*extent),
            work: Dim::ZERO,
            origin: trial.what.clone(),
        });
    }
    program
}

#[test]
fn kernels_for_aarch64_agree_with_the_interpreter() {
    let installed = |tool: &str| Command::new(tool).arg("--version").output().is_ok_and(|o| o.status.success());
    let trials = trials();
    let program = program(&trials);
    let artifact = compile(&program, &Target::parse("aarch64").unwrap(), &Options::default()).unwrap();
    if !installed("aarch64-linux-gnu-gcc") || !installed("qemu-aarch64") {
        eprintln!("compiled only: qemu-aarch64 or aarch64-linux-gnu-gcc is not installed");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("foreign.h"), artifact.header()).unwrap();
    std::fs::write(at("main.c"), HARNESS).unwrap();
    artifact.write_archive(&at("libforeign.a")).unwrap();
    let mut data = vec![];
    for written in [false, true] {
        for (trial, ..) in &trials {
            let buffers = trial.kernel.buffers.iter().zip(&trial.buffers);
            data.extend(buffers.filter(|(d, _)| (d.access == Access::Write) == written).flat_map(|(_, b)| b.clone()));
        }
    }
    std::fs::write(at("in"), data).unwrap();
    let compiled = Command::new("aarch64-linux-gnu-gcc")
        .args(["-O1", "-static", "-o"])
        .args([at("main"), at("main.c"), at("libforeign.a")])
        .status();
    assert!(compiled.unwrap().success());
    let status = Command::new("qemu-aarch64").args([at("main"), at("in"), at("out")]).status().unwrap();
    assert!(status.success(), "{status}");
    let out = std::fs::read(at("out")).unwrap();
    let mut rest = out.as_slice();
    let mut wrong = vec![];
    for (trial, params, extent) in &trials {
        let mut expected = trial.buffers.clone();
        interpret::run_kernel(&trial.kernel, &mut expected, params, 0, *extent).unwrap();
        let mut actual = trial.buffers.clone();
        for (decl, buffer) in trial.kernel.buffers.iter().zip(&mut actual) {
            if decl.access == Access::Write {
                let (mine, others) = rest.split_at(buffer.len());
                buffer.copy_from_slice(mine);
                rest = others;
            }
        }
        if let Err(e) = generate::compare(&trial.kernel, &expected, &actual) {
            wrong.push(format!("{}: {e}", trial.what));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), trials.len(), wrong.join("\n"));
}
