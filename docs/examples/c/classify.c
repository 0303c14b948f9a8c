/* Classifies 8x8 images of digits with a model linked as a shared library; no runtime.
 *
 *     nnc compile digits_cnn.onnx -o digits_cnn.so --dim batch=1
 *     cc classify.c digits_cnn.so -Wl,-rpath,'$ORIGIN' -o classify
 *     ./classify < images.f32
 *
 * Input: images of 64 floats each. Output: one digit per line. */
#include <stdio.h>

#include "digits_cnn.h"

static _Alignas(NNC_ALIGNMENT) unsigned char workspace[DIGITS_CNN_WORKSPACE_BYTES];

int main(void)
{
    float image[DIGITS_CNN_IMAGE_ELEMENTS], logits[DIGITS_CNN_LOGITS_ELEMENTS];
    while (fread(image, sizeof image, 1, stdin) == 1) {
        int32_t status = digits_cnn_run(image, logits, workspace, NULL);
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
    return 0;
}
