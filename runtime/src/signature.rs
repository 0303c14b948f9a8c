//! A descriptor, checked and copied into Rust types.
//!
//! Everything that later code relies on is established here: known version and types, no null where one is not allowed,
//! lengths that agree. Nothing is read beyond the first fields before magic, version and size are known to fit. The same
//! code reads a descriptor in memory and one in a file that is not loaded; see [`Source`].

use std::fmt;

use nnc_abi::layout::{dim, fault_descriptor, model, state, symbol, tensor};
use nnc_abi::{
    ABI_VERSION, ALIGNMENT, Arch, DType, DimKind, FLAG_ALLOCATES, FLAG_STATES, FLAG_WEIGHTS_IN_FILE, MAGIC, Status,
    TENSOR_ALLOCATED,
};

use crate::source::Source;
use crate::{Error, Result, StateInfo, cpu};

/// What a model takes, gives and needs.
#[derive(Clone, Debug)]
pub struct Signature {
    /// The model's name.
    pub name: String,
    /// The target it was compiled for.
    pub target: String,
    /// The compiler that made it.
    pub compiler: String,
    /// The kind of processor it was compiled for.
    pub arch: Arch,
    /// Processor features its code needs.
    pub features: u64,
    /// The inputs, in calling order.
    pub inputs: Vec<TensorInfo>,
    /// The outputs, in calling order.
    pub outputs: Vec<TensorInfo>,
    /// Outputs that are kept as inputs of the next run.
    pub states: Vec<StateInfo>,
    /// The symbolic dimensions.
    pub symbols: Vec<Symbol>,
    /// Whether a run allocates memory besides the workspace, for what has no bound from the sizes of the inputs.
    pub allocates: bool,
    /// Workspace of every run, unless it depends on symbols.
    pub workspace_bytes: Option<u64>,
    /// The workspace in terms of the symbols, if it depends on them.
    pub workspace_text: Option<String>,
    /// Bytes of weights.
    pub weights_bytes: u64,
    /// Bytes of machine code.
    pub code_bytes: u64,
    /// Kernels in the code.
    pub kernels: u32,
    /// Kernel launches in one run: of a branch those of the longer side, of a loop those of one round.
    pub steps: u64,
    /// Which kernels do not use the processor's full vectors, and why.
    pub width_notes: Vec<String>,
    /// BLAKE3 of the source model.
    pub source_hash: [u8; 32],
    /// BLAKE3 of the weights.
    pub weights_hash: [u8; 32],
    /// BLAKE3 of the rest of the file, or zeros for a model that is in none.
    pub artifact_hash: [u8; 32],
    /// The side file that holds the weights, if they are not embedded.
    pub weights_file: Option<String>,
    /// What may stop a run, by number: the node, and what must hold there.
    pub faults: Vec<String>,
}

/// An input or output.
#[derive(Clone, Debug)]
pub struct TensorInfo {
    /// Its name in the source model.
    pub name: String,
    /// Its element type.
    pub dtype: DType,
    /// Its dimensions, outermost first.
    pub dims: Vec<Dim>,
    /// Whether how large it may be the sizes of the inputs do not tell, so that a run allocates its memory.
    pub is_allocated: bool,
}

/// A dimension of an input or output.
#[derive(Clone, Debug)]
pub struct Dim {
    /// How it is known.
    pub kind: DimKind,
    /// The index of its symbol, for [`DimKind::Symbol`].
    pub symbol: Option<usize>,
    /// The size, for [`DimKind::Constant`]; an upper bound, if there is one, for [`DimKind::Data`].
    pub value: Option<i64>,
    /// How to print it.
    pub text: String,
}

/// A symbolic dimension and the bounds the model was compiled for.
#[derive(Clone, Debug)]
pub struct Symbol {
    /// Its name.
    pub name: String,
    /// The least value.
    pub min: i64,
    /// The greatest value; `i64::MAX` when unbounded.
    pub max: i64,
}

impl fmt::Display for TensorInfo {
    /// `f32 [batch, 3, 224, 224]`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [", self.dtype)?;
        for (i, dim) in self.dims.iter().enumerate() {
            write!(f, "{}{}", if i == 0 { "" } else { ", " }, dim.text)?;
        }
        f.write_str("]")
    }
}

impl Signature {
    /// Number of dimensions of all inputs together.
    pub fn input_dims_len(&self) -> usize {
        self.inputs.iter().map(|t| t.dims.len()).sum()
    }

    /// Where the dimensions of an input are among those of all inputs.
    pub(crate) fn input_dims_of(&self, input: usize) -> std::ops::Range<usize> {
        let first: usize = self.inputs[..input].iter().map(|t| t.dims.len()).sum();
        first..first + self.inputs[input].dims.len()
    }

    /// Number of dimensions of all outputs together.
    pub fn output_dims_len(&self) -> usize {
        self.outputs.iter().map(|t| t.dims.len()).sum()
    }

    /// Reads a descriptor; `origin` names it in errors.
    pub(crate) fn read<S: Source>(source: &S, at: S::Address, origin: &str) -> Result<Signature> {
        let refuse = |status, why: &str| Err(Error::new(status, format!("{origin}: {why}")));
        let fields = Fields { source, at };
        // The first fields are the same in every version.
        let head = (fields.u64(model::MAGIC), fields.u32(model::ABI_VERSION), fields.u32(model::STRUCT_BYTES));
        let (Some(magic), Some(version), Some(bytes)) = head else {
            return refuse(Status::NotAModel, "not a compiled model: its descriptor is not in its data");
        };
        if magic != MAGIC {
            return refuse(Status::NotAModel, "not a compiled model: the descriptor's magic number is wrong");
        }
        if version != ABI_VERSION {
            let why = format!("built for ABI version {version}, this runtime has {ABI_VERSION}; recompile the model");
            return refuse(Status::AbiMismatch, &why);
        }
        if (bytes as usize) < model::SIZE {
            return refuse(Status::AbiMismatch, "built by an older nnc; recompile the model");
        }
        match read_checked(&fields) {
            Ok(signature) => Ok(signature),
            Err(Flaw::Flags(flags)) => {
                refuse(Status::AbiMismatch, &format!("has flags this runtime does not know: {flags:#x}"))
            }
            Err(Flaw::Arch) => refuse(Status::WrongArch, "compiled for an unknown processor"),
            Err(Flaw::Field(why)) => refuse(Status::NotAModel, &format!("the descriptor is damaged: {why}")),
        }
    }

    /// Refuses a model for another processor, naming what is missing.
    pub(crate) fn check_machine(&self, origin: &str) -> Result<()> {
        if Some(self.arch) != Arch::HOST {
            let (found, host) = (self.arch.name(), Arch::HOST.map_or("another", Arch::name));
            let message = format!("{origin}: compiled for {found}, this machine is {host}");
            return Err(Error::new(Status::WrongArch, message));
        }
        let missing = cpu::missing(self.features);
        if missing != 0 {
            let names = cpu::describe(self.arch, missing);
            let message = format!("{origin}: compiled for {}, but this processor lacks {names}", self.target);
            return Err(Error::new(Status::UnsupportedCpu, message));
        }
        Ok(())
    }
}

/// What is wrong with a descriptor of this version.
enum Flaw {
    Flags(u32),
    Arch,
    /// The field's name.
    Field(&'static str),
}

/// A structure at an address.
struct Fields<'a, S: Source> {
    source: &'a S,
    at: S::Address,
}

impl<'a, S: Source> Fields<'a, S> {
    fn bytes<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.source.bytes(self.source.offset(self.at, offset), N)?.try_into().ok()
    }

    fn u32(&self, offset: usize) -> Option<u32> {
        Some(u32::from_le_bytes(self.bytes(offset)?))
    }

    fn u64(&self, offset: usize) -> Option<u64> {
        Some(u64::from_le_bytes(self.bytes(offset)?))
    }

    fn i64(&self, offset: usize) -> Option<i64> {
        Some(i64::from_le_bytes(self.bytes(offset)?))
    }

    fn pointer(&self, offset: usize) -> Option<Option<S::Address>> {
        self.source.pointer(self.source.offset(self.at, offset))
    }

    fn text(&self, offset: usize) -> Option<String> {
        self.source.text(self.pointer(offset)??)
    }

    /// A string that may be absent.
    fn optional_text(&self, offset: usize) -> Option<Option<String>> {
        match self.pointer(offset)? {
            None => Some(None),
            Some(at) => self.source.text(at).map(Some),
        }
    }

    /// Reads the `count` structures of `size` bytes that a pointer leads to.
    fn each<T>(
        &self,
        offset: usize,
        count: u32,
        size: usize,
        read: impl Fn(&Fields<'a, S>) -> Option<T>,
    ) -> Option<Vec<T>> {
        if count == 0 {
            return Some(vec![]);
        }
        let table = self.pointer(offset)?.filter(|at| self.source.is_aligned(*at, 8))?;
        // No room is set aside: a count can be anything, and the first structure that is not there ends it.
        let mut all = vec![];
        for i in 0..count as usize {
            all.push(read(&Fields { source: self.source, at: self.source.offset(table, i.checked_mul(size)?) })?);
        }
        Some(all)
    }

    /// Whether the pointer leads to code, or is null where that is allowed.
    fn is_function(&self, offset: usize, or_null: bool) -> Option<bool> {
        Some(self.pointer(offset)?.map_or(or_null, |at| self.source.is_code(at)))
    }
}

/// Reads a descriptor of this version.
fn read_checked<S: Source>(fields: &Fields<'_, S>) -> Result<Signature, Flaw> {
    let field = |name: &'static str| move || Flaw::Field(name);
    if !fields.source.is_aligned(fields.at, model::ALIGN) || fields.source.bytes(fields.at, model::SIZE).is_none() {
        return Err(Flaw::Field("its place"));
    }
    let number = |offset, name| fields.u32(offset).ok_or_else(field(name));
    let long = |offset, name| fields.u64(offset).ok_or_else(field(name));
    let hash = |offset, name| fields.bytes::<32>(offset).ok_or_else(field(name));
    let arch = Arch::from_code(number(model::ARCH, "arch")?).ok_or(Flaw::Arch)?;
    let flags = number(model::FLAGS, "flags")?;
    if flags & !(FLAG_WEIGHTS_IN_FILE | FLAG_STATES | FLAG_ALLOCATES) != 0 {
        return Err(Flaw::Flags(flags));
    }
    let count = number(model::N_SYMBOLS, "n_symbols")?;
    let symbols = fields.each(model::SYMBOLS, count, symbol::SIZE, |s| {
        Some(Symbol { name: s.text(symbol::NAME)?, min: s.i64(symbol::MIN)?, max: s.i64(symbol::MAX)? })
    });
    let symbols = symbols.ok_or_else(field("symbols"))?;
    let tensors = |table, count| {
        let list = fields.each(table, count, tensor::SIZE, |t| read_tensor(t, symbols.len()));
        list.filter(|list| strings_have_bytes(list))
    };
    let inputs = tensors(model::INPUTS, number(model::N_INPUTS, "n_inputs")?).ok_or_else(field("inputs"))?;
    let outputs = tensors(model::OUTPUTS, number(model::N_OUTPUTS, "n_outputs")?).ok_or_else(field("outputs"))?;
    let count = u32::try_from(long(model::N_FAULTS, "n_faults")?).map_err(|_| Flaw::Field("n_faults"))?;
    let kept = u32::try_from(long(model::N_STATES, "n_states")?).map_err(|_| Flaw::Field("n_states"))?;
    let states = fields.each(model::STATES, kept, state::SIZE, |s| read_state(s, &inputs, &outputs));
    let widths = fields.optional_text(model::WIDTH_TEXT).ok_or_else(field("width_text"))?;
    let faults = fields.each(model::FAULTS, count, fault_descriptor::SIZE, |f| f.text(fault_descriptor::TEXT));
    let signature = Signature {
        name: fields.text(model::NAME).ok_or_else(field("name"))?,
        target: fields.text(model::TARGET).ok_or_else(field("target"))?,
        compiler: fields.text(model::COMPILER).ok_or_else(field("compiler"))?,
        arch,
        features: long(model::FEATURES, "features")?,
        inputs,
        outputs,
        states: states.ok_or_else(field("states"))?,
        symbols,
        allocates: flags & FLAG_ALLOCATES != 0,
        workspace_bytes: u64::try_from(fields.i64(model::WORKSPACE_BYTES).ok_or_else(field("workspace_bytes"))?).ok(),
        workspace_text: fields.optional_text(model::WORKSPACE_TEXT).ok_or_else(field("workspace_text"))?,
        weights_bytes: long(model::WEIGHTS_BYTES, "weights_bytes")?,
        code_bytes: long(model::CODE_BYTES, "code_bytes")?,
        kernels: number(model::N_KERNELS, "n_kernels")?,
        steps: long(model::N_STEPS, "n_steps")?,
        width_notes: widths.iter().flat_map(|text| text.lines()).map(str::to_owned).collect(),
        source_hash: hash(model::SOURCE_HASH, "source_hash")?,
        weights_hash: hash(model::WEIGHTS_HASH, "weights_hash")?,
        artifact_hash: hash(model::ARTIFACT_HASH, "artifact_hash")?,
        weights_file: fields.optional_text(model::WEIGHTS_FILE).ok_or_else(field("weights_file"))?,
        faults: faults.ok_or_else(field("faults"))?,
    };
    if (flags & FLAG_STATES != 0) == signature.states.is_empty() {
        return Err(Flaw::Field("states"));
    }
    check_whole(fields, &signature, flags & FLAG_WEIGHTS_IN_FILE != 0)?;
    Ok(signature)
}

/// A state of these inputs and outputs.
fn read_state<S: Source>(s: &Fields<'_, S>, inputs: &[TensorInfo], outputs: &[TensorInfo]) -> Option<StateInfo> {
    let (input, output) = (s.u32(state::INPUT)? as usize, s.u32(state::OUTPUT)? as usize);
    let (taken, given) = (inputs.get(input)?, outputs.get(output)?);
    let growth = match s.u32(state::AXIS)? {
        u32::MAX => None,
        axis => Some((axis as usize, s.i64(state::CAPACITY)?)),
    };
    let fits = growth.is_none_or(|(axis, capacity)| axis < given.dims.len() && capacity >= 0);
    let same = taken.dtype == given.dtype && taken.dims.len() == given.dims.len();
    (fits && same).then_some(StateInfo { input, output, growth })
}

/// What must hold between fields.
fn check_whole<S: Source>(fields: &Fields<'_, S>, signature: &Signature, in_file: bool) -> Result<(), Flaw> {
    let constant = |t: &TensorInfo| t.dims.iter().all(|d| d.kind == DimKind::Constant);
    let all_constant = signature.inputs.iter().all(constant) && signature.outputs.iter().all(constant);
    let plan_needed = !all_constant || signature.workspace_bytes.is_none();
    let ranks = |offset, sum: usize| fields.u32(offset).is_some_and(|n| n as usize == sum);
    let weights = match fields.pointer(model::WEIGHTS) {
        Some(Some(at)) => in_file || fields.source.has_weights(at, signature.weights_bytes),
        Some(None) => in_file || signature.weights_bytes == 0,
        None => false,
    };
    let rules = [
        (fields.is_function(model::RUN, false) == Some(true), "run is null or not code"),
        (
            fields.is_function(model::PLAN, !plan_needed) == Some(true),
            "plan is null though sizes are symbolic, or not code",
        ),
        (fields.u64(model::WORKSPACE_ALIGNMENT) == Some(ALIGNMENT as u64), "workspace_alignment"),
        (ranks(model::INPUT_DIMS_LEN, signature.input_dims_len()), "input_dims_len"),
        (ranks(model::OUTPUT_DIMS_LEN, signature.output_dims_len()), "output_dims_len"),
        (!signature.inputs.iter().any(|t| t.dims.iter().any(|d| d.kind == DimKind::Data)), "an input's dimensions"),
        (!signature.inputs.iter().any(|t| t.is_allocated), "an input's flags"),
        (signature.allocates || !signature.outputs.iter().any(|t| t.is_allocated), "an output's flags"),
        (in_file == signature.weights_file.is_some(), "weights_file"),
        (signature.weights_file.as_ref().is_none_or(|f| is_file_name(f)), "weights_file"),
        (weights, "weights"),
        (all_differ(signature.states.iter().map(|s| s.input)), "states"),
        (all_differ(signature.states.iter().map(|s| s.output)), "states"),
    ];
    rules.into_iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, why)| Err(Flaw::Field(why)))
}

fn all_differ(numbers: impl Iterator<Item = usize>) -> bool {
    let mut numbers: Vec<usize> = numbers.collect();
    let count = numbers.len();
    numbers.sort_unstable();
    numbers.dedup();
    numbers.len() == count
}

/// Whether a name leads to a file of the same folder.
fn is_file_name(name: &str) -> bool {
    !name.is_empty() && !name.contains('/') && name != "." && name != ".."
}

fn read_tensor<S: Source>(t: &Fields<'_, S>, symbols: usize) -> Option<TensorInfo> {
    let dtype = DType::from_code(t.u32(tensor::DTYPE)?)?;
    let dims = t.each(tensor::DIMS, t.u32(tensor::RANK)?, dim::SIZE, |d| {
        let kind = DimKind::from_code(d.u32(dim::KIND)?)?;
        let symbol = if kind == DimKind::Symbol { Some(d.u32(dim::SYMBOL)? as usize) } else { None };
        let value = dim_value(d.i64(dim::VALUE)?, kind)?;
        let text = d.text(dim::TEXT)?;
        symbol.is_none_or(|s| s < symbols).then_some(Dim { kind, symbol, value, text })
    })?;
    let flags = Some(t.u32(tensor::FLAGS)?).filter(|flags| flags & !TENSOR_ALLOCATED == 0)?;
    let is_allocated = flags & TENSOR_ALLOCATED != 0;
    Some(TensorInfo { name: t.text(tensor::NAME)?, dtype, dims, is_allocated })
}

/// Whether the bytes follow each tensor of strings.
fn strings_have_bytes(list: &[TensorInfo]) -> bool {
    let bytes = |info: Option<&TensorInfo>| info.is_some_and(|info| info.dtype == DType::U8 && info.dims.len() == 1);
    list.iter().enumerate().all(|(i, info)| info.dtype != DType::String || bytes(list.get(i + 1)))
}

/// The inner `None` is "not known", the outer "not allowed".
fn dim_value(value: i64, kind: DimKind) -> Option<Option<i64>> {
    match kind {
        DimKind::Constant => (value >= 0).then_some(Some(value)),
        DimKind::Data => Some((value >= 0).then_some(value)),
        DimKind::Symbol | DimKind::Expression => Some(None),
    }
}
