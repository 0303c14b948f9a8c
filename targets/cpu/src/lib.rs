//! Code generation for processors: kernels and the host plan become machine code, an object and a shared library.
//!
//! ```text
//! Program ──math──▶ elementary kernels ──x86 (wide vectors) or cranelift──▶ functions ─┐
//!    └──host──▶ plan and run functions ────────────────────────────────────────────────┼─object──▶ .o, .a ──link──▶ .so
//!    └──weights, signature──▶ descriptor, weights section ─────────────────────────────┘
//! ```
//!
//! Invariants:
//! - an artifact exports its descriptor and nothing else, and has no undefined symbol, constructor or writable data;
//! - the same program, target and options give the same bytes;
//! - machine code for x86-64 is decoded and checked before it enters an object or memory (`check`);
//! - no input makes this crate panic: what it cannot do is a [`CodegenError`] that names kernel and statement.

mod check;
mod code;
mod cranelift;
mod emit;
pub mod error;
mod header;
mod host;
mod jit;
mod link;
mod object;
#[cfg(test)]
mod tests;
mod width;
pub mod x86;

pub use error::CodegenError;
pub use jit::{Jit, JitModel};
pub use width::{Width, notes};

use emit::{Form, Listing};
use nnc_desc::{Arch, Target};
use nnc_kernels::Program;
use object::Object;
use std::fs::File;
use std::io;
use std::path::Path;

/// Where an artifact's weights go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum WeightsPlace {
    /// Into the artifact; what it cannot hold is refused.
    #[default]
    Within,
    /// Into the artifact, or into a file of this name beside it if that cannot hold them.
    BesideIfLarge(String),
    /// Into a file of this name beside it.
    Beside(String),
}

/// What an artifact says of its origin, and where its weights go.
#[derive(Clone, Debug)]
pub struct Options {
    /// The compiler, e.g. `nnc 0.1.0`.
    pub compiler: String,
    /// BLAKE3 of the source model and its external data.
    pub source_hash: [u8; 32],
    /// Where its weights go.
    pub weights: WeightsPlace,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            compiler: concat!("nnc ", env!("CARGO_PKG_VERSION")).to_owned(),
            source_hash: [0; 32],
            weights: WeightsPlace::default(),
        }
    }
}

/// A kernel's machine code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelCode {
    /// The kernel's name.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
    /// How much of the target's vectors it uses.
    pub width: Width,
}

/// A compiled program, ready to be written.
pub struct Artifact {
    object: Object,
    arch: Arch,
    name: String,
    header: String,
    /// Bytes of machine code.
    pub code_bytes: u64,
    /// Bytes of the weights in their final layout.
    pub weights_bytes: u64,
    /// The kernels, in the program's order.
    pub kernels: Vec<KernelCode>,
}

/// Compiles a program for a target.
///
/// # Errors
/// When the program contradicts itself, or its weights exceed what one file can hold.
pub fn compile(program: &Program, target: &Target, options: &Options) -> Result<Artifact, CodegenError> {
    let mut listing = Listing::new(Form::None, target);
    let object = Object::new(program, target, options, &mut listing)?;
    Ok(Artifact {
        arch: target.arch,
        name: program.name.clone(),
        header: header::text(program, object.side_file(), object.weights_bytes()),
        code_bytes: listing.code_bytes,
        weights_bytes: object.weights_bytes(),
        kernels: object.kernels.clone(),
        object,
    })
}

impl Artifact {
    /// The name of the file beside the artifact that its weights go to, if they go to one.
    pub fn weights_file(&self) -> Option<&str> {
        self.object.side_file()
    }

    /// Writes the weights that go to a file of their own. The artifact, which carries their hash, is written after them.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_weights(&mut self, file: &File) -> io::Result<()> {
        self.object.write_side_file(file)
    }

    /// Writes a shared library that programs linked with it will look for by the name `soname`.
    ///
    /// # Errors
    /// When the linker refuses or a file cannot be written; then there is no file.
    pub fn write_so(&self, path: &Path, soname: &str) -> Result<(), CodegenError> {
        link::write_so(&self.object, self.arch, &self.symbol(), soname, path)
    }

    /// Writes a relocatable object.
    ///
    /// # Errors
    /// When the file cannot be written; then there is none.
    pub fn write_object(&self, path: &Path) -> Result<(), CodegenError> {
        link::write_object(&self.object, path)
    }

    /// Writes a static library.
    ///
    /// # Errors
    /// When the file cannot be written; then there is none.
    pub fn write_archive(&self, path: &Path) -> Result<(), CodegenError> {
        link::write_archive(&self.object, &[self.symbol()], &format!("{}.o", self.name), path)
    }

    /// The model's name, a C identifier.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The exported symbol of the descriptor.
    fn symbol(&self) -> String {
        format!("{}{}", nnc_abi::MODEL_SYMBOL_PREFIX, self.name)
    }

    /// The text of the model's C header.
    pub fn header(&self) -> &str {
        &self.header
    }
}

/// The Cranelift IR of everything that Cranelift compiles of a program.
///
/// # Errors
/// As [`compile`].
pub fn emit_clif(program: &Program, target: &Target) -> Result<String, CodegenError> {
    emit(program, target, Form::Clif)
}

/// The machine code of a program as text.
///
/// # Errors
/// As [`compile`].
pub fn emit_asm(program: &Program, target: &Target) -> Result<String, CodegenError> {
    emit(program, target, Form::Assembly)
}

fn emit(program: &Program, target: &Target, form: Form) -> Result<String, CodegenError> {
    let mut listing = Listing::new(form, target);
    let weights = WeightsPlace::BesideIfLarge(format!("{}.weights", program.name));
    Object::new(program, target, &Options { weights, ..Options::default() }, &mut listing)?;
    Ok(listing.text)
}
