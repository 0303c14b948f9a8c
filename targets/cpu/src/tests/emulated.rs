//! Kernels on several emulated processors, where qemu's user emulators and C compilers are installed (Debian: qemu-user,
//! gcc, gcc-aarch64-linux-gnu).
//!
//! A second opinion on every encoding, and the only one on processors that are not at hand: qemu reads instructions where
//! vendors differ as AMD does, and refuses those that the processor it plays does not have.
//!
//! All kernels go into one program, each with its buffers as inputs and outputs; a C program reads their bytes from one
//! file, runs the model and writes the outputs' bytes to another. It runs it twice, the second time on a thread that rounds
//! upwards and flushes subnormal numbers to zero, which must change neither a bit of the outputs nor be changed.

use super::empty_program;
use super::kernels::{Trial, binary_trials, conversion_trials, reinterpretation_trials, unary_trials};
use crate::{Options, compile};
use nnc_desc::Target;
use nnc_ir::Dim;
use nnc_kernels::kernel::Access;
use nnc_kernels::plan::Parameter;
use nnc_kernels::{Argument, Buffer, BufferId, KernelId, Place, Program, Step, generate, interpret};
use std::process::Command;

const HARNESS: &str = r#"
#include "emulated.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
static unsigned long environment(void) { unsigned m; __asm__ volatile("stmxcsr %0" : "=m"(m)); return m; }
static void set_environment(unsigned long e) { unsigned m = (unsigned)e; __asm__ volatile("ldmxcsr %0" : : "m"(m)); }
#define ODD 0xDFC0ul
#else
static unsigned long environment(void) { unsigned long f; __asm__ volatile("mrs %0, fpcr" : "=r"(f)); return f; }
static void set_environment(unsigned long e) { __asm__ volatile("msr fpcr, %0" : : "r"(e)); }
#define ODD (1ul << 24 | 1ul << 22)
#endif
static size_t bytes(const struct nnc_tensor_descriptor *t) { return (size_t)t->dims[0].value; }
int main(int argc, char **argv) {
    if (argc != 3) return 100;
    const struct nnc_model_descriptor *m = &nnc_model_emulated;
    FILE *in = fopen(argv[1], "rb"), *out = fopen(argv[2], "wb");
    const void **inputs = calloc(m->n_inputs + 1, 8);
    void **outputs = calloc(m->n_outputs + 1, 8), **before = calloc(m->n_outputs + 1, 8);
    void **first = calloc(m->n_outputs + 1, 8);
    for (unsigned k = 0; k < m->n_inputs + m->n_outputs; k++) {
        const struct nnc_tensor_descriptor *t = k < m->n_inputs ? m->inputs + k : m->outputs + (k - m->n_inputs);
        size_t room = (bytes(t) + 64) / 64 * 64;
        void *p = aligned_alloc(64, room);
        if (fread(p, 1, bytes(t), in) != bytes(t)) return 101;
        if (k < m->n_inputs) { inputs[k] = p; continue; }
        outputs[k - m->n_inputs] = p;
        before[k - m->n_inputs] = memcpy(malloc(room), p, bytes(t));
        first[k - m->n_inputs] = malloc(room);
    }
    struct nnc_run_args args = {0};
    args.inputs = inputs;
    args.outputs = outputs;
    args.n_inputs = m->n_inputs;
    args.n_outputs = m->n_outputs;
    int status = m->run(&args);
    if (status) return status;
    for (unsigned k = 0; k < m->n_outputs; k++) {
        memcpy(first[k], outputs[k], bytes(m->outputs + k));
        memcpy(outputs[k], before[k], bytes(m->outputs + k));
    }
    unsigned long normal = environment();
    set_environment(ODD);
    status = m->run(&args);
    unsigned long after = environment();
    set_environment(normal);
    if (status) return status;
    if (after != ODD) return 102;
    for (unsigned k = 0; k < m->n_outputs; k++) {
        if (memcmp(first[k], outputs[k], bytes(m->outputs + k))) return 103;
        fwrite(outputs[k], 1, bytes(m->outputs + k), out);
    }
    return fclose(out);
}
"#;

/// A target, a C compiler and an emulator for it, and processors that it can play.
struct Emulator {
    target: &'static str,
    compiler: &'static str,
    emulator: &'static str,
    processors: &'static [&'static str],
}

const EMULATORS: [Emulator; 3] = [
    Emulator {
        target: "x86_64",
        compiler: "x86_64-linux-gnu-gcc",
        emulator: "qemu-x86_64",
        processors: &["qemu64", "Nehalem", "EPYC", "max"],
    },
    Emulator {
        target: "x86_64-avx2",
        compiler: "x86_64-linux-gnu-gcc",
        emulator: "qemu-x86_64",
        processors: &["Haswell", "EPYC", "max"],
    },
    Emulator {
        target: "aarch64",
        compiler: "aarch64-linux-gnu-gcc",
        emulator: "qemu-aarch64",
        processors: &["cortex-a57", "neoverse-n1", "max"],
    },
];

fn trials() -> Vec<(Trial, Vec<i64>, i64)> {
    let mut all: Vec<_> = [unary_trials(), binary_trials(), conversion_trials(), reinterpretation_trials()]
        .into_iter()
        .flatten()
        .map(|t| (t, vec![], 1))
        .collect();
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
    let mut program = empty_program("emulated");
    for (k, (trial, params, extent)) in trials.iter().enumerate() {
        let mut kernel = trial.kernel.clone();
        kernel.name = format!("k{k}");
        let mut arguments = vec![];
        for (decl, bytes) in kernel.buffers.iter().zip(&trial.buffers) {
            let list = if decl.access == Access::Write { &mut program.outputs } else { &mut program.inputs };
            let place = |i| if decl.access == Access::Write { Place::Output(i) } else { Place::Input(i) };
            let place = place(list.len());
            let name = format!("t{}", program.buffers.len());
            list.push(Parameter::plain(name.clone(), nnc_ir::DType::U8, vec![Dim::from(bytes.len())]));
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
            apart: false,
            origin: trial.what.clone(),
        });
    }
    program
}

/// Runs all trials on every processor of an emulator.
fn check(emulator: &Emulator) {
    let installed = |tool: &str| Command::new(tool).arg("--version").output().is_ok_and(|o| o.status.success());
    let trials = trials();
    let program = program(&trials);
    let target = Target::parse(emulator.target).unwrap();
    let artifact = compile(&program, &target, &Options::default()).unwrap();
    if let Some(tool) = [emulator.compiler, emulator.emulator].into_iter().find(|tool| !installed(tool)) {
        eprintln!("{}: compiled only, since {tool} is not installed", emulator.target);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("emulated.h"), artifact.header()).unwrap();
    std::fs::write(at("main.c"), HARNESS).unwrap();
    artifact.write_archive(&at("libemulated.a")).unwrap();
    let mut data = vec![];
    for written in [false, true] {
        for (trial, ..) in &trials {
            let buffers = trial.kernel.buffers.iter().zip(&trial.buffers);
            data.extend(buffers.filter(|(d, _)| (d.access == Access::Write) == written).flat_map(|(_, b)| b.clone()));
        }
    }
    std::fs::write(at("in"), data).unwrap();
    let compiled = Command::new(emulator.compiler)
        .args(["-O1", "-static", "-o"])
        .args([at("main"), at("main.c"), at("libemulated.a")])
        .status();
    assert!(compiled.unwrap().success());
    let expected: Vec<Vec<Vec<u8>>> = trials
        .iter()
        .map(|(trial, params, extent)| {
            let mut buffers = trial.buffers.clone();
            interpret::run_kernel(&trial.kernel, &mut buffers, params, 0, *extent).unwrap();
            buffers
        })
        .collect();
    for processor in emulator.processors {
        let mut run = Command::new(emulator.emulator);
        let output = run.args(["-cpu", processor]).args([at("main"), at("in"), at("out")]).output().unwrap();
        let place = format!("{} on {processor}", emulator.target);
        assert!(output.status.success(), "{place}: {}", output.status);
        let out = std::fs::read(at("out")).unwrap();
        let mut rest = out.as_slice();
        let mut wrong = vec![];
        for ((trial, ..), expected) in trials.iter().zip(&expected) {
            let mut actual = trial.buffers.clone();
            for (decl, buffer) in trial.kernel.buffers.iter().zip(&mut actual) {
                if decl.access == Access::Write {
                    let (mine, others) = rest.split_at(buffer.len());
                    buffer.copy_from_slice(mine);
                    rest = others;
                }
            }
            if let Err(e) = generate::compare(&trial.kernel, expected, &actual) {
                wrong.push(format!("{}: {e}", trial.what));
            }
        }
        assert!(wrong.is_empty(), "{place}: {} of {} differ:\n{}", wrong.len(), trials.len(), wrong.join("\n"));
    }
}

#[test]
fn kernels_agree_with_the_interpreter_on_x86_64_processors() {
    check(&EMULATORS[0]);
}

#[test]
fn kernels_agree_with_the_interpreter_on_x86_64_processors_with_avx2() {
    check(&EMULATORS[1]);
}

#[test]
fn kernels_agree_with_the_interpreter_on_aarch64_processors() {
    check(&EMULATORS[2]);
}
