/* A C program on the C API: loads the model named on the command line, runs it serially, on a pool, and by its descriptor
 * without the runtime. Prints one line on success. */
#include "nnc.h"

#include <stdio.h>

#define CHECK(condition) \
    do { if (!(condition)) { fprintf(stderr, "line %d: %s: %s\n", __LINE__, #condition, nnc_last_error()); return 1; } } while (0)

static void count(void *data, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) ((char *)data)[i]++;
}

int main(int argc, char **argv) {
    struct nnc_model *model, *none;
    struct nnc_pool *pool;
    const struct nnc_tensor_descriptor *input;
    float x[5] = {1, 2, 3, 4, 5}, y[5] = {0};
    const int64_t dims[] = {5}, too_many[] = {101};
    int64_t out_dims[1] = {0};
    uint64_t workspace = 1;
    const void *inputs[] = {x};
    void *outputs[] = {y};
    char hits[1000] = {0};
    int i;

    CHECK(argc == 2 && nnc_abi_version() == NNC_ABI_VERSION);
    CHECK(nnc_model_load("/dev/null", &none) == NNC_NOT_A_MODEL && !none);
    CHECK(nnc_model_load(argv[1], &model) == NNC_OK);
    CHECK(nnc_model_input(model, 0, &input) == NNC_OK && input->dtype == NNC_F32 && input->rank == 1);
    CHECK(nnc_plan(model, dims, out_dims, &workspace) == NNC_OK && out_dims[0] == 5 && workspace == 0);
    CHECK(nnc_plan(model, too_many, out_dims, &workspace) == NNC_DIM_OUT_OF_BOUNDS);
    CHECK(nnc_run(model, NULL, inputs, dims, outputs, out_dims, NULL, 0) == NNC_OK && y[4] == 10);

    CHECK(nnc_pool_create(3, &pool) == NNC_OK && nnc_pool_threads(pool) == 3);
    y[4] = 0;
    CHECK(nnc_run(model, pool, inputs, dims, outputs, NULL, NULL, 0) == NNC_OK && y[4] == 10);
    nnc_pool_parallel_for(pool, 1000, 1, count, hits);
    nnc_pool_parallel_for(NULL, 1000, 1, count, hits);
    for (i = 0; i < 1000; i++) CHECK(hits[i] == 2);

    {
        const struct nnc_model_descriptor *descriptor = nnc_model_get_descriptor(model);
        struct nnc_run_context context;
        struct nnc_run_args args = {inputs, dims, outputs, out_dims, NULL, 0, NULL, &context, 1, 1, 0, 0, 0};
        CHECK(nnc_pool_context(pool, &context) == NNC_OK);
        y[0] = 0;
        CHECK(descriptor->run(&args) == NNC_OK && y[0] == 2);
    }
    nnc_pool_free(pool);
    nnc_model_free(model);
    printf("ok %s\n", nnc_version());
    return 0;
}
