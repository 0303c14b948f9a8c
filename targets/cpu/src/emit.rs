//! Defining functions: checked, and while keeping what is asked of their text, Cranelift's IR or a disassembly.

use crate::check::{self, Function, Kind, Relocation};
use crate::error::CodegenError;
use cranelift_codegen::binemit::Reloc;
use cranelift_codegen::ir::ExternalName;
use cranelift_codegen::{Context, FinalizedMachReloc, FinalizedRelocTarget};
use cranelift_module::{FuncId, Module};
use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter};
use nnc_desc::{Arch, Features, Target};
use std::fmt::Write;

/// Which text is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    None,
    Clif,
    Assembly,
}

/// The functions defined so far.
#[derive(Debug)]
pub(crate) struct Listing {
    form: Form,
    pub(crate) arch: Arch,
    features: Features,
    /// The text kept.
    pub(crate) text: String,
    /// Bytes of machine code.
    pub(crate) code_bytes: u64,
}

impl Listing {
    pub(crate) fn new(form: Form, target: &Target) -> Listing {
        Listing { form, arch: target.arch, features: target.features, text: String::new(), code_bytes: 0 }
    }

    /// Compiles, checks and defines a function.
    pub(crate) fn define<M: Module>(
        &mut self,
        module: &mut M,
        id: FuncId,
        name: &str,
        kind: Kind,
        context: &mut Context,
    ) -> Result<u64, CodegenError> {
        if self.form == Form::Clif {
            // Writing to a string does not fail.
            let _ = writeln!(self.text, "; {name}\n{}", context.func.display());
        }
        context.set_disasm(self.form == Form::Assembly && self.arch != Arch::X86_64);
        // The debug form of Cranelift's errors holds the reason, the display form does not.
        module.define_function(id, context).map_err(|e| CodegenError::backend(name, format!("{e:?}")))?;
        let Some(code) = context.compiled_code() else { return Ok(0) };
        let bytes = code.code_buffer();
        let relocations: Vec<_> = code.buffer.relocs().iter().map(relocation).collect();
        self.check(name, &Function { bytes, relocations: &relocations, kind, traps: true })?;
        if self.form == Form::Assembly {
            match &code.vcode {
                Some(text) if self.arch != Arch::X86_64 => {
                    let _ = writeln!(self.text, "{name}:\n{text}");
                }
                _ => self.disassemble(name, bytes),
            }
        }
        self.code_bytes += bytes.len() as u64;
        Ok(bytes.len() as u64)
    }

    /// Checks and defines a function from its bytes.
    pub(crate) fn define_bytes<M: Module>(
        &mut self,
        module: &mut M,
        id: FuncId,
        name: &str,
        kind: Kind,
        align: u32,
        bytes: &[u8],
    ) -> Result<(), CodegenError> {
        self.check(name, &Function { bytes, relocations: &[], kind, traps: false })?;
        module
            .define_function_bytes(id, u64::from(align), bytes, &[])
            .map_err(|e| CodegenError::backend(name, format!("{e:?}")))?;
        match self.form {
            Form::Assembly if self.arch == Arch::X86_64 => self.disassemble(name, bytes),
            Form::Assembly => {
                let words = bytes.chunks(4).map(|w| w.iter().rev().map(|b| format!("{b:02x}")).collect::<String>());
                let _ = writeln!(self.text, "{name}:\n  {}", words.collect::<Vec<_>>().join(" "));
            }
            Form::Clif => {
                let _ = writeln!(self.text, "; {name}: {} bytes, not made by Cranelift\n", bytes.len());
            }
            Form::None => {}
        }
        self.code_bytes += bytes.len() as u64;
        Ok(())
    }

    fn check(&self, name: &str, function: &Function<'_>) -> Result<(), CodegenError> {
        match self.arch {
            Arch::X86_64 => check::function(function, self.features).map_err(|e| CodegenError::backend(name, e)),
            Arch::Aarch64 => Ok(()),
        }
    }

    fn disassemble(&mut self, name: &str, bytes: &[u8]) {
        let _ = writeln!(self.text, "{name}:");
        let mut formatter = IntelFormatter::new();
        let mut line = String::new();
        for instruction in Decoder::with_ip(64, bytes, 0, DecoderOptions::NONE).iter() {
            line.clear();
            formatter.format(&instruction, &mut line);
            let _ = writeln!(self.text, "{:6x}  {line}", instruction.ip());
        }
    }
}

fn relocation(r: &FinalizedMachReloc) -> Relocation {
    let library = matches!(r.target, FinalizedRelocTarget::ExternalName(ExternalName::LibCall(_)));
    let bytes = if r.kind == Reloc::Abs8 { 8 } else { 4 };
    Relocation { offset: r.offset as usize, bytes, library }
}
