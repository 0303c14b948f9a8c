/* A model of any batch size on the program's own threads, without the runtime.
 *
 *     nnc compile digits_cnn.onnx -o digits_cnn.so
 *     cc -pthread own_threads.c digits_cnn.so -Wl,-rpath,'$ORIGIN' -o own_threads
 *     ./own_threads 4 < images.f32
 *
 * Argument: the number of threads. Input: images of 64 floats each, taken as one batch. Output: one digit per line.
 *
 * A program with a thread pool passes a function that hands the ranges to it; here threads are started per loop, which
 * costs more than such small loops gain but shows all there is to the contract. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "digits_cnn.h"

enum { PIXELS = 64, DIGITS = 10, MAX_THREADS = 64 };

struct part {
    nnc_parallel_body body;
    void *data;
    int64_t begin, end;
};

static void *run_part(void *argument)
{
    const struct part *part = argument;
    part->body(part->data, part->begin, part->end);
    return NULL;
}

/* An nnc_parallel_for_fn: `pool` is what the context says, here the number of threads. */
static void parallel_for(void *pool, int64_t count, int64_t grain, nnc_parallel_body body, void *data)
{
    struct part parts[MAX_THREADS];
    pthread_t threads[MAX_THREADS];
    int started[MAX_THREADS] = {0};
    int64_t wanted = *(const int *)pool;
    if (count < 1) return;
    if (grain < 1) grain = 1;
    /* Ranges of at least `grain`, as equal as that allows. */
    int64_t size = (count + wanted - 1) / wanted;
    if (size < grain) size = grain;
    int n = 0;
    for (int64_t begin = 0; begin < count; begin += size) {
        int64_t end = count - begin < size ? count : begin + size;
        parts[n++] = (struct part){body, data, begin, end};
    }
    for (int i = 1; i < n; i++) started[i] = pthread_create(&threads[i], NULL, run_part, &parts[i]) == 0;
    run_part(&parts[0]);
    for (int i = 1; i < n; i++) {
        if (started[i]) pthread_join(threads[i], NULL);
        else run_part(&parts[i]); /* no thread could be had */
    }
}

int main(int argc, char **argv)
{
    int threads = argc > 1 ? atoi(argv[1]) : 1;
    if (threads < 1 || threads > MAX_THREADS) return 1;

    /* All images, as one batch. */
    size_t images = 0, room = 16;
    float *batch = malloc(room * PIXELS * sizeof *batch);
    while (batch && fread(batch + images * PIXELS, PIXELS * sizeof *batch, 1, stdin) == 1) {
        if (++images == room) {
            room *= 2;
            float *larger = realloc(batch, room * PIXELS * sizeof *batch);
            if (!larger) free(batch);
            batch = larger;
        }
    }
    if (!batch) return 1;

    /* The sizes that this batch needs. */
    struct digits_cnn_sizes sizes;
    if (digits_cnn_plan((int64_t)images, &sizes) != NNC_OK) return 1;
    uint64_t bytes = (sizes.workspace_bytes + NNC_ALIGNMENT - 1) / NNC_ALIGNMENT * NNC_ALIGNMENT;
    void *workspace = aligned_alloc(NNC_ALIGNMENT, bytes + NNC_ALIGNMENT);
    float *logits = malloc((images + 1) * DIGITS * sizeof *logits);
    if (!workspace || !logits) return 1;

    struct nnc_run_context context = {.parallel_for = parallel_for, .pool = &threads, .threads = (uint32_t)threads};
    int32_t status = digits_cnn_run((int64_t)images, batch, images * PIXELS, logits, images * DIGITS, NULL, workspace,
                                    sizes.workspace_bytes, &context);
    if (status != NNC_OK) {
        fprintf(stderr, "status %d\n", (int)status);
        return 1;
    }
    for (size_t i = 0; i < images; i++) {
        const float *row = logits + i * DIGITS;
        int best = 0;
        for (int k = 1; k < DIGITS; k++) {
            if (row[k] > row[best]) best = k;
        }
        printf("%d\n", best);
    }
    free(logits);
    free(workspace);
    free(batch);
    return 0;
}
