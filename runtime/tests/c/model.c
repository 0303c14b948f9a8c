/* A compiled model as far as a loader can tell: doubles its input of up to 100 numbers. With WEIGHTS_MB, it also carries
 * that many megabytes of weights, to show that loading does not read them. */
#include "nnc_abi.h"

static const struct nnc_dim_descriptor dims[] = {{NNC_DIM_SYMBOL, 0, -1, "n"}};
static const struct nnc_tensor_descriptor inputs[] = {{"x", dims, NNC_F32, 1, 0, 0}};
static const struct nnc_tensor_descriptor outputs[] = {{"twice", dims, NNC_F32, 1, 0, 0}};
static const struct nnc_symbol_descriptor symbols[] = {{"n", 0, 100}};

#ifdef WEIGHTS_MB
__asm__(".section .rodata\n.balign 64\nweights: .zero 1048576 * " WEIGHTS_MB "\n.text\n");
extern const char weights[] __attribute__((visibility("hidden")));
#define WEIGHTS weights, 1048576
#else
#define WEIGHTS 0, 0
#endif

static int32_t plan(const int64_t *in, struct nnc_plan_result *out) {
    if (in[0] < 0 || in[0] > 100) return NNC_DIM_OUT_OF_BOUNDS;
    if (out->out_dims) out->out_dims[0] = in[0];
    out->workspace_bytes = 0;
    return NNC_OK;
}

struct work { const float *x; float *y; };

static void part(void *data, int64_t begin, int64_t end) {
    struct work *work = data;
    for (int64_t i = begin; i < end; i++) work->y[i] = 2 * work->x[i];
}

static int32_t run(const struct nnc_run_args *args) {
    struct work work = {args->inputs[0], args->outputs[0]};
    const struct nnc_run_context *context = args->context;
    if (context && context->parallel_for) context->parallel_for(context->pool, args->input_dims[0], 1, part, &work);
    else part(&work, 0, args->input_dims[0]);
    if (args->output_dims) args->output_dims[0] = args->input_dims[0];
    return NNC_OK;
}

#if defined(__x86_64__)
#define HOST NNC_ARCH_X86_64
#else
#define HOST NNC_ARCH_AARCH64
#endif
#ifndef FEATURES
#define FEATURES 0
#endif
#ifndef VERSION
#define VERSION NNC_ABI_VERSION
#endif

const struct nnc_model_descriptor nnc_model = {
    NNC_MAGIC, VERSION, sizeof(struct nnc_model_descriptor), "twice", "host", "cc", HOST, 0, FEATURES, 1, 1,
    inputs, outputs, 1, 1, symbols, 1, 1, 0, NNC_ALIGNMENT, WEIGHTS, 100, {0}, {0}, plan, run, 0, 0, 0, 0, {0}, 1, 0, 0, 0,
};
