/* Linked with one build of the model `digits`, loads the other build named on the command line, and prints what each says
 * of itself. */
#include <dlfcn.h>
#include <stdio.h>

#include "digits.h"

static void print(const char *which, const struct nnc_model_descriptor *model)
{
    printf("%s: %s, %u dims of %s\n", which, model->name, model->inputs[0].rank, model->inputs[0].name);
}

int main(int argc, char **argv)
{
    const struct nnc_model_descriptor *other;
    void *library;
    print("linked", &nnc_model_digits);
    if (argc < 2) return 0;
    library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (!library) { puts(dlerror()); return 1; }
    other = dlsym(library, "nnc_model");
    print("loaded", other);
    return other->plan == nnc_model_digits.plan || other->inputs == nnc_model_digits.inputs;
}
