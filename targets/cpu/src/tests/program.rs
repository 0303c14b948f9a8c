//! Whole programs, through the file system and in memory.

use super::{Line, call_model, empty_program};
use crate::{Jit, Options, compile, emit_asm, emit_clif};
use nnc_abi::{ModelDescriptor, PlanResult, RunArgs, RunContext, Status};
use nnc_desc::Target;
use nnc_ir::op::{BinaryOp, ReduceOp};
use nnc_ir::{DType, Dim, SymbolInfo, Tensor};
use nnc_kernels::kernel::{Access, Accumulator};
use nnc_kernels::plan::Parameter;
use nnc_kernels::{
    Argument, AxisKind, Buffer, BufferId, Expr, Index, Kernel, KernelId, Loop, Pack, Place, Program, Step, Stmt,
    Weight, WeightId,
};
use std::ffi::{CStr, c_void};
use std::path::Path;

/// `t[i] = x[i] + w[i % 4]` into the workspace, then `y[i] = t[i] * sum(t)`, over `n` rows of 4; the kernel fails with
/// status 9 on rows that begin with a negative number.
pub(super) fn program() -> Program {
    let mut program = empty_program("tiny");
    let n = program.dims.new_symbol(SymbolInfo { max: 1000, ..SymbolInfo::input("n") });
    let rows = Dim::sym(n);
    for (list, name) in [(&mut program.inputs, "x"), (&mut program.outputs, "y")] {
        list.push(Parameter::plain(name, DType::F32, vec![rows.clone(), Dim::from(4)]));
    }
    let weight = |values: &[f32]| Weight { source: Tensor::from_slice(&[values.len()], values), pack: Pack::Plain };
    program.weights = vec![weight(&[9.0; 3]), weight(&[1.0, 2.0, 3.0, 4.0]), weight(&[1.0, 2.0, 3.0, 4.0])];
    let mut add = Kernel::new("add");
    let [x, w] = [(); 2].map(|()| add.add_buffer("x", DType::F32, Access::Read));
    let t = add.add_buffer("t", DType::F32, Access::Write);
    let (p, i) = (add.parallel.0, add.add_var("i", DType::I64, 0, 3));
    let rows_param = add.add_var("n", DType::I64, 0, 1000);
    add.params = vec![rows_param];
    add.parallel.1 = rows_param.index();
    let at = p.index() * 4 + i.index();
    let first = Expr::Load(x, p.index() * 4);
    let sum = Expr::binary(BinaryOp::Add, Expr::Load(x, at.clone()), Expr::Load(w, i.index()));
    add.body = vec![
        Stmt::If(
            Expr::binary(BinaryOp::Lt, first, Expr::constant(DType::F32, 0.0)),
            vec![Stmt::Fail(Status::CheckFailed as i32)],
            vec![],
        ),
        Stmt::For(Loop { var: i, extent: Index::from(4), axis: AxisKind::Vector }, vec![Stmt::Store(t, at, sum)]),
    ];
    let mut scale = Kernel::new("scale");
    let t = scale.add_buffer("t", DType::F32, Access::Read);
    let y = scale.add_buffer("y", DType::F32, Access::Write);
    let (p, i, j) = (scale.parallel.0, scale.add_var("i", DType::I64, 0, 3), scale.add_var("j", DType::I64, 0, 3));
    let rows_param = scale.add_var("n", DType::I64, 0, 1000);
    let total = scale.add_var("total", DType::F32, 0, 0);
    scale.params = vec![rows_param];
    scale.parallel.1 = rows_param.index();
    let value = Expr::Load(t, p.index() * 4 + j.index());
    let init = Expr::constant(DType::F32, 0.0);
    let product = Expr::binary(BinaryOp::Mul, Expr::Load(t, p.index() * 4 + i.index()), Expr::Var(total));
    scale.body = vec![
        Stmt::Reduce(
            Loop { var: j, extent: Index::from(4), axis: AxisKind::Vector },
            vec![],
            vec![Accumulator { var: total, op: ReduceOp::Sum, init, value }],
        ),
        Stmt::For(
            Loop { var: i, extent: Index::from(4), axis: AxisKind::Vector },
            vec![Stmt::Store(y, p.index() * 4 + i.index(), product)],
        ),
    ];
    program.kernels = vec![add, scale];
    let buffer = |name: &str, place| Buffer { name: name.into(), dtype: DType::F32, bytes: &rows * 16, place };
    program.buffers = vec![
        buffer("x", Place::Input(0)),
        buffer("y", Place::Output(0)),
        Buffer { bytes: Dim::from(16), ..buffer("w", Place::Weight(WeightId(2))) },
        buffer("t", Place::Workspace { offset: Dim::from(64) }),
    ];
    program.workspace_bytes = &rows * 16 + 64;
    let argument = |b: u32| Argument { buffer: BufferId(b), offset: Dim::ZERO };
    let run = |kernel, arguments| Step::Run {
        kernel: KernelId(kernel),
        arguments,
        params: vec![rows.clone()],
        extent: rows.clone(),
        work: &rows * 1000,
        apart: false,
        origin: String::new(),
    };
    program.steps = vec![run(0, vec![argument(0), argument(2), argument(3)]), run(1, vec![argument(3), argument(1)])];
    program
}

/// Calls a model on `n` rows; answers the status and the output.
pub(super) fn call(model: &ModelDescriptor, x: &[f32], context: Option<&RunContext>) -> (i32, Vec<f32>) {
    let dims = [(x.len() / 4) as i64, 4];
    let mut y = vec![0f32; x.len()];
    let (inputs, outputs) = ([x.as_ptr().cast::<c_void>()], [y.as_mut_ptr().cast::<c_void>()]);
    // SAFETY: the model was made from `program()` and the arguments are what its signature asks for.
    let called = unsafe { call_model(model, &dims, &inputs, &outputs, context) };
    if called.planned != dims {
        // The plan refused them.
        assert_ne!(called.status, 0);
        return (called.status, vec![]);
    }
    assert_eq!(called.workspace_bytes, 16 * dims[0] as u64 + 64);
    assert!(called.status != 0 || called.found == dims);
    (called.status, y)
}

/// A pool that runs the ranges last to first on this thread.
unsafe extern "C" fn backwards(
    calls: *mut c_void,
    count: i64,
    grain: i64,
    body: nnc_abi::ParallelBody,
    data: *mut c_void,
) {
    // SAFETY: `call_and_check` passes the counter; `data` is for `body`, whatever it is.
    unsafe {
        *calls.cast::<u32>() += 1;
        let grain = grain.max(1);
        for range in (0..(count + grain - 1) / grain).rev() {
            body(data, range * grain, ((range + 1) * grain).min(count));
        }
    }
}

fn call_and_check(model: &ModelDescriptor) {
    // SAFETY: strings of a descriptor end in NUL.
    assert_eq!(unsafe { CStr::from_ptr(model.name) }.to_str(), Ok("tiny"));
    assert_eq!((model.magic, model.n_inputs, model.n_kernels, model.n_steps), (nnc_abi::MAGIC, 1, 2, 2));
    assert_eq!(model.weights_bytes, 128, "equal weights are stored once");
    // SAFETY: the weights are as long as the descriptor says.
    let weights = unsafe { std::slice::from_raw_parts(model.weights.cast::<u8>(), 128) };
    assert_eq!(blake3::hash(weights).as_bytes(), &model.weights_hash);
    let x: Vec<f32> = (0..100 * 4).map(|i| i as f32 * 0.25).collect();
    let expected: Vec<f32> = x
        .chunks(4)
        .flat_map(|row| {
            let t: Vec<f32> = row.iter().zip([1.0, 2.0, 3.0, 4.0]).map(|(x, w)| x + w).collect();
            let sum: f32 = t.iter().sum();
            t.into_iter().map(move |t| t * sum)
        })
        .collect();
    let mut calls = 0u32;
    let context = RunContext {
        parallel_for: Some(backwards),
        pool: std::ptr::from_mut(&mut calls).cast(),
        threads: 2,
        flags: 0,
        seed: 0,
        reserved: [0; 2],
    };
    assert_eq!(call(model, &x, None), (0, expected.clone()));
    assert_eq!(call(model, &x, Some(&context)), (0, expected.clone()));
    assert_eq!(calls, 2, "both steps are worth two threads");
    assert_eq!(call(model, &x[..8], Some(&context)), (0, expected[..8].to_vec()));
    assert_eq!(calls, 2, "two rows are not");
    let mut bad = x.clone();
    bad[40] = -1.0;
    bad[80] = -1.0;
    for context in [None, Some(&context)] {
        assert_eq!(call(model, &bad, context).0, Status::CheckFailed as i32);
    }
    assert_eq!(call(model, &[], None).0, 0);
    assert_eq!(call(model, &vec![0.0; 4 * 1000], None).0, 0);
    assert_eq!(call(model, &vec![0.0; 4 * 1001], None).0, Status::DimOutOfBounds as i32);
}

#[test]
fn a_program_runs_in_memory() {
    let model = Jit::compile(&program(), &Target::parse("native").unwrap()).unwrap();
    call_and_check(model.descriptor());
}

#[test]
fn a_workspace_too_small_is_refused() {
    let model = Jit::compile(&program(), &Target::parse("native").unwrap()).unwrap();
    let (dims, x, mut y) = ([2i64, 4], [1f32; 8], [0f32; 8]);
    let mut workspace = [Line([0; 64]); 2];
    let inputs = [x.as_ptr().cast::<c_void>()];
    let outputs = [y.as_mut_ptr().cast::<c_void>()];
    for (bytes, expected) in [(0, Status::WorkspaceTooSmall), (95, Status::WorkspaceTooSmall), (96, Status::Ok)] {
        let args = RunArgs {
            inputs: inputs.as_ptr(),
            input_dims: dims.as_ptr(),
            outputs: outputs.as_ptr(),
            output_dims: std::ptr::null_mut(),
            workspace: workspace.as_mut_ptr().cast(),
            workspace_bytes: bytes,
            weights: std::ptr::null(),
            context: std::ptr::null(),
            n_inputs: 1,
            n_outputs: 1,
            fault: std::ptr::null_mut(),
            states: std::ptr::null(),
            n_states: 0,
        };
        // SAFETY: the memory is what two rows need; a run told of less must not touch it.
        let status = unsafe { (model.descriptor().run.unwrap())(&args) };
        assert_eq!(status, expected as i32, "{bytes}");
    }
}

#[test]
fn sizes_that_overflow_are_refused() {
    let mut program = program();
    program.dims = Default::default();
    program.dims.new_symbol(SymbolInfo::input("n"));
    let model = Jit::compile(&program, &Target::parse("native").unwrap()).unwrap();
    for (n, expected) in [(1 << 40, Status::Ok), (1 << 60, Status::SizeOverflow), (i64::MAX, Status::SizeOverflow)] {
        let mut plan = PlanResult {
            out_dims: std::ptr::null_mut(),
            workspace_bytes: 0,
            fault_dim: -1,
            fault_expected: -1,
            fault: nnc_abi::Fault::NONE,
        };
        // SAFETY: the program has one input of two dimensions.
        let status = unsafe { (model.descriptor().plan.unwrap())([n, 4].as_ptr(), &mut plan) };
        assert_eq!(status, expected as i32, "{n}");
    }
}

#[test]
fn a_shared_library_runs_and_is_reproducible() {
    let folder = tempfile::tempdir().unwrap();
    let target = Target::parse("native").unwrap();
    let mut files = vec![];
    for name in ["a.so", "b.so"] {
        let path = folder.path().join(name);
        compile(&program(), &target, &Options::default()).unwrap().write_so(&path, "model.so").unwrap();
        files.push(std::fs::read(&path).unwrap());
        // SAFETY: the library has no constructors.
        let library = unsafe { libloading::Library::new(&path) }.unwrap();
        for symbol in ["nnc_model", "nnc_model_tiny"] {
            // SAFETY: the symbol is a descriptor.
            let model = unsafe { library.get::<*const ModelDescriptor>(symbol) }.unwrap();
            // SAFETY: it lives as long as the library.
            call_and_check(unsafe { &*model.try_as_raw_ptr().unwrap().cast() });
        }
    }
    assert!(files[0] == files[1], "two compilations differ");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "something was left behind");
}

fn dynamic_symbols(path: &Path) -> (Vec<String>, Vec<String>) {
    use object::{Object, ObjectSymbol};
    let bytes = std::fs::read(path).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    let names = |undefined: bool| {
        let symbols = file.dynamic_symbols().filter(|s| s.is_undefined() == undefined);
        let mut names: Vec<String> = symbols.map(|s| s.name().unwrap().to_owned()).filter(|n| !n.is_empty()).collect();
        names.sort();
        names
    };
    (names(true), names(false))
}

#[test]
fn libraries_of_every_target_export_the_descriptor_alone() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["x86_64", "x86_64-avx2", "x86_64-avx512", "aarch64"] {
        let target = Target::parse(name).unwrap();
        let path = folder.path().join(name);
        compile(&program(), &target, &Options::default()).unwrap().write_so(&path, "model.so").unwrap();
        let (undefined, defined) = dynamic_symbols(&path);
        assert_eq!(undefined, Vec::<String>::new(), "{name}");
        assert_eq!(defined, ["nnc_model", "nnc_model_tiny"], "{name}");
        assert!(emit_clif(&program(), &target).unwrap().contains("tiny.run"));
        assert!(emit_asm(&program(), &target).unwrap().contains("tiny.scale"));
    }
}

#[test]
fn objects_and_archives_are_well_formed() {
    use object::{Object, ObjectSection, ObjectSymbol};
    let folder = tempfile::tempdir().unwrap();
    let artifact = compile(&program(), &Target::parse("x86_64").unwrap(), &Options::default()).unwrap();
    let path = folder.path().join("tiny.o");
    artifact.write_object(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    let weights = file.symbol_by_name("nnc_weights_tiny").unwrap();
    let section = file.section_by_index(weights.section_index().unwrap()).unwrap();
    assert_eq!((section.align(), section.size(), weights.size()), (64, 128, 128));
    assert!(file.symbols().filter(|s| s.is_undefined()).all(|s| s.name() == Ok("")));
    let path = folder.path().join("libtiny.a");
    artifact.write_archive(&path).unwrap();
    let archive_bytes = std::fs::read(&path).unwrap();
    let archive = object::read::archive::ArchiveFile::parse(&*archive_bytes).unwrap();
    let members: Vec<_> = archive.members().collect::<Result<_, _>>().unwrap();
    assert_eq!(members.len(), 1);
    assert_eq!(members[0].name(), b"tiny.o");
    assert!(members[0].data(&*archive_bytes).unwrap() == bytes);
    let index: Vec<_> = archive.symbols().unwrap().unwrap().map(|s| s.unwrap().name().to_vec()).collect();
    assert_eq!(index, [b"nnc_model_tiny".to_vec()]);
}

/// With a C compiler at hand, the header and the archive make a program.
#[test]
fn a_c_program_links_and_runs() {
    let mut program = program();
    let n = Dim::from(2);
    let substitute = |d: &Dim| d.substitute(&|_| Some(n.clone()));
    for p in program.inputs.iter_mut().chain(&mut program.outputs) {
        p.shape = p.shape.iter().map(substitute).collect();
    }
    program.workspace_bytes = substitute(&program.workspace_bytes);
    for b in &mut program.buffers {
        b.bytes = substitute(&b.bytes);
    }
    for step in &mut program.steps {
        if let Step::Run { params, extent, work, .. } = step {
            *params = vec![n.clone()];
            *extent = n.clone();
            *work = substitute(work);
        }
    }
    program.dims = Default::default();
    let artifact = compile(&program, &Target::parse("native").unwrap(), &Options::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("tiny.h"), artifact.header()).unwrap();
    artifact.write_archive(&at("libtiny.a")).unwrap();
    let source = r#"
        #include "tiny.h"
        static _Alignas(64) unsigned char workspace[TINY_WORKSPACE_BYTES];
        int main(void) {
            float x[TINY_X_ELEMENTS] = {0, 1, 2, 3, 4, 5, 6, 7}, y[TINY_Y_ELEMENTS];
            if (tiny_run(x, y, workspace, 0) != NNC_OK) return 1;
            return y[0] == 16.0f && y[7] == 11.0f * 32.0f ? 0 : 2;
        }"#;
    std::fs::write(at("main.c"), source).unwrap();
    let compiled = std::process::Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-o"])
        .args([at("main"), at("main.c"), at("libtiny.a")])
        .status();
    match compiled {
        Err(e) => eprintln!("skipped: no C compiler ({e})"),
        Ok(status) => {
            assert!(status.success());
            assert!(std::process::Command::new(at("main")).status().unwrap().success());
        }
    }
}
