/* Asks a tabular model with text columns, a pipeline of scikit-learn, about all lines at once; no runtime.
 *
 *     nnc compile passengers.onnx -o passengers.so
 *     cc passengers.c passengers.so -Wl,-rpath,'$ORIGIN' -o passengers
 *     ./passengers < passengers.txt
 *
 * Input: lines of age, fare, sex and class, such as `29.5 7.25 m c`. Output: for each the label and how probable it is. */
#include <stdio.h>
#include <string.h>

#include "passengers.h"

#define MOST 64
#define MOST_BYTES (16 * MOST)

/* A column of strings: where each begins in the bytes, and where the last one ends. */
struct column {
    int64_t offsets[MOST + 1];
    uint8_t bytes[MOST_BYTES];
};

static void append(struct column *column, int64_t row, const char *word)
{
    size_t length = strlen(word);
    memcpy(column->bytes + column->offsets[row], word, length);
    column->offsets[row + 1] = column->offsets[row] + (int64_t)length;
}

static _Alignas(NNC_ALIGNMENT) unsigned char workspace[1 << 16];

int main(void)
{
    static float age[MOST], fare[MOST], probabilities[MOST][2];
    static struct column sex, cls;
    static int64_t labels[MOST];
    char sex_word[16], cls_word[16];
    int64_t n = 0;
    while (n < MOST && scanf("%f %f %15s %15s", &age[n], &fare[n], sex_word, cls_word) == 4) {
        append(&sex, n, sex_word);
        append(&cls, n, cls_word);
        n++;
    }
    int32_t status = passengers_run(n, sex.offsets[n], cls.offsets[n], age, MOST, fare, MOST, sex.offsets, MOST + 1,
                                    sex.bytes, MOST_BYTES, cls.offsets, MOST + 1, cls.bytes, MOST_BYTES, labels, MOST,
                                    probabilities[0], 2 * MOST, NULL, workspace, sizeof workspace, NULL);
    if (status != NNC_OK) {
        fprintf(stderr, "status %d\n", (int)status);
        return 1;
    }
    for (int64_t i = 0; i < n; i++) {
        printf("%d %.3f\n", (int)labels[i], probabilities[i][labels[i]]);
    }
    return 0;
}
