/* Two models in one program: one as an object, one as an archive. They share nothing but the program's memory.
 *
 *     nnc compile digits_cnn.onnx -o digits_cnn.o --dim batch=1
 *     nnc compile digits_transformer.onnx -o digits_transformer.a --dim batch=1
 *     cc two_models.c digits_cnn.o digits_transformer.a -o two_models
 *     ./two_models < images.f32
 *
 * Input: images of 64 floats each. Output: per image the digit each model sees. */
#include <stdint.h>
#include <stdio.h>

#include "digits_cnn.h"
#include "digits_transformer.h"

enum { DIGITS = DIGITS_CNN_LOGITS_ELEMENTS };

/* One workspace serves both: they do not run at the same time. */
#define LARGER(a, b) ((a) > (b) ? (a) : (b))
static _Alignas(NNC_ALIGNMENT) unsigned char
    workspace[LARGER(DIGITS_CNN_WORKSPACE_BYTES, DIGITS_TRANSFORMER_WORKSPACE_BYTES)];

static int best(const float *logits)
{
    int best = 0;
    for (int i = 1; i < DIGITS; i++) {
        if (logits[i] > logits[best]) best = i;
    }
    return best;
}

int main(void)
{
    float image[DIGITS_CNN_IMAGE_ELEMENTS], first[DIGITS], second[DIGITS];
    while (fread(image, sizeof image, 1, stdin) == 1) {
        if (digits_cnn_run(image, first, workspace, NULL) != NNC_OK) return 1;
        if (digits_transformer_run(image, second, workspace, NULL) != NNC_OK) return 1;
        printf("%d %d\n", best(first), best(second));
    }
    return 0;
}
