/* Classifies 8x8 images of digits with a model whose weights lie in a file of their own, as large ones do; no runtime.
 *
 *     nnc compile digits_cnn.onnx -o digits_cnn.a --dim batch=1 --weights-file
 *     cc weights_file.c digits_cnn.a -o classify
 *     ./classify digits_cnn.weights < images.f32
 *
 * Input: images of 64 floats each. Output: one digit per line. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "digits_cnn.h"

static _Alignas(NNC_ALIGNMENT) unsigned char workspace[DIGITS_CNN_WORKSPACE_BYTES];

/* Maps the weights, if they are those that the model was compiled with. */
static const void *map_weights(const char *path)
{
    const struct nnc_model_descriptor *model = &nnc_model_digits_cnn;
    struct nnc_weights_trailer trailer;
    struct stat status;
    const size_t bytes = DIGITS_CNN_WEIGHTS_BYTES + sizeof trailer;
    int file = open(path, O_RDONLY);
    if (file < 0 || fstat(file, &status) != 0 || (size_t)status.st_size != bytes) return NULL;
    const char *map = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, file, 0);
    close(file);
    if (map == MAP_FAILED) return NULL;
    memcpy(&trailer, map + DIGITS_CNN_WEIGHTS_BYTES, sizeof trailer);
    if (trailer.magic != NNC_WEIGHTS_MAGIC || memcmp(trailer.weights_hash, model->weights_hash, 32) != 0) return NULL;
    return map;
}

int main(int argc, char **argv)
{
    const void *weights = argc == 2 ? map_weights(argv[1]) : NULL;
    if (!weights) {
        fprintf(stderr, "usage: %s digits_cnn.weights < images.f32\n", argv[0]);
        return 1;
    }
    float image[DIGITS_CNN_IMAGE_ELEMENTS], logits[DIGITS_CNN_LOGITS_ELEMENTS];
    while (fread(image, sizeof image, 1, stdin) == 1) {
        int32_t status = digits_cnn_run(image, logits, weights, workspace, NULL);
        if (status != NNC_OK) {
            fprintf(stderr, "status %d\n", (int)status);
            return 1;
        }
        int best = 0;
        for (int i = 1; i < DIGITS_CNN_LOGITS_ELEMENTS; i++) {
            if (logits[i] > logits[best]) best = i;
        }
        printf("%d\n", best);
    }
    /* Without its weights a model does not run. */
    return digits_cnn_run(image, logits, NULL, workspace, NULL) == NNC_NULL_ARGUMENT ? 0 : 1;
}
