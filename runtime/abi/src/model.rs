//! The descriptor: what a compiled model is, and where its parts are.

use core::ffi::{c_char, c_void};

use crate::{PlanFn, RunFn};

/// Bit of [`ModelDescriptor::flags`]: the weights lie in the file named by `weights_file`, `weights` is null, and a run
/// needs [`crate::RunArgs::weights`].
pub const FLAG_WEIGHTS_IN_FILE: u32 = 1;

/// Bit of [`ModelDescriptor::flags`]: the model has states, and a run needs [`crate::RunArgs::states`].
pub const FLAG_STATES: u32 = 2;

/// Bit of [`ModelDescriptor::flags`]: a run needs [`crate::RunContext::allocator`].
pub const FLAG_ALLOCATES: u32 = 4;

/// Bit of [`TensorDescriptor::flags`], of outputs alone: how large it may be the sizes of the inputs do not tell, so that a run
/// asks [`crate::RunContext::allocator`] for its memory.
pub const TENSOR_ALLOCATED: u32 = 1;

/// A compiled model: one read-only, 64-byte-aligned data symbol of exactly this size, as programs may copy it (a linker
/// does so for those that are not position-independent). What it points to belongs to symbols that nobody else sees.
#[repr(C)]
#[derive(Debug)]
pub struct ModelDescriptor {
    /// [`crate::MAGIC`].
    pub magic: u64,
    /// [`crate::ABI_VERSION`] of the compiler.
    pub abi_version: u32,
    /// Bytes of this structure in the compiler's version of it.
    pub struct_bytes: u32,
    /// The model's name, a C identifier.
    pub name: *const c_char,
    /// The target it was compiled for, e.g. `x86_64-avx2`.
    pub target: *const c_char,
    /// The compiler that made it, e.g. `nnc 0.1.0`.
    pub compiler: *const c_char,
    /// An [`crate::Arch`].
    pub arch: u32,
    /// Bits named `FLAG_…`; unknown ones are refused.
    pub flags: u32,
    /// The features the code needs, bits of [`crate::x86_64`] or [`crate::aarch64`].
    pub features: u64,
    /// Length of `inputs`.
    pub n_inputs: u32,
    /// Length of `outputs`.
    pub n_outputs: u32,
    /// The inputs, in calling order.
    pub inputs: *const TensorDescriptor,
    /// The outputs, in calling order.
    pub outputs: *const TensorDescriptor,
    /// Length of `symbols`.
    pub n_symbols: u32,
    /// Kernels in the code, for information.
    pub n_kernels: u32,
    /// The symbolic dimensions.
    pub symbols: *const SymbolDescriptor,
    /// Sum of the ranks of the inputs: the length of every `input_dims`.
    pub input_dims_len: u32,
    /// Sum of the ranks of the outputs: the length of every `output_dims`.
    pub output_dims_len: u32,
    /// Workspace of every run, or -1 when it depends on symbols and `plan` must be asked.
    pub workspace_bytes: i64,
    /// Alignment of the workspace: [`crate::ALIGNMENT`].
    pub workspace_alignment: u64,
    /// The embedded weights, aligned to [`crate::ALIGNMENT`], or null.
    pub weights: *const c_void,
    /// Bytes of the weights in their final layout, embedded or in the side file.
    pub weights_bytes: u64,
    /// Bytes of machine code.
    pub code_bytes: u64,
    /// BLAKE3 of the source model file and its external data.
    pub source_hash: [u8; 32],
    /// BLAKE3 of the weights in their final layout.
    pub weights_hash: [u8; 32],
    /// Computes sizes from input dimensions. Null only when no dimension of an input or output is other than constant.
    pub plan: Option<PlanFn>,
    /// Runs the model. Never null.
    pub run: Option<RunFn>,
    /// With [`FLAG_WEIGHTS_IN_FILE`], the side file's name without folder; it lies beside the artifact.
    pub weights_file: *const c_char,
    /// What may stop a run, by number.
    pub faults: *const FaultDescriptor,
    /// Length of `faults`.
    pub n_faults: u64,
    /// The workspace in terms of the symbols, e.g. `64*batch + 128`, to print; null when `workspace_bytes` says it.
    pub workspace_text: *const c_char,
    /// BLAKE3 of the ELF file this was written to (in a static library, of the member) without the embedded weights,
    /// which have a hash of their own, and with zeros in place of this field. Zero in a model that is in no file.
    pub artifact_hash: [u8; 32],
    /// Kernel launches in one run, for information: of a branch those of the longer side, of a loop those of one round.
    pub n_steps: u64,
    /// Which kernels do not use the processor's full vectors, and why: lines to print; null when all do.
    pub width_text: *const c_char,
    /// Outputs that are kept as inputs of the next run. With [`FLAG_STATES`] not null.
    pub states: *const StateDescriptor,
    /// Length of `states`.
    pub n_states: u64,
}

impl ModelDescriptor {
    /// A model of this version that has nothing: what one written by hand fills in.
    pub const NOTHING: ModelDescriptor = ModelDescriptor {
        magic: crate::MAGIC,
        abi_version: crate::ABI_VERSION,
        struct_bytes: size_of::<ModelDescriptor>() as u32,
        name: c"nothing".as_ptr(),
        target: c"host".as_ptr(),
        compiler: c"by hand".as_ptr(),
        arch: if cfg!(target_arch = "x86_64") { crate::Arch::X86_64 as u32 } else { crate::Arch::Aarch64 as u32 },
        flags: 0,
        features: 0,
        n_inputs: 0,
        n_outputs: 0,
        inputs: core::ptr::null(),
        outputs: core::ptr::null(),
        n_symbols: 0,
        n_kernels: 0,
        symbols: core::ptr::null(),
        input_dims_len: 0,
        output_dims_len: 0,
        workspace_bytes: 0,
        workspace_alignment: crate::ALIGNMENT as u64,
        weights: core::ptr::null(),
        weights_bytes: 0,
        code_bytes: 0,
        source_hash: [0; 32],
        weights_hash: [0; 32],
        plan: None,
        run: None,
        weights_file: core::ptr::null(),
        faults: core::ptr::null(),
        n_faults: 0,
        workspace_text: core::ptr::null(),
        artifact_hash: [0; 32],
        n_steps: 0,
        width_text: core::ptr::null(),
        states: core::ptr::null(),
        n_states: 0,
    };
}

/// Something that may stop a run: what must hold of sizes, or a node whose data may be unfit.
#[repr(C)]
#[derive(Debug)]
pub struct FaultDescriptor {
    /// The node, and what must hold there. Never null.
    pub text: *const c_char,
}

/// An output that is kept as an input of the next run, in a block of memory that the caller owns.
///
/// The block is a row-major tensor of the output's shape with `capacity` elements along `axis`, of which the input is the
/// first ones: so what a run adds lies behind what is there, and nothing is copied. `inputs` and `outputs` of a run have
/// places for both tensors, which are not looked at; `input_dims` says how much is there, `output_dims` how much is then.
/// Axes inside of `axis` must keep their sizes for as long as the contents do.
#[repr(C)]
#[derive(Debug)]
pub struct StateDescriptor {
    /// The input, by its position in `inputs`.
    pub input: u32,
    /// The output, by its position in `outputs`.
    pub output: u32,
    /// The axis that grows, or `u32::MAX` when input and output have the same shape.
    pub axis: u32,
    /// Zero.
    pub reserved: u32,
    /// Elements of the block along `axis`; -1 when there is none.
    pub capacity: i64,
}

/// One input or output.
#[repr(C)]
#[derive(Debug)]
pub struct TensorDescriptor {
    /// Its name in the source model.
    pub name: *const c_char,
    /// `rank` dimensions, outermost first.
    pub dims: *const DimDescriptor,
    /// A [`crate::DType`].
    pub dtype: u32,
    /// Number of dimensions.
    pub rank: u32,
    /// Bits named `TENSOR_…`; unknown ones are refused.
    pub flags: u32,
    /// Zero.
    pub reserved: u32,
}

/// One dimension of an input or output.
#[repr(C)]
#[derive(Debug)]
pub struct DimDescriptor {
    /// A [`DimKind`].
    pub kind: u32,
    /// With [`DimKind::Symbol`], the index in `ModelDescriptor::symbols`; else 0.
    pub symbol: u32,
    /// With [`DimKind::Constant`], the size. With [`DimKind::Data`], an upper bound for all inputs or -1. Else -1.
    pub value: i64,
    /// How to print it: `3`, `batch`, `past + 1`. Never null.
    pub text: *const c_char,
}

/// How a dimension is known.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DimKind {
    /// At compile time.
    Constant = 0,
    /// It is a symbol; the first input dimension that is just the symbol gives its value.
    Symbol = 1,
    /// It is computed from symbols, by `plan`.
    Expression = 2,
    /// It depends on the values of the inputs: `plan` gives an upper bound, the run the size. Outputs only.
    Data = 3,
}

impl DimKind {
    /// The kind with this code.
    pub const fn from_code(code: u32) -> Option<DimKind> {
        match code {
            0 => Some(DimKind::Constant),
            1 => Some(DimKind::Symbol),
            2 => Some(DimKind::Expression),
            3 => Some(DimKind::Data),
            _ => None,
        }
    }
}

/// A symbolic dimension and the bounds the model was compiled for.
#[repr(C)]
#[derive(Debug)]
pub struct SymbolDescriptor {
    /// Its name in the source model.
    pub name: *const c_char,
    /// The least value.
    pub min: i64,
    /// The greatest value; `i64::MAX` when unbounded.
    pub max: i64,
}

/// The end of a weights side file, after exactly `weights_bytes` of weights: ties the file to its model without reading
/// the weights.
#[repr(C)]
#[derive(Debug)]
pub struct WeightsTrailer {
    /// [`crate::WEIGHTS_MAGIC`].
    pub magic: u64,
    /// Equal to `ModelDescriptor::weights_bytes`.
    pub weights_bytes: u64,
    /// Zero.
    pub reserved: [u64; 2],
    /// Equal to `ModelDescriptor::weights_hash`.
    pub weights_hash: [u8; 32],
}

// SAFETY: descriptors are immutable for as long as they can be reached, so sharing their pointers is sharing constants.
unsafe impl Sync for ModelDescriptor {}
// SAFETY: as above.
unsafe impl Send for ModelDescriptor {}
// SAFETY: as above.
unsafe impl Sync for TensorDescriptor {}
// SAFETY: as above.
unsafe impl Send for TensorDescriptor {}
// SAFETY: as above.
unsafe impl Sync for DimDescriptor {}
// SAFETY: as above.
unsafe impl Send for DimDescriptor {}
// SAFETY: as above.
unsafe impl Sync for SymbolDescriptor {}
// SAFETY: as above.
unsafe impl Send for SymbolDescriptor {}
// SAFETY: as above.
unsafe impl Sync for StateDescriptor {}
// SAFETY: as above.
unsafe impl Send for StateDescriptor {}
// SAFETY: as above.
unsafe impl Sync for FaultDescriptor {}
// SAFETY: as above.
unsafe impl Send for FaultDescriptor {}
