/* Generates text, token by token, with a language model that keeps its keys and values as states; no runtime.
 *
 *     nnc compile gpt2_decode.onnx -o gpt2_decode.so --dim past=0..1023 --state 'past_*=present_*'
 *     cc generate.c gpt2_decode.so -Wl,-rpath,'$ORIGIN' -o generate
 *     ./generate 200 464 3290 318
 *
 * Arguments: how many tokens to generate, and those to begin with. Output: the generated ones, one per line, each the most
 * likely. A run adds one token's keys and values behind those of the tokens before; nothing of them is copied. */
#include <stdio.h>
#include <stdlib.h>

#include "gpt2_decode.h"

static const struct nnc_model_descriptor *const model = &nnc_model_gpt2_decode;

/* Memory for a state: its output's elements, with room for the most there may be along the axis that grows. */
static void *new_block(const struct nnc_state_descriptor *state)
{
    const struct nnc_tensor_descriptor *tensor = &model->outputs[state->output];
    size_t elements = 1;
    for (uint32_t axis = 0; axis < tensor->rank; axis++) {
        elements *= (size_t)(axis == state->axis ? state->capacity : tensor->dims[axis].value);
    }
    return calloc(elements, sizeof(float));
}

/* The dimensions of all inputs when `past` tokens are there. */
static void set_dims(int64_t *dims, int64_t past)
{
    for (uint32_t i = 0; i < model->n_inputs; i++) {
        const struct nnc_tensor_descriptor *input = &model->inputs[i];
        for (uint32_t axis = 0; axis < input->rank; axis++) {
            *dims++ = input->dims[axis].kind == NNC_DIM_SYMBOL ? past : input->dims[axis].value;
        }
    }
}

int main(int argc, char **argv)
{
    const int64_t wanted = argc > 2 ? atoll(argv[1]) : 0, given = argc - 2;
    if (given < 1 || given + wanted > GPT2_DECODE_STATE0_DIM2) {
        fprintf(stderr, "usage: %s COUNT TOKEN...; at most %d tokens in all\n", argv[0], GPT2_DECODE_STATE0_DIM2);
        return 1;
    }
    static float logits[GPT2_DECODE_LOGITS_ELEMENTS];
    int64_t token = 0, position = 0;
    /* Tensors of states lie in their blocks: their pointers here are not looked at. */
    const void *inputs[GPT2_DECODE_INPUTS] = {0};
    void *outputs[GPT2_DECODE_OUTPUTS] = {0};
    inputs[GPT2_DECODE_INPUT_INPUT_IDS] = &token;
    inputs[GPT2_DECODE_INPUT_POSITION_IDS] = &position;
    outputs[GPT2_DECODE_OUTPUT_LOGITS] = logits;
    void **states = calloc(model->n_states, sizeof *states);
    int64_t *dims = calloc(model->input_dims_len, sizeof *dims);
    if (!states || !dims) return 1;
    for (uint64_t i = 0; i < model->n_states; i++) {
        if (!(states[i] = new_block(&model->states[i]))) return 1;
    }
    /* The workspace for the last token is the largest. */
    struct nnc_plan_result plan = {.fault_dim = -1, .fault_expected = -1, .fault = {.number = -1}};
    set_dims(dims, given + wanted - 1);
    if (model->plan(dims, &plan) != NNC_OK) return 1;
    const size_t bytes = (plan.workspace_bytes + NNC_ALIGNMENT - 1) / NNC_ALIGNMENT * NNC_ALIGNMENT;
    struct nnc_run_args args = {
        .inputs = inputs, .n_inputs = GPT2_DECODE_INPUTS, .input_dims = dims,
        .outputs = outputs, .n_outputs = GPT2_DECODE_OUTPUTS,
        .states = states, .n_states = model->n_states,
        .workspace = aligned_alloc(NNC_ALIGNMENT, bytes), .workspace_bytes = bytes,
    };
    for (; position + 1 < given + wanted; position++) {
        if (position < given) token = atoll(argv[2 + position]);
        set_dims(dims, position);
        const int32_t status = model->run(&args);
        if (status != NNC_OK) {
            fprintf(stderr, "status %d\n", (int)status);
            return 1;
        }
        if (position + 1 < given) continue;
        token = 0;
        for (int64_t i = 1; i < GPT2_DECODE_LOGITS_ELEMENTS; i++) {
            if (logits[i] > logits[token]) token = i;
        }
        printf("%lld\n", (long long)token);
    }
    return 0;
}
