//! Which encodings are chosen: by the rule for every instruction there is, and in fact for everything compiled here.

use std::collections::BTreeSet;

use iced_x86::{Code, Decoder, DecoderOptions, Mnemonic, OpCodeOperandKind as Kind, Register};
use nnc_desc::{Feature, Features, Target};
use nnc_kernels::{Kernel, generate};

use super::gemm::{Epilogue, Shape, tiles};
use crate::check::{Allowed, Decoded};
use crate::tests::kernels::{binary_trials, conversion_trials, reinterpretation_trials, unary_trials};
use crate::x86::assembler::{Arg, Assembler, Extras};
use crate::x86::compile;
use crate::x86::encoding::{choose, plain};

/// The encodings that generated code may have, one a line.
const ALLOWED: &str = "src/x86/tests/encodings.txt";

/// Kernels that together use all of the generator.
fn kernels(target: &Target) -> Vec<Kernel> {
    let trials = [unary_trials(), binary_trials(), conversion_trials(), reinterpretation_trials()]
        .into_iter()
        .flatten()
        .map(|t| t.kernel);
    let mut kernels: Vec<Kernel> = trials.chain((0..300).map(|seed| generate::kernel(seed).kernel)).collect();
    let lanes = target.vector_bytes() / 4;
    for &(rows, vectors) in tiles(target) {
        let width = vectors * lanes;
        for dynamic in [false, true] {
            for (m, n, k) in [(1, width, 5), (rows, width, 70), (rows + 3, width - 1, 9)] {
                for epilogue in [Epilogue::Plain, Epilogue::BiasRelu, Epilogue::ResidualSilu] {
                    for taps in [vec![], vec![(2, 70), (3, 20), (3, 4)]] {
                        kernels.push(Shape { taps, dynamic, epilogue, ..Shape::new(m, n, k, rows, width) }.kernel().0);
                    }
                }
                let row_stride = Some(n + 5);
                kernels.push(Shape { row_stride, dynamic, ..Shape::new(m, n, k, rows, width) }.kernel().0);
            }
        }
    }
    kernels
}

/// The rule may choose nothing else than it did when someone last looked; `NNC_BLESS=1` writes the list anew.
#[test]
fn only_known_encodings_are_emitted() {
    let mut used = BTreeSet::new();
    for name in ["x86_64-avx2", "x86_64-avx512"] {
        let target = Target::parse(name).unwrap();
        for kernel in kernels(&target) {
            let compiled = compile(&nnc_kernels::math::expand(&kernel), &target).unwrap_or_else(|e| panic!("{e}"));
            let Ok(code) = compiled else { continue };
            let decoded = Decoded::new(&code.bytes, &[]).unwrap_or_else(|e| panic!("{name}: {}: {e}", kernel.name));
            used.extend(decoded.instructions.iter().map(|inst| format!("{:?}", inst.code())));
        }
    }
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(ALLOWED);
    if std::env::var_os("NNC_BLESS").is_some() {
        let lines: Vec<String> = used.into_iter().collect();
        std::fs::write(path, lines.join("\n") + "\n").unwrap();
        return;
    }
    let allowed = std::fs::read_to_string(path).unwrap();
    let allowed: BTreeSet<&str> = allowed.lines().collect();
    let new: Vec<&String> = used.iter().filter(|code| !allowed.contains(code.as_str())).collect();
    assert!(new.is_empty(), "encodings that {ALLOWED} does not list (NNC_BLESS=1 adds them): {new:?}");
}

/// Operands that a place takes: a register, memory, a constant.
fn operands(kind: Kind) -> Vec<Arg> {
    let memory = Arg::Mem(Register::RAX, None, 64);
    let reg = Arg::Reg;
    match kind {
        Kind::r8_or_mem => vec![reg(Register::DL), memory],
        Kind::r8_reg => vec![reg(Register::BL)],
        Kind::r32_or_mem => vec![reg(Register::EDX), memory],
        Kind::r32_reg | Kind::r32_rm | Kind::r32_vvvv | Kind::r32_opcode => vec![reg(Register::EBX)],
        Kind::r64_or_mem => vec![reg(Register::RDX), memory],
        Kind::r64_reg | Kind::r64_rm | Kind::r64_vvvv | Kind::r64_opcode => vec![reg(Register::RBX)],
        Kind::xmm_or_mem => vec![reg(Register::XMM2), memory],
        Kind::xmm_reg | Kind::xmm_rm | Kind::xmm_vvvv | Kind::xmm_is4 => vec![reg(Register::XMM3)],
        Kind::ymm_or_mem => vec![reg(Register::YMM2), memory],
        Kind::ymm_reg | Kind::ymm_rm | Kind::ymm_vvvv | Kind::ymm_is4 => vec![reg(Register::YMM3)],
        Kind::zmm_or_mem => vec![reg(Register::ZMM2), memory],
        Kind::zmm_reg | Kind::zmm_rm | Kind::zmm_vvvv => vec![reg(Register::ZMM3)],
        Kind::k_or_mem => vec![reg(Register::K2), memory],
        Kind::k_reg | Kind::k_rm | Kind::k_vvvv => vec![reg(Register::K3)],
        Kind::mem => vec![memory],
        Kind::imm8 | Kind::imm8sex32 | Kind::imm8sex64 => vec![Arg::Imm(5)],
        Kind::imm32 | Kind::imm32sex64 => vec![Arg::Imm(100_000)],
        Kind::imm64 => vec![Arg::Imm(1 << 40)],
        _ => vec![],
    }
}

/// All operand lists of a code.
fn shapes(code: Code) -> Vec<Vec<Arg>> {
    code.op_code().op_kinds().iter().fold(vec![vec![]], |lists, kind| {
        lists.iter().flat_map(|list| operands(*kind).into_iter().map(move |arg| [&list[..], &[arg]].concat())).collect()
    })
}

fn bytes(code: Code, args: &[Arg]) -> Option<Vec<u8>> {
    let mut asm = Assembler::new(true);
    asm.encode_as(code, args, Extras::default());
    asm.finish(&[]).ok()
}

#[test]
fn every_instruction_gets_its_shortest_plain_encoding() {
    let mut tried = 0;
    // Whatever any target may have.
    let allowed = Allowed::new(Features::of(Feature::ALL));
    for code in Code::values().filter(|code| code.op_code().mode64() && allowed.missing(*code).is_none()) {
        for args in shapes(code) {
            for evex in [false, true] {
                let Some(chosen) = choose(code.mnemonic(), &args, Extras::default(), evex) else { continue };
                let info = chosen.op_code();
                assert!(plain(info) && info.operand_size() != 16, "{:?} {args:?}: {chosen:?}", code.mnemonic());
                let Some(encoded) = bytes(chosen, &args) else { continue };
                for options in [DecoderOptions::NONE, DecoderOptions::AMD] {
                    let read = Decoder::new(64, &encoded, options).decode();
                    assert_eq!((read.code(), read.len()), (chosen, encoded.len()), "{args:?} {encoded:x?}");
                }
                // Other codes of the same mnemonic and operands, in the same kind of encoding, are not shorter.
                if plain(code.op_code()) && code.encoding() == chosen.encoding() {
                    let other = bytes(code, &args).map_or(usize::MAX, |b| b.len());
                    assert!(encoded.len() <= other, "{chosen:?} rather than {code:?} for {args:?}");
                }
                tried += 1;
            }
        }
    }
    assert!(tried > 5000, "only {tried} instructions tried");
}

#[test]
fn returns_and_pops_are_what_every_processor_knows() {
    let chosen = |mnemonic, args: &[Arg]| choose(mnemonic, args, Extras::default(), false).unwrap();
    assert_eq!(chosen(Mnemonic::Ret, &[]), Code::Retnq);
    assert_eq!(chosen(Mnemonic::Pop, &[Arg::Reg(Register::RBX)]), Code::Pop_r64);
    assert_eq!(chosen(Mnemonic::Push, &[Arg::Reg(Register::RBX)]), Code::Push_r64);
}

#[test]
fn memory_of_unknown_size_has_no_encoding() {
    let memory = Arg::Mem(Register::RAX, None, 0);
    for (mnemonic, args) in [
        (Mnemonic::Mov, vec![memory, Arg::Imm(1)]),
        (Mnemonic::Add, vec![memory, Arg::Imm(1)]),
        (Mnemonic::Vcvtsi2ss, vec![Arg::Reg(Register::XMM0), Arg::Reg(Register::XMM0), memory]),
    ] {
        assert_eq!(choose(mnemonic, &args, Extras::default(), false), None, "{mnemonic:?}");
    }
}
