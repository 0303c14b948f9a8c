/* nnc.h: the runtime's C API. Loads compiled models, checks what is passed to them, and brings a thread pool.
 *
 * Link with libnnc_runtime.so, or libnnc_runtime.a and -lpthread -ldl -lm. A program can also call a model without this
 * library: see nnc_abi.h and the header that the compiler writes for each model.
 *
 * Errors: functions that answer int32_t answer an `enum nnc_status`, NNC_OK being 0; the text of an error is in
 * nnc_last_error(). No function aborts, throws, or calls a model before its file, version and processor are checked.
 *
 * Threads: every function may be called from any thread at any time, with the same handle too, except that freeing a
 * handle must come after all other uses of it.
 *
 * Arrays of dimensions are those of all inputs (or outputs), one after the other, outermost first: for inputs of ranks 4
 * and 2, six numbers. Their lengths are `input_dims_len` and `output_dims_len` of the descriptor.
 *
 * Example, for a model with one f32 input and one f32 output:
 *
 *     struct nnc_model *model;
 *     if (nnc_model_load("model.so", &model) != NNC_OK) { puts(nnc_last_error()); return 1; }
 *     const int64_t dims[] = {1, 3, 224, 224};
 *     const void *inputs[] = {image};
 *     void *outputs[] = {scores};
 *     if (nnc_run(model, nnc_pool_shared(), inputs, dims, outputs, NULL, NULL, 0) != NNC_OK) puts(nnc_last_error());
 *     nnc_model_free(model);
 */
#ifndef NNC_H
#define NNC_H

#include "nnc_abi.h"

#ifdef __cplusplus
extern "C" {
#endif

struct nnc_model; /* a loaded model */
struct nnc_pool;  /* a pool of threads */
struct nnc_state; /* the states of one sequence of runs, such as the keys and values of a text so far */
struct nnc_results; /* the outputs of one run */

/* ---- Errors and versions ---- */

/* The text of the last error on the calling thread: one line, UTF-8, valid until the next error on that thread; empty if
 * there was none. Never null. */
const char *nnc_last_error(void);

/* A sentence for a status, for an unknown one too. Never null; not to be freed. */
const char *nnc_status_text(int32_t status);

/* The runtime's version, such as "0.1.0". Not to be freed. */
const char *nnc_version(void);

/* The version of the ABI that models must have: NNC_ABI_VERSION of the runtime. */
uint32_t nnc_abi_version(void);

/* Bits of one element of an `enum nnc_dtype`; 0 for an unknown type. A tensor of n elements has (n * bits + 7) / 8
 * bytes. */
uint32_t nnc_dtype_bits(uint32_t dtype);

/* The features of this machine's processor, NNC_X86_64_... or NNC_AARCH64_... */
uint64_t nnc_host_features(void);

/* ---- Models ---- */

/* Loads a compiled model. Maps the file, and that of its weights if they are in one beside it, and reads a few pages,
 * however large the weights. The file must not be overwritten
 * in place while loaded. On success *out is a handle to be freed with nnc_model_free, else null.
 * Errors: NNC_NOT_FOUND, NNC_NOT_A_MODEL, NNC_WRONG_ARCH, NNC_ABI_MISMATCH, NNC_UNSUPPORTED_CPU (the text names the missing
 * features), NNC_NULL_ARGUMENT. */
int32_t nnc_model_load(const char *path, struct nnc_model **out);

/* Makes a handle for a model that is linked into the program: pass &nnc_model_<name>. The descriptor must outlive the
 * handle. On success *out is a handle to be freed with nnc_model_free, else null.
 * Errors: as nnc_model_load; NNC_BAD_ARGUMENT for a model whose weights are in a file. */
int32_t nnc_model_from_descriptor(const struct nnc_model_descriptor *descriptor, struct nnc_model **out);

/* The same for a model whose weights are in a file (NNC_FLAG_WEIGHTS_IN_FILE), which is looked for in `folder` under the name
 * that the descriptor gives. Errors: as nnc_model_load. */
int32_t nnc_model_from_descriptor_in(const struct nnc_model_descriptor *descriptor, const char *folder,
                                     struct nnc_model **out);

/* Frees a handle and, with the last handle of a file, unmaps the file. Null is allowed. */
void nnc_model_free(struct nnc_model *model);

/* Compares code and weights with the hashes that the compiler left in the file; reads all of it. Of a model that is linked
 * into the program, the weights only. That they agree shows that nothing was damaged, not who made it.
 * Errors: NNC_DAMAGED, NNC_NULL_ARGUMENT. */
int32_t nnc_model_verify(const struct nnc_model *model);

/* Frees the workspaces that are kept for later runs of this model, and answers how many bytes they were. At most one per
 * processor is kept anyway. Runs in progress keep theirs. 0 for null. */
uint64_t nnc_model_trim(const struct nnc_model *model);

/* The model's descriptor: names, types, dimensions, symbols, sizes, hashes. Valid as long as the handle; null for null. */
const struct nnc_model_descriptor *nnc_model_get_descriptor(const struct nnc_model *model);

/* Describes an input: name, dtype, rank and dims. *out is valid as long as the handle.
 * Errors: NNC_BAD_ARGUMENT for an index that is too large, NNC_NULL_ARGUMENT. */
int32_t nnc_model_input(const struct nnc_model *model, uint32_t index, const struct nnc_tensor_descriptor **out);

/* Describes an output, likewise. */
int32_t nnc_model_output(const struct nnc_model *model, uint32_t index, const struct nnc_tensor_descriptor **out);

/* ---- Running ---- */

/* Checks the dimensions of all inputs and computes the sizes of a run. `output_dims` and `workspace_bytes` may be null when
 * not wanted. For data-dependent output dimensions an upper bound is given, or -1 where there is none.
 * Errors: NNC_BAD_SHAPE, NNC_DIM_OUT_OF_BOUNDS, NNC_SIZE_OVERFLOW, NNC_NULL_ARGUMENT. */
int32_t nnc_plan(const struct nnc_model *model, const int64_t *input_dims, int64_t *output_dims,
                 uint64_t *workspace_bytes);

/* Runs the model and returns when it is done.
 *   pool             threads to use; null for the calling thread alone
 *   inputs           one pointer per input: a dense row-major tensor, of any alignment
 *   input_dims       dimensions of all inputs; null if there are none
 *   outputs          one pointer per output: room for the dimensions that nnc_plan gives
 *   output_dims      filled with the actual dimensions, at which the outputs are dense; may be null
 *   workspace        memory of at least the size that nnc_plan gives, aligned to NNC_ALIGNMENT; null to have the runtime
 *                    provide it, which it keeps for later runs of this model
 *   workspace_bytes  size of `workspace`
 * Outputs and workspace must overlap nothing. On an error their contents are unspecified.
 * A model with outputs without a bound (NNC_TENSOR_ALLOCATED) takes nnc_run_results instead: NNC_BAD_ARGUMENT.
 * Errors: those of nnc_plan, NNC_WORKSPACE_TOO_SMALL, NNC_MISALIGNED, NNC_OUT_OF_MEMORY, and those that depend on input
 * values: NNC_BAD_INDEX, NNC_CHECK_FAILED, NNC_DIVIDE_BY_ZERO, NNC_BOUND_EXCEEDED. */
int32_t nnc_run(const struct nnc_model *model, const struct nnc_pool *pool, const void *const *inputs,
                const int64_t *input_dims, void *const *outputs, int64_t *output_dims, void *workspace,
                uint64_t workspace_bytes);

/* As nnc_run, with outputs in memory of the runtime's, as large as they turn out to be. `state` is null, or as in
 * nnc_run_with_state. On success *out is a handle to be freed with nnc_results_free, else null. */
int32_t nnc_run_results(const struct nnc_model *model, const struct nnc_pool *pool, struct nnc_state *state,
                        const void *const *inputs, const int64_t *input_dims, struct nnc_results **out);

/* The elements of an output, dense and aligned to NNC_ALIGNMENT, valid until the results are freed; null for one that a
 * state holds, or for no output. */
const void *nnc_results_data(const struct nnc_results *results, uint32_t index);

/* Fills in the dimensions of an output. Errors: NNC_BAD_ARGUMENT, NNC_NULL_ARGUMENT. */
int32_t nnc_results_dims(const struct nnc_results *results, uint32_t index, int64_t *dims);

/* Frees results. Null is allowed. */
void nnc_results_free(struct nnc_results *results);

/* ---- States ---- */

/* Makes the states of a model, in memory of the runtime's, holding zeros. `dims` are the dimensions of the input of each
 * state, one after the other; those that grow often begin with a size of 0. Any number may exist for a model at once. On
 * success *out is a handle to be freed with nnc_state_free, else null.
 * Errors: NNC_SIZE_OVERFLOW for more than there is room for, NNC_OUT_OF_MEMORY, NNC_NULL_ARGUMENT. */
int32_t nnc_state_create(const struct nnc_model *model, const int64_t *dims, struct nnc_state **out);

/* Frees states. Null is allowed. */
void nnc_state_free(struct nnc_state *state);

/* Fills in the dimensions of a state as the next run's input. Errors: NNC_BAD_ARGUMENT, NNC_NULL_ARGUMENT. */
int32_t nnc_state_dims(const struct nnc_state *state, uint32_t index, int64_t *dims);

/* Keeps the first `length` elements of a state along the axis that grows, and forgets those behind.
 * Errors: NNC_BAD_ARGUMENT, NNC_NULL_ARGUMENT. */
int32_t nnc_state_truncate(struct nnc_state *state, uint32_t index, int64_t length);

/* As nnc_run, on what a state holds, which then holds what the run gives it. In `inputs`, `input_dims` and `outputs` the
 * tensors of states have their places, which are not looked at. One run at a time with one state; after an error its
 * contents are unspecified. nnc_run without a state copies the tensors of states in and out. */
int32_t nnc_run_with_state(const struct nnc_model *model, const struct nnc_pool *pool, struct nnc_state *state,
                           const void *const *inputs, const int64_t *input_dims, void *const *outputs,
                           int64_t *output_dims, void *workspace, uint64_t workspace_bytes);

/* ---- Random numbers ---- */

/* As nnc_run, or as nnc_run_with_state if `state` is not null, with a seed, of which the lower 63 bits count. Random numbers
 * of nodes without a seed of their own depend on it: runs with one seed draw the same numbers. Other runs have the seed 0. */
int32_t nnc_run_with_seed(const struct nnc_model *model, const struct nnc_pool *pool, uint64_t seed,
                          struct nnc_state *state, const void *const *inputs, const int64_t *input_dims,
                          void *const *outputs, int64_t *output_dims, void *workspace, uint64_t workspace_bytes);

/* ---- Threads ---- */

/* Makes a pool that runs loops on `threads` threads, the caller of a loop being one of them; 0 for one per core that this
 * process may use. On success *out is a handle to be freed with nnc_pool_free. */
int32_t nnc_pool_create(uint32_t threads, struct nnc_pool **out);

/* Ends a pool's threads. Null and the shared pool are allowed, and left alone. */
void nnc_pool_free(struct nnc_pool *pool);

/* The pool that the process shares, started on first use with one thread per core allowed by affinity and cgroup quota, or
 * as many as the environment variable NNC_THREADS says. Lives as long as the process. */
const struct nnc_pool *nnc_pool_shared(void);

/* Threads of a pool, the caller of a loop included; 1 for null. */
uint32_t nnc_pool_threads(const struct nnc_pool *pool);

/* Fills in the context that lends a pool to a model called without nnc_run. Valid as long as the pool. */
int32_t nnc_pool_context(const struct nnc_pool *pool, struct nnc_run_context *out);

/* An nnc_parallel_for_fn whose pool is a `struct nnc_pool *`, or null for a loop on the calling thread. May be called from
 * many threads at once and from inside a loop. */
void nnc_pool_parallel_for(void *pool, int64_t count, int64_t grain, nnc_parallel_body body, void *data);

#ifdef __cplusplus
}
#endif

#endif /* NNC_H */
