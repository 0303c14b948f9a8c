//! Golden disassembly of small kernels: what the inner loops look like.

use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter, Mnemonic};
use nnc_desc::Target;
use nnc_ir::DType;
use nnc_ir::op::{BinaryOp, ReduceOp};
use nnc_kernels::kernel::{Access, Accumulator, AxisKind};
use nnc_kernels::{Expr, Index, Kernel, Loop, Stmt};

use crate::x86::compile;

/// The instructions of some code, one per line, up to its return.
pub fn listing(bytes: &[u8]) -> String {
    let mut formatter = IntelFormatter::new();
    let mut out = String::new();
    for inst in Decoder::with_ip(64, bytes, 0, DecoderOptions::NONE).iter() {
        formatter.format(&inst, &mut out);
        out.push('\n');
        if inst.mnemonic() == Mnemonic::Ret {
            break;
        }
    }
    out
}

fn check(kernel: &Kernel, target: &str, expected: &[&str]) {
    let target = Target::parse(target).unwrap();
    let code = compile(&nnc_kernels::math::expand(kernel), &target).unwrap().unwrap();
    let text = listing(&code.bytes);
    let lines: Vec<&str> = text.lines().collect();
    let found = lines.windows(expected.len()).any(|window| window == expected);
    assert!(found, "{}: expected\n{}\nin\n{text}", target.name, expected.join("\n"));
}

/// y[i] = max(x[i] + x[i + 1], 0) for i < 1000.
fn elementwise() -> Kernel {
    let mut kernel = Kernel::new("map");
    let x = kernel.add_buffer("x", DType::F32, Access::Read);
    let y = kernel.add_buffer("y", DType::F32, Access::Write);
    let i = kernel.add_var("i", DType::I64, 0, 999);
    let sum = Expr::binary(BinaryOp::Add, Expr::Load(x, i.index()), Expr::Load(x, i.index() + 1));
    let value = Expr::binary(BinaryOp::Max, sum, Expr::constant(DType::F32, 0.0));
    let header = Loop { var: i, extent: Index::from(1000), axis: AxisKind::Vector };
    kernel.body.push(Stmt::For(header, vec![Stmt::Store(y, i.index(), value)]));
    kernel
}

/// y[p] = sum of x[i] * x[i] for i < 4096.
fn squares() -> Kernel {
    let mut kernel = Kernel::new("squares");
    let x = kernel.add_buffer("x", DType::F32, Access::Read);
    let y = kernel.add_buffer("y", DType::F32, Access::Write);
    let i = kernel.add_var("i", DType::I64, 0, 4095);
    let sum = kernel.add_var("sum", DType::F32, 0, 0);
    let load = Expr::Load(x, i.index());
    let value = Expr::binary(BinaryOp::Mul, load.clone(), load);
    let init = Expr::constant(DType::F32, 0.0);
    let header = Loop { var: i, extent: Index::from(4096), axis: AxisKind::Vector };
    kernel.body.push(Stmt::Reduce(header, vec![], vec![Accumulator { var: sum, op: ReduceOp::Sum, init, value }]));
    kernel.body.push(Stmt::Store(y, kernel.parallel.0.index(), Expr::Var(sum)));
    kernel
}

#[test]
fn loads_fold_into_instructions_and_pointers_stay() {
    check(
        &elementwise(),
        "x86_64-avx2",
        &[
            "vmovups ymm0,[r8+rsi*4]",
            "vaddps ymm0,ymm0,[r8+rsi*4+4]",
            "vmaxps ymm0,ymm12,ymm0",
            "vmovups [rax+rsi*4],ymm0",
        ],
    );
}

#[test]
fn reductions_keep_four_sums() {
    check(
        &squares(),
        "x86_64-avx512",
        &[
            "vfmadd231ps zmm4,zmm6,[rax+rdi*4+0C0h]",
            "add rdi,40h",
            "cmp rdi,0FC1h",
            "jl short 0000000000000055h",
            "vaddps zmm1,zmm1,zmm3",
            "vaddps zmm2,zmm2,zmm4",
            "vaddps zmm1,zmm1,zmm2",
        ],
    );
}
