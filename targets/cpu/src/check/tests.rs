//! Bad functions of each kind, and what the check says of them.

use super::{Function, Kind, Relocation, function};
use iced_x86::IcedError;
use iced_x86::code_asm::*;
use nnc_desc::Target;

fn assemble(write: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>) -> Vec<u8> {
    let mut asm = CodeAssembler::new(64).unwrap();
    write(&mut asm).unwrap();
    asm.assemble(0).unwrap()
}

fn verdict(bytes: &[u8], relocations: &[Relocation], kind: Kind, target: &str) -> Result<(), String> {
    let features = Target::parse(target).unwrap().features;
    function(&Function { bytes, relocations, kind, traps: false }, features).map_err(|d| d.to_string())
}

/// A kernel for AVX2 is refused, for this reason.
fn refused(why: &str, bytes: &[u8]) {
    let answer = verdict(bytes, &[], Kind::Kernel, "x86_64-avx2");
    let message = answer.expect_err(why);
    assert!(message.contains(why), "expected {why:?}, not {message:?}");
}

fn refused_code(why: &str, write: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>) {
    refused(why, &assemble(write));
}

fn accepted(write: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>) {
    assert_eq!(verdict(&assemble(write), &[], Kind::Kernel, "x86_64-avx2"), Ok(()));
}

#[test]
fn good_functions_pass() {
    accepted(|a| a.ret());
    accepted(|a| {
        a.push(rbp)?;
        a.mov(rbp, rsp)?;
        a.push(rbx)?;
        a.sub(rsp, 4096)?;
        a.test(qword_ptr(rsp), rsp)?;
        a.sub(rsp, 100)?;
        a.and(rsp, -64)?;
        let mut head = a.create_label();
        a.mov(rbx, 9i64)?;
        a.set_label(&mut head)?;
        a.vmovaps(ymmword_ptr(rsp + 32), ymm1)?;
        a.sub(rbx, 1)?;
        a.jne(head)?;
        a.lea(rsp, ptr(rbp - 8))?;
        a.pop(rbx)?;
        a.pop(rbp)?;
        a.vzeroupper()?;
        a.ret()
    });
    // Saved with `mov`, as Cranelift does.
    accepted(|a| {
        a.sub(rsp, 24)?;
        a.mov(qword_ptr(rsp + 8), r12)?;
        a.mov(qword_ptr(rsp), rdi)?;
        a.xor(r12d, r12d)?;
        a.mov(r12, qword_ptr(rsp + 8))?;
        a.add(rsp, 24)?;
        a.ret()
    });
}

#[test]
fn what_is_no_instruction() {
    refused("no instruction", &[0x06]);
    refused("no instruction", &[0x0F]);
    refused("a path leaves", &[0x90]);
    // A gather whose mask is its result.
    refused("no instruction", &[0xC4, 0xE2, 0x75, 0x92, 0x0C, 0x10, 0xC3]);
}

#[test]
fn what_vendors_read_differently() {
    // ret and jmp with an operand-size prefix.
    refused("Retnw", &[0x66, 0xC3]);
    refused("for AMD", &[0x66, 0xE9, 0, 0, 0, 0, 0xC3]);
    refused("for AMD", &[0x66, 0x0F, 0x84, 0, 0, 0, 0, 0xC3]);
    refused_code("different digits", |a| {
        a.vrsqrtps(xmm0, xmm1)?;
        a.ret()
    });
}

#[test]
fn forms_that_tools_do_not_know() {
    refused("the long form", &[0x53, 0x8F, 0xC3, 0xC3]);
    refused("not a 64-bit register", &[0x66, 0x53, 0x66, 0x5B, 0xC3]);
}

#[test]
fn instructions_beyond_the_target() {
    let fma = assemble(|a| {
        a.vfmadd231ps(xmm0, xmm1, xmm2)?;
        a.ret()
    });
    assert_eq!(verdict(&fma, &[], Kind::Kernel, "x86_64-avx2"), Ok(()));
    assert!(verdict(&fma, &[], Kind::Kernel, "x86_64-avx2-fma").unwrap_err().contains("does not promise FMA"));
    assert!(verdict(&fma, &[], Kind::Kernel, "x86_64").unwrap_err().contains("does not promise"));
    refused_code("AVX512", |a| {
        a.vpxord(xmm16, xmm16, xmm16)?;
        a.ret()
    });
    // Without the feature, `lzcnt` is executed as `bsr`.
    let lzcnt = assemble(|a| {
        a.lzcnt(rax, rdi)?;
        a.ret()
    });
    assert!(verdict(&lzcnt, &[], Kind::Kernel, "x86_64").unwrap_err().contains("LZCNT"));
    refused_code("FPU", |a| {
        a.fld1()?;
        a.ret()
    });
    refused_code("MMX", |a| {
        a.emms()?;
        a.ret()
    });
}

#[test]
fn what_is_not_for_kernels() {
    refused_code("no use", |a| {
        a.std()?;
        a.ret()
    });
    refused("a trap instead of a return", &[0x0F, 0x0B]);
    refused("call to nowhere", &[0x0F, 0x05, 0xC3]);
    refused_code("environment", |a| {
        a.ldmxcsr(dword_ptr(rdi))?;
        a.ret()
    });
    refused_code("kernels share nothing", |a| {
        a.lock().add(qword_ptr(rdi), rax)?;
        a.ret()
    });
    refused_code("string instruction", |a| {
        a.rep().stosb()?;
        a.ret()
    });
    refused_code("string instruction", |a| {
        a.mov(rax, qword_ptr(rdi).fs())?;
        a.ret()
    });
    refused_code("32-bit address", |a| {
        a.mov(rax, qword_ptr(edi))?;
        a.ret()
    });
    refused_code("drops arguments", |a| a.ret_1(8));
}

#[test]
fn paths_that_go_astray() {
    refused_code("leaves the function", |a| a.xor(eax, eax));
    // Jumps: before the function, beyond it, into the middle of `mov eax, imm32`.
    refused("leaves the function", &[0xEB, 0x80]);
    refused("leaves the function", &[0xEB, 0x10, 0xC3]);
    refused("a branch into", &[0xB8, 0, 0, 0, 0, 0x74, 0xFA, 0xC3]);
    // `mov eax, imm32` on one path, whose second byte is the return of the other.
    refused("overlaps another", &[0x74, 0x02, 0xEB, 0x01, 0xB8, 0xC3, 0, 0, 0]);
    refused_code("instead of a return", |a| a.jmp(rax));
    refused("call to nowhere", &[0xE8, 0, 0, 0, 0, 0xC3]);
    // Bytes after a jump that nothing reaches.
    refused("that nothing reaches", &[0xEB, 0x02, 0x31, 0xC0, 0xC3]);
}

#[test]
fn constants_are_inside_and_not_code() {
    refused("used as a constant", &[0x8B, 0x05, 0xFA, 0xFF, 0xFF, 0xFF, 0xC3]);
    refused("outside the function", &[0xC5, 0xF8, 0x10, 0x05, 0x01, 0, 0, 0, 0xC3, 0, 0, 0]);
    // `vmovaps xmm0, [rip + 3]`: 12 bytes from the start.
    let mut misaligned = vec![0xC5, 0xF8, 0x28, 0x05, 4, 0, 0, 0, 0xC3, 0, 0, 0];
    misaligned.extend([0; 16]);
    refused("misaligned constant", &misaligned);
}

#[test]
fn the_stack() {
    refused_code("unbalanced stack", |a| {
        a.push(rax)?;
        a.ret()
    });
    refused_code("unbalanced stack", |a| {
        a.pop(rax)?;
        a.ret()
    });
    // Balanced on one of two ways.
    refused_code("depends on the way", |a| {
        let mut over = a.create_label();
        a.test(rdi, rdi)?;
        a.je(over)?;
        a.push(rax)?;
        a.set_label(&mut over)?;
        a.pop(rax)?;
        a.ret()
    });
    refused_code("depends on the way", |a| {
        let mut head = a.create_label();
        a.set_label(&mut head)?;
        a.push(rax)?;
        a.sub(rdi, 1)?;
        a.jne(head)?;
        a.pop(rax)?;
        a.ret()
    });
    refused_code("stack pointer is lost", |a| {
        a.mov(rsp, rdi)?;
        a.ret()
    });
    refused_code("below the stack pointer", |a| {
        a.mov(qword_ptr(rsp - 16), rdi)?;
        a.ret()
    });
    refused_code("the caller's frame", |a| {
        a.mov(qword_ptr(rsp), rdi)?;
        a.ret()
    });
    refused_code("misaligned access to the stack", |a| {
        a.sub(rsp, 16)?;
        a.vmovaps(xmmword_ptr(rsp), xmm0)?;
        a.add(rsp, 16)?;
        a.ret()
    });
    refused_code("faults when it is not aligned", |a| {
        a.addps(xmm0, xmmword_ptr(rdi))?;
        a.ret()
    });
}

#[test]
fn registers_of_the_caller() {
    refused_code("without the caller's rbx", |a| {
        a.xor(ebx, ebx)?;
        a.ret()
    });
    refused_code("without the caller's r14", |a| {
        a.push(r15)?;
        a.push(r14)?;
        a.pop(r15)?;
        a.pop(r14)?;
        a.ret()
    });
    // Restored on one of two ways.
    refused_code("without the caller's r12", |a| {
        let mut over = a.create_label();
        a.push(r12)?;
        a.mov(r12, rdi)?;
        a.test(rdi, rdi)?;
        a.je(over)?;
        a.mov(r12, qword_ptr(rsp))?;
        a.set_label(&mut over)?;
        a.add(rsp, 8)?;
        a.ret()
    });
    // The slot is overwritten: by a store of its size, by one across it, by an aligned frame that reaches up to it.
    refused_code("without the caller's rbx", |a| {
        a.push(rbx)?;
        a.mov(qword_ptr(rsp), rdi)?;
        a.pop(rbx)?;
        a.ret()
    });
    refused_code("without the caller's rbx", |a| {
        a.push(rbx)?;
        a.push(rax)?;
        a.vmovups(xmmword_ptr(rsp), xmm0)?;
        a.pop(rax)?;
        a.pop(rbx)?;
        a.ret()
    });
    refused_code("without the caller's rbx", |a| {
        a.push(rbp)?;
        a.mov(rbp, rsp)?;
        a.push(rbx)?;
        a.sub(rsp, 64)?;
        a.and(rsp, -64)?;
        a.mov(qword_ptr(rsp + 64), rdi)?;
        a.lea(rsp, ptr(rbp - 8))?;
        a.pop(rbx)?;
        a.pop(rbp)?;
        a.ret()
    });
}

#[test]
fn upper_halves_of_vector_registers() {
    refused_code("a return after wide code", |a| {
        a.vxorps(ymm0, ymm0, ymm0)?;
        a.ret()
    });
    refused_code("a return after wide code", |a| {
        let mut over = a.create_label();
        a.test(rdi, rdi)?;
        a.je(over)?;
        a.vmovups(ymmword_ptr(rsi), ymm0)?;
        a.set_label(&mut over)?;
        a.ret()
    });
    refused_code("SSE code after wide code", |a| {
        a.vxorps(ymm0, ymm0, ymm0)?;
        a.addps(xmm0, xmm1)?;
        a.vzeroupper()?;
        a.ret()
    });
}

#[test]
fn who_calls_what() {
    let call = [0x48, 0x83, 0xEC, 8, 0xE8, 0, 0, 0, 0, 0x48, 0x83, 0xC4, 8, 0xC3];
    let to = |library| [Relocation { offset: 5, bytes: 4, library }];
    let check = |bytes: &[u8], relocations: &[Relocation], kind| verdict(bytes, relocations, kind, "x86_64-avx2");
    assert_eq!(check(&call, &to(false), Kind::Host), Ok(()));
    assert!(check(&call, &to(true), Kind::Host).unwrap_err().contains("library"));
    assert!(check(&call, &to(false), Kind::Kernel).unwrap_err().contains("outside itself"));
    assert!(
        check(&call[4..], &[Relocation { offset: 1, bytes: 4, library: false }], Kind::Host)
            .unwrap_err()
            .contains("misaligned stack")
    );
    let elsewhere = [Relocation { offset: 6, bytes: 4, library: false }];
    assert!(check(&call, &elsewhere, Kind::Host).unwrap_err().contains("not an operand"));
    assert!(
        check(&[0xC3, 0, 0, 0, 0], &[Relocation { offset: 1, ..to(false)[0] }], Kind::Host)
            .unwrap_err()
            .contains("no instruction uses")
    );
    let jump = [0xE9, 0, 0, 0, 0];
    let answer = check(&jump, &[Relocation { offset: 1, ..to(false)[0] }], Kind::Host);
    assert!(answer.unwrap_err().contains("another function"));
    let wide = assemble(|a| {
        a.sub(rsp, 8)?;
        a.vxorps(ymm0, ymm0, ymm0)?;
        a.call(rax)?;
        a.vzeroupper()?;
        a.add(rsp, 8)?;
        a.ret()
    });
    assert!(check(&wide, &[], Kind::Host).unwrap_err().contains("a call after wide code"));
    // A callee does not keep what lies in registers that are its own to use.
    let lost = assemble(|a| {
        a.mov(r11, rbx)?;
        a.sub(rsp, 8)?;
        a.call(rax)?;
        a.add(rsp, 8)?;
        a.mov(rbx, r11)?;
        a.ret()
    });
    assert!(check(&lost, &[], Kind::Host).unwrap_err().contains("caller's rbx"));
}
