/* The typed functions of a model with a free batch: sizes, and rooms that are too small by one element or byte. */
#include <stdio.h>

#include "digits_cnn.h"

enum { IMAGES = 3, PIXELS = 64, DIGITS = 10, BYTES = 1 << 20 };

_Alignas(NNC_ALIGNMENT) static unsigned char workspace[BYTES];

int main(void)
{
    static float images[IMAGES * PIXELS], logits[IMAGES * DIGITS];
    struct digits_cnn_sizes sizes, ran;
    ran.out_logits[0] = ran.out_logits[1] = -1;
    printf("negative: %d\n", (int)digits_cnn_plan(-1, &sizes));
    printf("plan: %d\n", (int)digits_cnn_plan(IMAGES, &sizes));
    if (sizes.workspace_bytes > BYTES) return 1;
    printf("logits: %d %d\n", (int)sizes.out_logits[0], (int)sizes.out_logits[1]);
    const struct { const char *what; uint64_t images, logits, workspace; } rooms[] = {
        {"exact", IMAGES * PIXELS, IMAGES * DIGITS, sizes.workspace_bytes},
        {"image", IMAGES * PIXELS - 1, IMAGES * DIGITS, sizes.workspace_bytes},
        {"logits", IMAGES * PIXELS, IMAGES * DIGITS - 1, sizes.workspace_bytes},
        {"workspace", IMAGES * PIXELS, IMAGES * DIGITS, sizes.workspace_bytes - 1},
    };
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++) {
        int32_t status = digits_cnn_run(IMAGES, images, rooms[i].images, logits, rooms[i].logits, &ran, workspace,
                                        rooms[i].workspace, NULL);
        printf("%s: %d\n", rooms[i].what, (int)status);
    }
    printf("ran: %d %d\n", (int)ran.out_logits[0], (int)ran.out_logits[1]);
    return 0;
}
