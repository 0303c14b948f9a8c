//! A descriptor, checked and copied into Rust types.
//!
//! Everything that later code relies on is established here: known version and types, no null where one is not allowed,
//! lengths that agree. Nothing is read beyond the first fields before magic, version and size are known to fit.

use std::ffi::{CStr, c_char};
use std::fmt;

use nnc_abi::{
    ABI_VERSION, ALIGNMENT, Arch, DType, DimDescriptor, DimKind, FLAG_WEIGHTS_IN_FILE, MAGIC, ModelDescriptor, Status,
    TensorDescriptor,
};

use crate::{Error, Result, cpu};

/// What a model takes, gives and needs.
#[derive(Clone, Debug)]
pub struct Signature {
    /// The model's name.
    pub name: String,
    /// The target it was compiled for.
    pub target: String,
    /// The compiler that made it.
    pub compiler: String,
    /// Processor features its code needs.
    pub features: u64,
    /// The inputs, in calling order.
    pub inputs: Vec<TensorInfo>,
    /// The outputs, in calling order.
    pub outputs: Vec<TensorInfo>,
    /// The symbolic dimensions.
    pub symbols: Vec<Symbol>,
    /// Workspace of every run, unless it depends on symbols.
    pub workspace_bytes: Option<u64>,
    /// Bytes of weights.
    pub weights_bytes: u64,
    /// Bytes of machine code.
    pub code_bytes: u64,
    /// Kernels in the code.
    pub kernels: u32,
    /// BLAKE3 of the source model.
    pub source_hash: [u8; 32],
    /// BLAKE3 of the weights.
    pub weights_hash: [u8; 32],
    /// The side file that holds the weights, if they are not embedded.
    pub weights_file: Option<String>,
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

    /// Number of dimensions of all outputs together.
    pub fn output_dims_len(&self) -> usize {
        self.outputs.iter().map(|t| t.dims.len()).sum()
    }

    /// Reads a descriptor; `origin` names it in errors.
    ///
    /// # Safety
    ///
    /// If it begins with the magic number and this ABI's version, it is a descriptor as that version defines it.
    pub(crate) unsafe fn read(descriptor: *const ModelDescriptor, origin: &str) -> Result<Signature> {
        let refuse = |status, why: &str| Err(Error::new(status, format!("{origin}: {why}")));
        if descriptor.is_null() || !descriptor.is_aligned() {
            return refuse(Status::NotAModel, "the descriptor is null or misaligned");
        }
        // SAFETY: the first fields are the same in every version; the reference is made only once the size is known.
        let (magic, version, bytes) =
            unsafe { ((*descriptor).magic, (*descriptor).abi_version, (*descriptor).struct_bytes) };
        if magic != MAGIC {
            return refuse(Status::NotAModel, "not a compiled model: the descriptor's magic number is wrong");
        }
        if version != ABI_VERSION || (bytes as usize) < size_of::<ModelDescriptor>() {
            let why = format!("built for ABI version {version}, this runtime has {ABI_VERSION}; recompile the model");
            return refuse(Status::AbiMismatch, &why);
        }
        // SAFETY: magic and version say that it is a descriptor.
        let d = unsafe { &*descriptor };
        check_machine(d, origin)?;
        if d.flags & !FLAG_WEIGHTS_IN_FILE != 0 {
            return refuse(Status::AbiMismatch, &format!("has flags this runtime does not know: {:#x}", d.flags));
        }
        // SAFETY: as above.
        match unsafe { read_checked(d) } {
            Ok(signature) => Ok(signature),
            Err(why) => refuse(Status::NotAModel, &format!("the descriptor is damaged: {why}")),
        }
    }
}

/// Refuses a model for another processor, naming what is missing.
fn check_machine(d: &ModelDescriptor, origin: &str) -> Result<()> {
    let arch = Arch::from_code(d.arch);
    if arch.is_none() || arch != Arch::HOST {
        let (found, host) = (arch.map_or("an unknown processor", Arch::name), Arch::HOST.map_or("another", Arch::name));
        let message = format!("{origin}: compiled for {found}, this machine is {host}");
        return Err(Error::new(Status::WrongArch, message));
    }
    let missing = cpu::missing(d.features);
    if let (Some(arch), 1..) = (arch, missing) {
        // SAFETY: a valid descriptor's string.
        let target = unsafe { text(d.target) }.unwrap_or_default();
        let names = cpu::describe(arch, missing);
        let message = format!("{origin}: compiled for {target}, but this processor lacks {names}");
        return Err(Error::new(Status::UnsupportedCpu, message));
    }
    Ok(())
}

/// Reads a descriptor of this version. An error says which field is wrong.
///
/// # Safety
///
/// The descriptor's pointers are as the ABI says.
unsafe fn read_checked(d: &ModelDescriptor) -> Result<Signature, &'static str> {
    // SAFETY: for all calls here, pointers and lengths come from a valid descriptor.
    unsafe {
        let symbols = array(d.symbols, d.n_symbols).ok_or("symbols")?;
        let symbols = symbols.iter().map(|s| Some(Symbol { name: text(s.name)?, min: s.min, max: s.max }));
        let symbols: Vec<Symbol> = symbols.collect::<Option<_>>().ok_or("a symbol's name")?;
        let signature = Signature {
            name: text(d.name).ok_or("name")?,
            target: text(d.target).ok_or("target")?,
            compiler: text(d.compiler).ok_or("compiler")?,
            features: d.features,
            inputs: tensors(d.inputs, d.n_inputs, symbols.len()).ok_or("inputs")?,
            outputs: tensors(d.outputs, d.n_outputs, symbols.len()).ok_or("outputs")?,
            symbols,
            workspace_bytes: u64::try_from(d.workspace_bytes).ok(),
            weights_bytes: d.weights_bytes,
            code_bytes: d.code_bytes,
            kernels: d.n_kernels,
            source_hash: d.source_hash,
            weights_hash: d.weights_hash,
            weights_file: if d.weights_file.is_null() {
                None
            } else {
                Some(text(d.weights_file).ok_or("weights_file")?)
            },
        };
        check_whole(d, &signature)?;
        Ok(signature)
    }
}

/// What must hold between fields.
fn check_whole(d: &ModelDescriptor, signature: &Signature) -> Result<(), &'static str> {
    let constant = |t: &TensorInfo| t.dims.iter().all(|d| d.kind == DimKind::Constant);
    let all_constant = signature.inputs.iter().all(constant) && signature.outputs.iter().all(constant);
    let in_file = d.flags & FLAG_WEIGHTS_IN_FILE != 0;
    let rules = [
        (d.run.is_some(), "run is null"),
        (d.plan.is_some() || (all_constant && d.workspace_bytes >= 0), "plan is null though sizes are symbolic"),
        (d.workspace_alignment == ALIGNMENT as u64, "workspace_alignment"),
        (d.input_dims_len as usize == signature.input_dims_len(), "input_dims_len"),
        (d.output_dims_len as usize == signature.output_dims_len(), "output_dims_len"),
        (!signature.inputs.iter().any(|t| t.dims.iter().any(|d| d.kind == DimKind::Data)), "an input's dimensions"),
        (in_file == signature.weights_file.is_some(), "weights_file"),
        (signature.weights_file.as_ref().is_none_or(|f| !f.is_empty() && !f.contains('/')), "weights_file"),
        (in_file || d.weights_bytes == 0 || !d.weights.is_null(), "weights"),
    ];
    rules.into_iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, why)| Err(why))
}

/// # Safety
///
/// Null, or a valid array.
unsafe fn tensors(at: *const TensorDescriptor, count: u32, symbols: usize) -> Option<Vec<TensorInfo>> {
    // SAFETY: the caller's promise, and the tensors' own pointers are as the ABI says.
    unsafe { array(at, count) }?.iter().map(|t| unsafe { tensor(t, symbols) }).collect()
}

/// # Safety
///
/// The tensor's pointers are as the ABI says.
unsafe fn tensor(t: &TensorDescriptor, symbols: usize) -> Option<TensorInfo> {
    let dtype = DType::from_code(t.dtype).filter(|d| d.bits() > 0)?;
    // SAFETY: the caller's promise.
    let dims = unsafe { array(t.dims, t.rank) }?.iter().map(|d| {
        let kind = DimKind::from_code(d.kind)?;
        let symbol = (kind == DimKind::Symbol).then_some(d.symbol as usize);
        let value = dim_value(d, kind)?;
        // SAFETY: the caller's promise.
        symbol.is_none_or(|s| s < symbols).then_some(Dim { kind, symbol, value, text: unsafe { text(d.text) }? })
    });
    let dims = dims.collect::<Option<Vec<Dim>>>()?;
    // SAFETY: the caller's promise.
    Some(TensorInfo { name: unsafe { text(t.name) }?, dtype, dims })
}

/// The inner `None` is "not known", the outer "not allowed".
fn dim_value(d: &DimDescriptor, kind: DimKind) -> Option<Option<i64>> {
    match kind {
        DimKind::Constant => (d.value >= 0).then_some(Some(d.value)),
        DimKind::Data => Some((d.value >= 0).then_some(d.value)),
        DimKind::Symbol | DimKind::Expression => Some(None),
    }
}

/// # Safety
///
/// `at` is null or valid for `count` elements that are never written.
unsafe fn array<'a, T>(at: *const T, count: u32) -> Option<&'a [T]> {
    if count == 0 {
        return Some(&[]);
    }
    if at.is_null() || !at.is_aligned() {
        return None;
    }
    // SAFETY: the caller's promise.
    Some(unsafe { std::slice::from_raw_parts(at, count as usize) })
}

/// # Safety
///
/// `at` is null or a string that ends in a NUL.
unsafe fn text(at: *const c_char) -> Option<String> {
    if at.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(at) }.to_str().ok().map(str::to_owned)
}
