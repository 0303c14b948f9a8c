/* nnc_abi.h: the binary interface of a compiled model, for calling one without the runtime.
 *
 * A model is one read-only structure, `struct nnc_model_descriptor`, exported as `nnc_model_<name>` and, from a .so, as
 * `nnc_model` too. To run it: check `magic`, `abi_version` and the cpu `features`, ask `plan` for the sizes, provide
 * memory, call `run`. Nothing here needs initialising, locking or freeing; `plan` and `run` may be called from any number
 * of threads at once as long as each run has its own outputs and workspace.
 *
 * Strings are UTF-8 and end in a NUL. Fields called `reserved` are zero. The same layouts in Rust are the crate nnc-abi.
 * This file needs <stdint.h> only; the compiler pastes it into each model's header, hence the guard. */
#ifndef NNC_ABI_H
#define NNC_ABI_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define NNC_ABI_VERSION 1u
#define NNC_MAGIC UINT64_C(0x4c45444f4d434e4e)         /* "NNCMODEL" in memory */
#define NNC_WEIGHTS_MAGIC UINT64_C(0x4847494557434e4e) /* "NNCWEIGH" in memory */
#define NNC_ALIGNMENT 64u                              /* of workspace and weights */

/* Element types, numbered as in ONNX. Elements below a byte are packed, the first in the low bits. A tensor of NNC_STRING is
 * where its strings lie in the bytes that the next tensor holds (NNC_U8, one dimension): one int64_t offset more than it has
 * elements. String i reaches from offset i to offset i + 1; they ascend from 0. */
enum nnc_dtype {
    NNC_F32 = 1,
    NNC_U8 = 2,
    NNC_I8 = 3,
    NNC_U16 = 4,
    NNC_I16 = 5,
    NNC_I32 = 6,
    NNC_I64 = 7,
    NNC_STRING = 8,
    NNC_BOOL = 9,
    NNC_F16 = 10,
    NNC_F64 = 11,
    NNC_U32 = 12,
    NNC_U64 = 13,
    NNC_C64 = 14,
    NNC_C128 = 15,
    NNC_BF16 = 16,
    NNC_F8E4M3FN = 17,
    NNC_F8E4M3FNUZ = 18,
    NNC_F8E5M2 = 19,
    NNC_F8E5M2FNUZ = 20,
    NNC_U4 = 21,
    NNC_I4 = 22,
    NNC_F4E2M1 = 23,
    NNC_F8E8M0 = 24,
    NNC_U2 = 25,
    NNC_I2 = 26
};

/* What a call answers. Codes below 100 come from model code, as does NNC_OUT_OF_MEMORY; the others from the runtime, and
 * NNC_BUFFER_TOO_SMALL from the functions of a model's header too. */
enum nnc_status {
    NNC_OK = 0, /* ok */
    NNC_NULL_ARGUMENT = 1, /* a required pointer is null */
    NNC_BAD_RANK = 2, /* a tensor has the wrong number of dimensions */
    NNC_BAD_SHAPE = 3, /* a dimension differs from what the model takes */
    NNC_DIM_OUT_OF_BOUNDS = 4, /* a dimension lies outside the bounds the model was compiled for */
    NNC_BAD_DTYPE = 5, /* a tensor has the wrong element type */
    NNC_WORKSPACE_TOO_SMALL = 6, /* the workspace is too small */
    NNC_MISALIGNED = 7, /* the workspace or the weights are not aligned to 64 bytes */
    NNC_BAD_INDEX = 8, /* an index computed from the inputs is out of range */
    NNC_CHECK_FAILED = 9, /* a condition the model relies on does not hold for these inputs */
    NNC_DIVIDE_BY_ZERO = 10, /* integer division by zero */
    NNC_SIZE_OVERFLOW = 11, /* a size computed from the input dimensions overflows */
    NNC_BOUND_EXCEEDED = 12, /* a data-dependent size exceeds its upper bound */
    NNC_NO_ALLOCATOR = 13, /* the run needs an allocator, and its context has none */
    NNC_NOT_FOUND = 100, /* the file cannot be read */
    NNC_NOT_A_MODEL = 101, /* the file is not a compiled model */
    NNC_WRONG_ARCH = 102, /* the model was compiled for another kind of processor */
    NNC_OUT_OF_MEMORY = 103, /* out of memory */
    NNC_BAD_ARGUMENT = 104, /* an argument is out of range */
    NNC_BUFFER_TOO_SMALL = 105, /* a buffer is smaller than its tensor */
    NNC_INTERNAL = 106, /* internal error */
    NNC_UNSUPPORTED_CPU = 107, /* the processor lacks a feature the model was compiled for */
    NNC_ABI_MISMATCH = 108, /* the model was built for another version of the ABI */
    NNC_DAMAGED = 109 /* the code or the weights differ from their hashes */
};

/* Processor architectures. */
enum nnc_arch { NNC_ARCH_X86_64 = 1, NNC_ARCH_AARCH64 = 2 };

/* Feature bits of NNC_ARCH_X86_64. */
#define NNC_X86_64_SSE3 (UINT64_C(1) << 0)
#define NNC_X86_64_SSSE3 (UINT64_C(1) << 1)
#define NNC_X86_64_SSE4_1 (UINT64_C(1) << 2)
#define NNC_X86_64_SSE4_2 (UINT64_C(1) << 3)
#define NNC_X86_64_POPCNT (UINT64_C(1) << 4)
#define NNC_X86_64_AVX (UINT64_C(1) << 5)
#define NNC_X86_64_AVX2 (UINT64_C(1) << 6)
#define NNC_X86_64_FMA (UINT64_C(1) << 7)
#define NNC_X86_64_F16C (UINT64_C(1) << 8)
#define NNC_X86_64_BMI1 (UINT64_C(1) << 9)
#define NNC_X86_64_BMI2 (UINT64_C(1) << 10)
#define NNC_X86_64_LZCNT (UINT64_C(1) << 11)
#define NNC_X86_64_MOVBE (UINT64_C(1) << 12)
#define NNC_X86_64_AVX512F (UINT64_C(1) << 16)
#define NNC_X86_64_AVX512BW (UINT64_C(1) << 17)
#define NNC_X86_64_AVX512DQ (UINT64_C(1) << 18)
#define NNC_X86_64_AVX512VL (UINT64_C(1) << 19)
#define NNC_X86_64_AVX512CD (UINT64_C(1) << 20)
#define NNC_X86_64_AVX512VNNI (UINT64_C(1) << 21)
#define NNC_X86_64_AVX512BF16 (UINT64_C(1) << 22)
#define NNC_X86_64_AVX512FP16 (UINT64_C(1) << 23)
#define NNC_X86_64_AVX512VBMI (UINT64_C(1) << 24)
#define NNC_X86_64_AVX512VBMI2 (UINT64_C(1) << 25)
#define NNC_X86_64_AVX512IFMA (UINT64_C(1) << 26)
#define NNC_X86_64_AVX512BITALG (UINT64_C(1) << 27)
#define NNC_X86_64_AVX512VPOPCNTDQ (UINT64_C(1) << 28)
#define NNC_X86_64_AVXVNNI (UINT64_C(1) << 32)
#define NNC_X86_64_AVXVNNIINT8 (UINT64_C(1) << 33)
#define NNC_X86_64_AVXNECONVERT (UINT64_C(1) << 34)
#define NNC_X86_64_AVXIFMA (UINT64_C(1) << 35)
#define NNC_X86_64_AVXVNNIINT16 (UINT64_C(1) << 36)
#define NNC_X86_64_AMX_TILE (UINT64_C(1) << 40)
#define NNC_X86_64_AMX_INT8 (UINT64_C(1) << 41)
#define NNC_X86_64_AMX_BF16 (UINT64_C(1) << 42)
#define NNC_X86_64_AMX_FP16 (UINT64_C(1) << 43)

/* Feature bits of NNC_ARCH_AARCH64. */
#define NNC_AARCH64_NEON (UINT64_C(1) << 0)
#define NNC_AARCH64_DOTPROD (UINT64_C(1) << 1)
#define NNC_AARCH64_FP16 (UINT64_C(1) << 2)
#define NNC_AARCH64_I8MM (UINT64_C(1) << 3)
#define NNC_AARCH64_BF16 (UINT64_C(1) << 4)
#define NNC_AARCH64_SVE (UINT64_C(1) << 5)
#define NNC_AARCH64_SVE2 (UINT64_C(1) << 6)
#define NNC_AARCH64_LSE (UINT64_C(1) << 7)
#define NNC_AARCH64_FHM (UINT64_C(1) << 8)
#define NNC_AARCH64_RDM (UINT64_C(1) << 9)
#define NNC_AARCH64_SME (UINT64_C(1) << 10)

/* Bit of nnc_model_descriptor.flags: the weights lie in the file named by `weights_file`, beside the artifact. */
#define NNC_FLAG_WEIGHTS_IN_FILE 1u

/* Bit of nnc_model_descriptor.flags: the model has states, and a run needs `states`. */
#define NNC_FLAG_STATES 2u

/* Bit of nnc_model_descriptor.flags: a run needs `allocator` in its context. */
#define NNC_FLAG_ALLOCATES 4u

/* Bit of nnc_tensor_descriptor.flags, of outputs alone: how large it may be the sizes of the inputs do not tell, so that a
 * run asks the allocator of its context for its memory. */
#define NNC_TENSOR_ALLOCATED 1u

/* How a dimension is known. */
enum nnc_dim_kind {
    NNC_DIM_CONSTANT = 0,   /* at compile time: `value` */
    NNC_DIM_SYMBOL = 1,     /* the symbol with index `symbol`; its first use in the inputs gives its value */
    NNC_DIM_EXPRESSION = 2, /* computed from symbols by `plan` */
    NNC_DIM_DATA = 3        /* depends on input values: `plan` gives an upper bound, the run the size; outputs only */
};

struct nnc_dim_descriptor {
    uint32_t kind;    /* enum nnc_dim_kind */
    uint32_t symbol;  /* index in nnc_model_descriptor.symbols, or 0 */
    int64_t value;    /* NNC_DIM_CONSTANT: the size; NNC_DIM_DATA: an upper bound or -1; else -1 */
    const char *text; /* how to print it: "3", "batch", "past + 1" */
};

struct nnc_tensor_descriptor {
    const char *name;
    const struct nnc_dim_descriptor *dims; /* `rank` of them, outermost first */
    uint32_t dtype;                        /* enum nnc_dtype */
    uint32_t rank;
    uint32_t flags; /* NNC_TENSOR_... */
    uint32_t reserved;
};

struct nnc_symbol_descriptor {
    const char *name;
    int64_t min; /* the bounds the model was compiled for */
    int64_t max; /* INT64_MAX: unbounded */
};

/* Something that may stop a run: what must hold of sizes, or a node whose data may be unfit. */
struct nnc_fault_descriptor {
    const char *text; /* the node, and what must hold there */
};

/* An output that is kept as an input of the next run, in a block of memory that the caller owns. The block is a row-major
 * tensor of the output's shape with `capacity` elements along `axis`, of which the input is the first ones: so what a run
 * adds lies behind what is there, and nothing is copied. `inputs` and `outputs` of a run have places for both tensors, which
 * are not looked at; `input_dims` says how much is there, `output_dims` how much is then. Axes inside of `axis` must keep
 * their sizes for as long as the contents do. */
struct nnc_state_descriptor {
    uint32_t input;    /* position in `inputs` */
    uint32_t output;   /* position in `outputs` */
    uint32_t axis;     /* the axis that grows; UINT32_MAX when input and output have the same shape */
    uint32_t reserved;
    int64_t capacity;  /* elements of the block along `axis`; -1 when there is none */
};

/* The end of a weights side file, after exactly `weights_bytes` of weights. */
struct nnc_weights_trailer {
    uint64_t magic;         /* NNC_WEIGHTS_MAGIC */
    uint64_t weights_bytes; /* as in the descriptor */
    uint64_t reserved[2];
    uint8_t weights_hash[32]; /* as in the descriptor */
};

/* What stopped a run, or its plan. */
struct nnc_fault {
    int64_t number; /* in: -1; out: index in the descriptor's `faults` */
    int64_t left;   /* out: the sizes compared; INT64_MIN: none are */
    int64_t right;
};

struct nnc_plan_result {
    int64_t *out_dims;        /* in: room for `output_dims_len` numbers, or null; of what depends on data: upper bounds,
                               * -1 where there is none */
    uint64_t workspace_bytes; /* out: workspace that a run with these dimensions needs */
    int64_t fault_dim;        /* in: -1; out: index in `input_dims` of a refused dimension, if known */
    int64_t fault_expected;   /* in: -1; out: the size expected there, if there is one */
    struct nnc_fault fault;   /* out, on NNC_CHECK_FAILED: what does not hold */
};

/* Part of a loop: iterations begin <= i < end. Must not throw. Sets the floating-point environment that it needs and
 * restores the thread's. */
typedef void (*nnc_parallel_body)(void *data, int64_t begin, int64_t end);

/* A loop run by several threads: calls `body` on disjoint ranges that together cover 0 <= i < count, each at least
 * `grain` long except the last, on any threads and in any order, and returns when all calls have returned. `grain` below
 * 1 counts as 1; with `count` below 1 nothing is called. */
typedef void (*nnc_parallel_for_fn)(void *pool, int64_t count, int64_t grain, nnc_parallel_body body, void *data);

/* Gives a run `bytes` of memory, aligned to NNC_ALIGNMENT, or null when there is none. `output` is the position of the
 * output that is to lie there, which then belongs to the caller, whatever the run answers, or -1: the run releases what it
 * has by the end. A run that asks again for an output has released what it got before. Called by the thread that runs the
 * model alone. */
typedef void *(*nnc_allocate_fn)(void *state, uint64_t bytes, int64_t output);

/* Takes memory back that nnc_allocate_fn gave for as many bytes. */
typedef void (*nnc_release_fn)(void *state, void *memory, uint64_t bytes);

/* Memory for what has no bound from the sizes of the inputs. */
struct nnc_allocator {
    nnc_allocate_fn allocate;
    nnc_release_fn release;
    void *state; /* passed to both */
};

/* What a run may use: threads, a seed, and memory. */
struct nnc_run_context {
    nnc_parallel_for_fn parallel_for; /* null: the run stays on the calling thread */
    void *pool;                       /* passed to parallel_for */
    uint32_t threads;                 /* how many it uses, the caller included; a hint, 0 counts as 1 */
    uint32_t flags;                   /* zero */
    uint64_t seed;                    /* of random numbers that have none of their own; the lower 63 bits count */
    const struct nnc_allocator *allocator; /* with NNC_FLAG_ALLOCATES not null; else not looked at */
    uint64_t reserved;                /* zero */
};

/* The memory of one run, all owned by the caller. Outputs and workspace overlap nothing else here. Tensors are dense and
 * row-major; any alignment works, 64 is fastest; an empty tensor's pointer may be null. */
struct nnc_run_args {
    const void *const *inputs;             /* `n_inputs` pointers */
    const int64_t *input_dims;             /* of all inputs, one after the other; null if all are constants */
    void *const *outputs;                  /* `n_outputs` pointers to room for the sizes that `plan` gave; those with
                                            * NNC_TENSOR_ALLOCATED are not looked at */
    int64_t *output_dims;                  /* out: actual sizes, one after the other; null if none depends on data */
    void *workspace;                       /* aligned to NNC_ALIGNMENT; contents do not matter */
    uint64_t workspace_bytes;              /* at least what `plan` gave */
    const void *weights;                   /* null: the embedded ones; else the mapped side file, aligned likewise */
    const struct nnc_run_context *context; /* null: no threads and no allocator */
    uint32_t n_inputs;                     /* pointers in `inputs`, at least the model's number */
    uint32_t n_outputs;                    /* pointers in `outputs`, at least the model's number */
    struct nnc_fault *fault;               /* null, or filled when the run stops at one of the model's faults */
    void *const *states;                   /* `n_states` blocks; not looked at when the model has no states */
    uint64_t n_states;                     /* pointers in `states`, at least the model's number */
};

/* Checks input dimensions and computes sizes. Pure. Answers an enum nnc_status. */
typedef int32_t (*nnc_plan_fn)(const int64_t *input_dims, struct nnc_plan_result *out);

/* Runs the model: checks dimensions as `plan` does, then the workspace. On an answer other than NNC_OK the contents of
 * outputs, output_dims and workspace are unspecified. */
typedef int32_t (*nnc_run_fn)(const struct nnc_run_args *args);

struct nnc_model_descriptor {
    uint64_t magic;        /* NNC_MAGIC */
    uint32_t abi_version;  /* NNC_ABI_VERSION of the compiler */
    uint32_t struct_bytes; /* sizeof this structure in the compiler's version of it */
    const char *name;      /* a C identifier */
    const char *target;    /* e.g. "x86_64-avx2" */
    const char *compiler;  /* e.g. "nnc 0.1.0" */
    uint32_t arch;         /* enum nnc_arch */
    uint32_t flags;        /* NNC_FLAG_... */
    uint64_t features;     /* cpu features the code needs, NNC_X86_64_... or NNC_AARCH64_... */
    uint32_t n_inputs;
    uint32_t n_outputs;
    const struct nnc_tensor_descriptor *inputs;
    const struct nnc_tensor_descriptor *outputs;
    uint32_t n_symbols;
    uint32_t n_kernels;
    const struct nnc_symbol_descriptor *symbols;
    uint32_t input_dims_len;  /* sum of the inputs' ranks */
    uint32_t output_dims_len; /* sum of the outputs' ranks */
    int64_t workspace_bytes;  /* of every run, or -1: ask `plan` */
    uint64_t workspace_alignment;
    const void *weights;    /* embedded, or null */
    uint64_t weights_bytes; /* embedded or in the side file */
    uint64_t code_bytes;
    uint8_t source_hash[32];  /* BLAKE3 of the source model file and its external data */
    uint8_t weights_hash[32]; /* BLAKE3 of the weights in their final layout */
    nnc_plan_fn plan;         /* null only when every input and output dimension is a constant */
    nnc_run_fn run;
    const char *weights_file; /* with NNC_FLAG_WEIGHTS_IN_FILE: name without folder, else null */
    const struct nnc_fault_descriptor *faults; /* what may stop a run, by number */
    uint64_t n_faults;
    const char *workspace_text; /* the workspace in terms of the symbols, to print; null when workspace_bytes says it */
    uint8_t artifact_hash[32];  /* BLAKE3 of the ELF file without the embedded weights, this field as zeros */
    uint64_t n_steps;           /* kernel launches in one run: of a branch the longer side, of a loop one round */
    const char *width_text;     /* kernels that use less than the full vectors, and why: lines; null when all do */
    const struct nnc_state_descriptor *states; /* outputs that are kept as inputs of the next run */
    uint64_t n_states;
};

#ifdef __cplusplus
}
#endif

#endif /* NNC_ABI_H */
