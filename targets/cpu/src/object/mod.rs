//! The relocatable object: code and descriptor from Cranelift, weights streamed behind them.
//!
//! Cranelift's object has an undefined symbol for the weights. [`elf::Template`] knows where that symbol, the section
//! table and the descriptor's hashes lie, and [`Object::write_to`] writes the object with one more section, packing each
//! weight on its way to the file, so that the packed copy of a model never lies in memory.
//!
//! Weights that no artifact can hold, or that are asked for apart, are streamed to a file beside it instead, which ends in
//! a [`WeightsTrailer`](nnc_abi::WeightsTrailer); the object then carries their hash alone.

pub(crate) mod descriptor;
mod elf;
pub(crate) mod weights;

use crate::code::{Site, fill, weights_symbol};
use crate::cranelift::isa::isa;
use crate::emit::Listing;
use crate::error::CodegenError;
use crate::{KernelCode, Options, WeightsPlace};
use cranelift_object::object::SymbolScope;
use cranelift_object::object::write::Symbol;
use cranelift_object::{ObjectBuilder, ObjectModule};
use nnc_abi::layout::weights_trailer as trailer;
use nnc_abi::{MODEL_SYMBOL, WEIGHTS_MAGIC};
use nnc_desc::Target;
use nnc_kernels::{Program, Weight};
use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use weights::Layout;

/// What relative addressing reaches, with room for code.
const MOST_BYTES: u64 = (2 << 30) - (64 << 20);

/// An object ready to be written.
pub(crate) struct Object {
    template: elf::Template,
    layout: Layout,
    weights: Vec<Weight>,
    /// The file beside the artifact that the weights go to, if they go to one.
    side: Option<Side>,
    pub(crate) kernels: Vec<KernelCode>,
}

/// A file of weights beside an artifact.
struct Side {
    name: String,
    /// Whether it has been written, and so the hash of the weights is known.
    written: bool,
}

impl Object {
    pub(crate) fn new(
        program: &Program,
        target: &Target,
        options: &Options,
        listing: &mut Listing,
    ) -> Result<Object, CodegenError> {
        let layout = Layout::new(&program.weights);
        let side = match &options.weights {
            _ if layout.bytes == 0 => None,
            WeightsPlace::Beside(name) => Some(name),
            WeightsPlace::BesideIfLarge(name) if layout.bytes > MOST_BYTES => Some(name),
            WeightsPlace::Within if layout.bytes > MOST_BYTES => {
                let what = "the weights section, what the model repeats of constants included,";
                return Err(CodegenError::TooLarge { what, bytes: layout.bytes, limit: MOST_BYTES });
            }
            WeightsPlace::BesideIfLarge(_) | WeightsPlace::Within => None,
        };
        let fail = |e: &dyn std::fmt::Display| CodegenError::backend("object", e);
        let names = cranelift_module::default_libcall_names();
        let builder = ObjectBuilder::new(isa(target, true)?, program.name.clone(), names).map_err(|e| fail(&e))?;
        let mut module = ObjectModule::new(builder);
        let site = match side {
            Some(name) => Site::Beside(name),
            None => Site::Near,
        };
        let filled = fill(&mut module, program, target, options, &layout, [0; 32], site, listing)?;
        let mut product = module.finish();
        let symbol = product.data_symbol(filled.descriptor);
        let named = product.object.symbol(symbol);
        // A second name that is the same for every model. It is weak, so that several models link into one program.
        let alias = Symbol {
            name: MODEL_SYMBOL.as_bytes().to_vec(),
            value: named.value,
            size: named.size,
            kind: named.kind,
            scope: SymbolScope::Dynamic,
            weak: true,
            section: named.section,
            flags: cranelift_object::object::SymbolFlags::None,
        };
        product.object.add_symbol(alias);
        let bytes = product.emit().map_err(|e| fail(&e))?;
        let embedded = layout.bytes > 0 && side.is_none();
        let template = elf::Template::new(
            bytes,
            &descriptor::symbol_name(program),
            embedded.then(|| weights_symbol(program)).as_deref(),
        )
        .map_err(|e| fail(&e))?
        .ok_or_else(|| CodegenError::backend("object", "it has no descriptor"))?;
        let side = side.map(|name| Side { name: name.clone(), written: false });
        Ok(Object { template, layout, weights: program.weights.clone(), side, kernels: filled.kernels })
    }

    /// Bytes of the weights, wherever they go.
    pub(crate) fn weights_bytes(&self) -> u64 {
        self.layout.bytes
    }

    /// Bytes of the weights within the object.
    pub(crate) fn embedded_bytes(&self) -> u64 {
        if self.side.is_some() { 0 } else { self.layout.bytes }
    }

    /// The name of the file beside the artifact that the weights go to, if they go to one.
    pub(crate) fn side_file(&self) -> Option<&str> {
        self.side.as_ref().map(|side| side.name.as_str())
    }

    /// Writes that file, and their hash into the object.
    pub(crate) fn write_side_file(&mut self, file: &File) -> io::Result<()> {
        let Some(side) = &mut self.side else { return Ok(()) };
        let mut out = BufWriter::with_capacity(1 << 20, file);
        let hash = self.layout.write_to(&self.weights, &mut out)?;
        let mut end = [0; trailer::SIZE];
        let fields: [(usize, &[u8]); 3] = [
            (trailer::MAGIC, &WEIGHTS_MAGIC.to_le_bytes()),
            (trailer::WEIGHTS_BYTES, &self.layout.bytes.to_le_bytes()),
            (trailer::WEIGHTS_HASH, &hash),
        ];
        for (at, bytes) in fields {
            end[at..at + bytes.len()].copy_from_slice(bytes);
        }
        out.write_all(&end)?;
        out.flush()?;
        self.template.set_weights_hash(&hash);
        side.written = true;
        Ok(())
    }

    /// Refuses to go on before the hash of the weights is known.
    pub(crate) fn check_complete(&self) -> Result<(), CodegenError> {
        match &self.side {
            Some(Side { name, written: false }) => Err(CodegenError::Program(format!("{name} was not written yet"))),
            _ => Ok(()),
        }
    }

    /// Bytes of the whole object.
    pub(crate) fn len(&self) -> u64 {
        self.template.len(self.embedded_bytes())
    }

    /// The object without its weights but with room for them, to be linked; see [`Object::write_weights`].
    pub(crate) fn with_room(&self) -> Vec<u8> {
        self.template.with_room(self.embedded_bytes())
    }

    /// Writes the weights alone; answers their hash.
    pub(crate) fn write_weights(&self, out: &mut dyn Write) -> io::Result<[u8; 32]> {
        self.layout.write_to(&self.weights, out)
    }

    /// Writes the object from the writer's current position, which must be its start.
    pub(crate) fn write_to(&self, out: &mut (impl Write + Seek)) -> io::Result<()> {
        self.template.write(out, self.embedded_bytes(), |out| self.layout.write_to(&self.weights, out))
    }
}
