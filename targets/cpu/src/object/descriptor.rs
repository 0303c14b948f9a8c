//! The descriptor, and the tables and strings it points to.
//!
//! Two data objects: the exported descriptor, which has the fixed size of the binary interface, and a local one with
//! everything else. No pointer goes through the exported symbol: another definition of it, or a program's copy of it,
//! would otherwise be where the pointers of this artifact lead.

use crate::error::CodegenError;
use crate::host::Entries;
use cranelift_module::{DataDescription, DataId, Linkage, Module};
use nnc_abi::layout::{dim, fault_descriptor, model, state, symbol, tensor};
use nnc_abi::{
    ABI_VERSION, ALIGNMENT, DType, DimKind, FLAG_ALLOCATES, FLAG_STATES, FLAG_WEIGHTS_IN_FILE, MAGIC,
    MODEL_SYMBOL_PREFIX, TENSOR_ALLOCATED,
};
use nnc_desc::{Arch, Target};
use nnc_ir::{Dim, Encoding, SymbolOrigin};
use nnc_kernels::Program;
use nnc_kernels::plan::Parameter;

/// What the program itself does not say.
pub(crate) struct Facts<'a> {
    pub(crate) target: &'a Target,
    pub(crate) compiler: &'a str,
    pub(crate) source_hash: [u8; 32],
    pub(crate) weights_hash: [u8; 32],
    pub(crate) weights: Option<DataId>,
    /// The file that holds the weights instead.
    pub(crate) weights_file: Option<&'a str>,
    pub(crate) weights_bytes: u64,
    pub(crate) code_bytes: u64,
    pub(crate) entries: Entries,
    /// What may stop a run.
    pub(crate) faults: &'a [String],
    /// Which kernels do not use full vectors, and why.
    pub(crate) widths: &'a [String],
}

/// The symbol of a program's descriptor.
pub(crate) fn symbol_name(program: &Program) -> String {
    format!("{MODEL_SYMBOL_PREFIX}{}", program.name)
}

/// The binary interface's number of an element type.
pub(crate) fn dtype_code(dtype: nnc_ir::DType) -> DType {
    match dtype {
        nnc_ir::DType::Bool => DType::Bool,
        nnc_ir::DType::U8 => DType::U8,
        nnc_ir::DType::I8 => DType::I8,
        nnc_ir::DType::U16 => DType::U16,
        nnc_ir::DType::I16 => DType::I16,
        nnc_ir::DType::U32 => DType::U32,
        nnc_ir::DType::I32 => DType::I32,
        nnc_ir::DType::U64 => DType::U64,
        nnc_ir::DType::I64 => DType::I64,
        nnc_ir::DType::F16 => DType::F16,
        nnc_ir::DType::BF16 => DType::BF16,
        nnc_ir::DType::F32 => DType::F32,
        nnc_ir::DType::F64 => DType::F64,
    }
}

/// The code of a parameter's type for its caller.
pub(crate) fn type_code(parameter: &Parameter) -> DType {
    match parameter.encoding {
        None => dtype_code(parameter.dtype),
        Some(Encoding::Strings) => DType::String,
        Some(Encoding::F8E4M3FN) => DType::F8E4M3FN,
        Some(Encoding::F8E4M3FNUZ) => DType::F8E4M3FNUZ,
        Some(Encoding::F8E5M2) => DType::F8E5M2,
        Some(Encoding::F8E5M2FNUZ) => DType::F8E5M2FNUZ,
        Some(Encoding::F8E8M0) => DType::F8E8M0,
        Some(Encoding::F4E2M1) => DType::F4E2M1,
        Some(Encoding::U4) => DType::U4,
        Some(Encoding::I4) => DType::I4,
        Some(Encoding::U2) => DType::U2,
        Some(Encoding::I2) => DType::I2,
    }
}

/// The tables under construction, with the places in them that hold addresses within them.
#[derive(Default)]
struct Blob {
    bytes: Vec<u8>,
    pointers: Vec<(usize, usize)>,
}

/// The fixed structure under construction, with the places in it that hold addresses within the tables.
struct Fixed {
    bytes: Vec<u8>,
    pointers: Vec<(usize, usize)>,
}

impl Fixed {
    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn point(&mut self, at: usize, to: usize) {
        self.pointers.push((at, to));
    }
}

impl Blob {
    /// Zeros, aligned to 8; answers where.
    fn room(&mut self, bytes: usize) -> usize {
        let at = self.bytes.len().next_multiple_of(8);
        self.bytes.resize(at + bytes, 0);
        at
    }

    fn string(&mut self, text: &str) -> usize {
        let at = self.bytes.len();
        // Strings end at a NUL, so none may lie within.
        self.bytes.extend(text.bytes().filter(|b| *b != 0));
        self.bytes.push(0);
        at
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(slot) = self.bytes.get_mut(at..at + bytes.len()) {
            slot.copy_from_slice(bytes);
        }
    }

    fn point(&mut self, at: usize, to: usize) {
        self.pointers.push((at, to));
    }

    fn text(&mut self, at: usize, text: &str) {
        let to = self.string(text);
        self.point(at, to);
    }

    fn parameters(&mut self, program: &Program, parameters: &[Parameter]) -> usize {
        let table = self.room(parameters.len() * tensor::SIZE);
        for (i, parameter) in parameters.iter().enumerate() {
            let at = table + i * tensor::SIZE;
            self.text(at + tensor::NAME, &parameter.name);
            self.put(at + tensor::DTYPE, &type_code(parameter).code().to_le_bytes());
            self.put(at + tensor::RANK, &(parameter.shape.len() as u32).to_le_bytes());
            let flags = if parameter.has_no_bound(&program.dims) { TENSOR_ALLOCATED } else { 0 };
            self.put(at + tensor::FLAGS, &flags.to_le_bytes());
            let dims = self.room(parameter.shape.len() * dim::SIZE);
            self.point(at + tensor::DIMS, dims);
            for (k, size) in parameter.shape.iter().enumerate() {
                self.dim(program, dims + k * dim::SIZE, size);
            }
        }
        table
    }

    fn dim(&mut self, program: &Program, at: usize, size: &Dim) {
        let (kind, symbol, value) = describe(program, size);
        self.put(at + dim::KIND, &(kind as u32).to_le_bytes());
        self.put(at + dim::SYMBOL, &symbol.to_le_bytes());
        self.put(at + dim::VALUE, &value.to_le_bytes());
        self.text(at + dim::TEXT, &program.dims.display(size).to_string());
    }
}

/// Kind, symbol and value of a dimension in a descriptor.
pub(crate) fn describe(program: &Program, size: &Dim) -> (DimKind, u32, i64) {
    if let Some(value) = size.as_const() {
        return (DimKind::Constant, 0, value);
    }
    let of_data = |s: &nnc_ir::Symbol| program.dims.lookup(*s).is_some_and(|i| i.origin == SymbolOrigin::Node);
    if size.symbols().iter().any(of_data) {
        let bound = size.greatest(&program.dims).and_then(|b| b.as_const());
        return (DimKind::Data, 0, bound.unwrap_or(-1));
    }
    match size.as_symbol() {
        Some(symbol) => (DimKind::Symbol, number(program, symbol), -1),
        None => (DimKind::Expression, 0, -1),
    }
}

/// A symbol's position among those of the inputs, which are the ones a descriptor lists.
fn number(program: &Program, symbol: nnc_ir::Symbol) -> u32 {
    program.dims.iter().filter(|(s, i)| i.origin == SymbolOrigin::Input && *s < symbol).count() as u32
}

/// Defines the tables and the descriptor, the only exported symbol.
pub(crate) fn define<M: Module>(module: &mut M, program: &Program, facts: &Facts<'_>) -> Result<DataId, CodegenError> {
    let name = symbol_name(program);
    let fail = |e: cranelift_module::ModuleError| CodegenError::backend("descriptor", e);
    let id = module.declare_data(&name, Linkage::Export, false, false).map_err(fail)?;
    let tables =
        module.declare_data(&format!("{}.tables", program.name), Linkage::Local, false, false).map_err(fail)?;
    let mut blob = Blob::default();
    let mut fixed = Fixed { bytes: vec![0; model::SIZE], pointers: vec![] };
    let rank_sum = |p: &[Parameter]| p.iter().map(|p| p.shape.len() as u32).sum::<u32>();
    let symbols: Vec<_> = program.dims.iter().filter(|(_, i)| i.origin == SymbolOrigin::Input).collect();
    let (arch, features) = machine(facts.target);
    let workspace = program.workspace_bytes.as_const().unwrap_or(-1);
    let words: [(usize, u64); 7] = [
        (model::MAGIC, MAGIC),
        (model::FEATURES, features),
        (model::WORKSPACE_BYTES, workspace as u64),
        (model::WORKSPACE_ALIGNMENT, ALIGNMENT as u64),
        (model::WEIGHTS_BYTES, facts.weights_bytes),
        (model::CODE_BYTES, facts.code_bytes),
        (model::N_STEPS, program.launches()),
    ];
    for (at, value) in words {
        fixed.put(at, &value.to_le_bytes());
    }
    let halves: [(usize, u32); 10] = [
        (model::FLAGS, flags(program, facts)),
        (model::ABI_VERSION, ABI_VERSION),
        (model::STRUCT_BYTES, model::SIZE as u32),
        (model::ARCH, arch as u32),
        (model::N_INPUTS, program.inputs.len() as u32),
        (model::N_OUTPUTS, program.outputs.len() as u32),
        (model::N_SYMBOLS, symbols.len() as u32),
        (model::N_KERNELS, program.kernels.len() as u32),
        (model::INPUT_DIMS_LEN, rank_sum(&program.inputs)),
        (model::OUTPUT_DIMS_LEN, rank_sum(&program.outputs)),
    ];
    for (at, value) in halves {
        fixed.put(at, &value.to_le_bytes());
    }
    fixed.put(model::SOURCE_HASH, &facts.source_hash);
    fixed.put(model::WEIGHTS_HASH, &facts.weights_hash);
    let workspace = program.workspace_bytes.as_const().is_none();
    let workspace = workspace.then(|| program.dims.display(&program.workspace_bytes).to_string());
    let widths = (!facts.widths.is_empty()).then(|| facts.widths.join("\n"));
    let texts = [
        (model::NAME, Some(program.name.as_str())),
        (model::TARGET, Some(facts.target.name.as_str())),
        (model::COMPILER, Some(facts.compiler)),
        (model::WORKSPACE_TEXT, workspace.as_deref()),
        (model::WIDTH_TEXT, widths.as_deref()),
        (model::WEIGHTS_FILE, facts.weights_file),
    ];
    for (at, text) in texts {
        if let Some(text) = text {
            fixed.point(at, blob.string(text));
        }
    }
    let inputs = blob.parameters(program, &program.inputs);
    fixed.point(model::INPUTS, inputs);
    let outputs = blob.parameters(program, &program.outputs);
    fixed.point(model::OUTPUTS, outputs);
    let table = blob.room(symbols.len() * symbol::SIZE);
    fixed.point(model::SYMBOLS, table);
    for (i, (_, info)) in symbols.iter().enumerate() {
        let at = table + i * symbol::SIZE;
        blob.text(at + symbol::NAME, &info.name);
        blob.put(at + symbol::MIN, &info.min.to_le_bytes());
        blob.put(at + symbol::MAX, &info.max.to_le_bytes());
    }
    states(program, &mut blob, &mut fixed);
    if !facts.faults.is_empty() {
        let table = blob.room(facts.faults.len() * fault_descriptor::SIZE);
        fixed.point(model::FAULTS, table);
        fixed.put(model::N_FAULTS, &(facts.faults.len() as u64).to_le_bytes());
        for (i, text) in facts.faults.iter().enumerate() {
            blob.text(table + i * fault_descriptor::SIZE + fault_descriptor::TEXT, text);
        }
    }
    let mut data = DataDescription::new();
    data.set_align(8);
    let itself = module.declare_data_in_data(tables, &mut data);
    for (at, to) in &blob.pointers {
        data.write_data_addr(*at as u32, itself, *to as i64);
    }
    data.define(blob.bytes.into_boxed_slice());
    module.define_data(tables, &data).map_err(fail)?;
    let mut data = DataDescription::new();
    data.set_align(ALIGNMENT as u64);
    let tables = module.declare_data_in_data(tables, &mut data);
    for (at, to) in &fixed.pointers {
        data.write_data_addr(*at as u32, tables, *to as i64);
    }
    if let Some(weights) = facts.weights {
        let weights = module.declare_data_in_data(weights, &mut data);
        data.write_data_addr(model::WEIGHTS as u32, weights, 0);
    }
    for (at, function) in [(model::PLAN, facts.entries.plan), (model::RUN, facts.entries.run)] {
        let function = module.declare_func_in_data(function, &mut data);
        data.write_function_addr(at as u32, function);
    }
    data.define(fixed.bytes.into_boxed_slice());
    module.define_data(id, &data).map_err(fail)?;
    Ok(id)
}

fn flags(program: &Program, facts: &Facts<'_>) -> u32 {
    let weights = if facts.weights_file.is_some() { FLAG_WEIGHTS_IN_FILE } else { 0 };
    let states = if program.states.is_empty() { 0 } else { FLAG_STATES };
    weights | states | if program.allocates() { FLAG_ALLOCATES } else { 0 }
}

/// Writes the table of states.
fn states(program: &Program, blob: &mut Blob, fixed: &mut Fixed) {
    if program.states.is_empty() {
        return;
    }
    let table = blob.room(program.states.len() * state::SIZE);
    fixed.point(model::STATES, table);
    fixed.put(model::N_STATES, &(program.states.len() as u64).to_le_bytes());
    for (i, kept) in program.states.iter().enumerate() {
        let at = table + i * state::SIZE;
        let (axis, capacity) = kept.growth.map_or((u32::MAX, -1), |(axis, capacity)| (axis as u32, capacity));
        for (field, number) in
            [(state::INPUT, kept.input as u32), (state::OUTPUT, kept.output as u32), (state::AXIS, axis)]
        {
            blob.put(at + field, &number.to_le_bytes());
        }
        blob.put(at + state::CAPACITY, &capacity.to_le_bytes());
    }
}

/// Architecture and feature bits of the binary interface.
fn machine(target: &Target) -> (nnc_abi::Arch, u64) {
    let arch = match target.arch {
        Arch::X86_64 => nnc_abi::Arch::X86_64,
        Arch::Aarch64 => nnc_abi::Arch::Aarch64,
    };
    let named = nnc_abi::features_of(arch);
    let bits = target.features.iter().filter_map(|f| named.iter().find(|(name, _)| *name == f.name()));
    (arch, bits.fold(0, |set, (_, bit)| set | bit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nnc_ir::SymbolInfo;

    #[test]
    fn kinds_of_dimensions() {
        let mut program = crate::tests::empty_program("m");
        let count = SymbolInfo { max: 9, origin: SymbolOrigin::Node, ..SymbolInfo::input("count") };
        let count = Dim::sym(program.dims.new_symbol(count));
        let n = Dim::sym(program.dims.new_symbol(SymbolInfo::input("n")));
        for (size, expected) in [
            (Dim::from(5), (DimKind::Constant, 0, 5)),
            // The first of those that a descriptor lists.
            (n.clone(), (DimKind::Symbol, 0, -1)),
            (&n + 1, (DimKind::Expression, 0, -1)),
            (count.clone(), (DimKind::Data, 0, 9)),
            (&count + 1, (DimKind::Data, 0, 10)),
            (&count + &n, (DimKind::Data, 0, -1)),
        ] {
            assert_eq!(describe(&program, &size), expected, "{size}");
        }
    }
}
