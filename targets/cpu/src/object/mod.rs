//! The relocatable object: code and descriptor from Cranelift, weights streamed behind them.
//!
//! Cranelift's object has an undefined symbol for the weights. [`elf::Template`] knows where that symbol, the section
//! table and the descriptor's hashes lie, and [`Object::write_to`] writes the object with one more section, packing each
//! weight on its way to the file, so that the packed copy of a model never lies in memory.

pub(crate) mod descriptor;
mod elf;
pub(crate) mod weights;

use crate::code::{fill, weights_symbol};
use crate::cranelift::isa::isa;
use crate::emit::Listing;
use crate::error::CodegenError;
use crate::{KernelCode, Options};
use cranelift_object::object::SymbolScope;
use cranelift_object::object::write::Symbol;
use cranelift_object::{ObjectBuilder, ObjectModule};
use nnc_abi::MODEL_SYMBOL;
use nnc_desc::Target;
use nnc_kernels::{Program, Weight};
use std::io::{self, Seek, Write};
use weights::Layout;

/// What relative addressing reaches, with room for code.
const MOST_BYTES: u64 = (2 << 30) - (64 << 20);

/// An object ready to be written.
pub(crate) struct Object {
    template: elf::Template,
    layout: Layout,
    weights: Vec<Weight>,
    pub(crate) kernels: Vec<KernelCode>,
}

impl Object {
    pub(crate) fn new(
        program: &Program,
        target: &Target,
        options: &Options,
        listing: &mut Listing,
    ) -> Result<Object, CodegenError> {
        let layout = Layout::new(&program.weights);
        if layout.bytes > MOST_BYTES {
            let what = "the weights section, what the model repeats of constants included,";
            return Err(CodegenError::TooLarge { what, bytes: layout.bytes, limit: MOST_BYTES });
        }
        let fail = |e: &dyn std::fmt::Display| CodegenError::backend("object", e);
        let names = cranelift_module::default_libcall_names();
        let builder = ObjectBuilder::new(isa(target, true)?, program.name.clone(), names).map_err(|e| fail(&e))?;
        let mut module = ObjectModule::new(builder);
        let filled = fill(&mut module, program, target, options, &layout, [0; 32], true, listing)?;
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
        let has_weights = layout.bytes > 0;
        let template = elf::Template::new(
            bytes,
            &descriptor::symbol_name(program),
            has_weights.then(|| weights_symbol(program)).as_deref(),
        )
        .map_err(|e| fail(&e))?
        .ok_or_else(|| CodegenError::backend("object", "it has no descriptor"))?;
        Ok(Object { template, layout, weights: program.weights.clone(), kernels: filled.kernels })
    }

    pub(crate) fn weights_bytes(&self) -> u64 {
        self.layout.bytes
    }

    /// Bytes of the whole object.
    pub(crate) fn len(&self) -> u64 {
        self.template.len(self.layout.bytes)
    }

    /// The object without its weights but with room for them, to be linked; see [`Object::write_weights`].
    pub(crate) fn with_room(&self) -> Vec<u8> {
        self.template.with_room(self.layout.bytes)
    }

    /// Writes the weights alone; answers their hash.
    pub(crate) fn write_weights(&self, out: &mut dyn Write) -> io::Result<[u8; 32]> {
        self.layout.write_to(&self.weights, out)
    }

    /// Writes the object from the writer's current position, which must be its start.
    pub(crate) fn write_to(&self, out: &mut (impl Write + Seek)) -> io::Result<()> {
        self.template.write(out, self.layout.bytes, |out| self.layout.write_to(&self.weights, out))
    }
}
