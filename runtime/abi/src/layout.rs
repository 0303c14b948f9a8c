//! Sizes and field offsets in bytes, for code that writes or reads these structures without Rust's types: the code
//! generator's descriptor and entry points, and the test against the C header.
//!
//! The numbers are written out again in the tests: a change there is a change of the ABI.

// The offsets hold on every supported target only if pointers have 8 bytes there.
const _: () = assert!(size_of::<usize>() == 8, "nnc supports 64-bit targets only");

macro_rules! layout {
    ($($(#[$doc:meta])* $module:ident: $type:ident { $($constant:ident = $field:ident,)* })*) => {
        $(
            $(#[$doc])*
            #[allow(missing_docs)] // The constants are called as the fields, which are documented.
            pub mod $module {
                use crate::$type;

                pub const SIZE: usize = size_of::<$type>();
                pub const ALIGN: usize = align_of::<$type>();
                $(pub const $constant: usize = core::mem::offset_of!($type, $field);)*

                /// Field names with offsets, in order.
                pub const FIELDS: &[(&str, usize)] = &[$((stringify!($field), $constant)),*];
            }
        )*

        /// Every structure: its Rust name, size and fields with offsets.
        pub const STRUCTURES: &[Structure] =
            &[$(Structure { name: stringify!($type), size: $module::SIZE, fields: $module::FIELDS }),*];
    };
}

/// The layout of one structure.
#[derive(Clone, Copy, Debug)]
pub struct Structure {
    /// The Rust name.
    pub name: &'static str,
    /// Bytes.
    pub size: usize,
    /// Field names with offsets, in order.
    pub fields: &'static [(&'static str, usize)],
}

layout! {
    /// Offsets in [`crate::ModelDescriptor`].
    model: ModelDescriptor {
        MAGIC = magic,
        ABI_VERSION = abi_version,
        STRUCT_BYTES = struct_bytes,
        NAME = name,
        TARGET = target,
        COMPILER = compiler,
        ARCH = arch,
        FLAGS = flags,
        FEATURES = features,
        N_INPUTS = n_inputs,
        N_OUTPUTS = n_outputs,
        INPUTS = inputs,
        OUTPUTS = outputs,
        N_SYMBOLS = n_symbols,
        N_KERNELS = n_kernels,
        SYMBOLS = symbols,
        INPUT_DIMS_LEN = input_dims_len,
        OUTPUT_DIMS_LEN = output_dims_len,
        WORKSPACE_BYTES = workspace_bytes,
        WORKSPACE_ALIGNMENT = workspace_alignment,
        WEIGHTS = weights,
        WEIGHTS_BYTES = weights_bytes,
        CODE_BYTES = code_bytes,
        SOURCE_HASH = source_hash,
        WEIGHTS_HASH = weights_hash,
        PLAN = plan,
        RUN = run,
        WEIGHTS_FILE = weights_file,
        FAULTS = faults,
        N_FAULTS = n_faults,
        WORKSPACE_TEXT = workspace_text,
        ARTIFACT_HASH = artifact_hash,
        N_STEPS = n_steps,
        WIDTH_TEXT = width_text,
        STATES = states,
        N_STATES = n_states,
    }
    /// Offsets in [`crate::StateDescriptor`].
    state: StateDescriptor {
        INPUT = input,
        OUTPUT = output,
        AXIS = axis,
        RESERVED = reserved,
        CAPACITY = capacity,
    }
    /// Offsets in [`crate::FaultDescriptor`].
    fault_descriptor: FaultDescriptor {
        TEXT = text,
    }
    /// Offsets in [`crate::Fault`].
    fault: Fault {
        NUMBER = number,
        LEFT = left,
        RIGHT = right,
    }
    /// Offsets in [`crate::TensorDescriptor`].
    tensor: TensorDescriptor {
        NAME = name,
        DIMS = dims,
        DTYPE = dtype,
        RANK = rank,
        FLAGS = flags,
        RESERVED = reserved,
    }
    /// Offsets in [`crate::DimDescriptor`].
    dim: DimDescriptor {
        KIND = kind,
        SYMBOL = symbol,
        VALUE = value,
        TEXT = text,
    }
    /// Offsets in [`crate::SymbolDescriptor`].
    symbol: SymbolDescriptor {
        NAME = name,
        MIN = min,
        MAX = max,
    }
    /// Offsets in [`crate::WeightsTrailer`].
    weights_trailer: WeightsTrailer {
        MAGIC = magic,
        WEIGHTS_BYTES = weights_bytes,
        RESERVED = reserved,
        WEIGHTS_HASH = weights_hash,
    }
    /// Offsets in [`crate::PlanResult`].
    plan_result: PlanResult {
        OUT_DIMS = out_dims,
        WORKSPACE_BYTES = workspace_bytes,
        FAULT_DIM = fault_dim,
        FAULT_EXPECTED = fault_expected,
        FAULT = fault,
    }
    /// Offsets in [`crate::RunArgs`].
    run_args: RunArgs {
        INPUTS = inputs,
        INPUT_DIMS = input_dims,
        OUTPUTS = outputs,
        OUTPUT_DIMS = output_dims,
        WORKSPACE = workspace,
        WORKSPACE_BYTES = workspace_bytes,
        WEIGHTS = weights,
        CONTEXT = context,
        N_INPUTS = n_inputs,
        N_OUTPUTS = n_outputs,
        FAULT = fault,
        STATES = states,
        N_STATES = n_states,
    }
    /// Offsets in [`crate::RunContext`].
    run_context: RunContext {
        PARALLEL_FOR = parallel_for,
        POOL = pool,
        THREADS = threads,
        FLAGS = flags,
        SEED = seed,
        ALLOCATOR = allocator,
        RESERVED = reserved,
    }
    /// Offsets in [`crate::Allocator`].
    allocator: Allocator {
        ALLOCATE = allocate,
        RELEASE = release,
        STATE = state,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ABI, written down a second time.
    #[test]
    fn offsets_are_those_of_version_1() {
        assert_eq!(crate::ABI_VERSION, 1);
        let expected: &[(&str, usize, &[usize])] = &[
            (
                "ModelDescriptor",
                320,
                &[
                    0, 8, 12, 16, 24, 32, 40, 44, 48, 56, 60, 64, 72, 80, 84, 88, 96, 100, 104, 112, 120, 128, 136,
                    144, 176, 208, 216, 224, 232, 240, 248, 256, 288, 296, 304, 312,
                ],
            ),
            ("StateDescriptor", 24, &[0, 4, 8, 12, 16]),
            ("FaultDescriptor", 8, &[0]),
            ("Fault", 24, &[0, 8, 16]),
            ("TensorDescriptor", 32, &[0, 8, 16, 20, 24, 28]),
            ("DimDescriptor", 24, &[0, 4, 8, 16]),
            ("SymbolDescriptor", 24, &[0, 8, 16]),
            ("WeightsTrailer", 64, &[0, 8, 16, 32]),
            ("PlanResult", 56, &[0, 8, 16, 24, 32]),
            ("RunArgs", 96, &[0, 8, 16, 24, 32, 40, 48, 56, 64, 68, 72, 80, 88]),
            ("RunContext", 48, &[0, 8, 16, 20, 24, 32, 40]),
            ("Allocator", 24, &[0, 8, 16]),
        ];
        assert_eq!(STRUCTURES.len(), expected.len());
        for (found, (name, size, offsets)) in STRUCTURES.iter().zip(expected) {
            assert_eq!((found.name, found.size), (*name, *size));
            assert!(found.fields.iter().map(|f| f.1).eq(offsets.iter().copied()), "{name}: {:?}", found.fields);
        }
    }

    #[test]
    fn magic_reads_as_text() {
        assert_eq!(&crate::MAGIC.to_ne_bytes(), b"NNCMODEL");
        assert_eq!(&crate::WEIGHTS_MAGIC.to_ne_bytes(), b"NNCWEIGH");
    }
}
