/* Shared objects that look like a model and would run code, or could be made to, when a dynamic loader gets them. Each
 * function here ends the process. */
#include "model.c"

#if defined(CONSTRUCTOR)
__attribute__((constructor)) static void boo(void) { __builtin_trap(); }
#elif defined(DESTRUCTOR)
__attribute__((destructor)) static void boo(void) { __builtin_trap(); }
#elif defined(UNDEFINED)
extern int boo(void);
int (*const needed)(void) = boo;
#elif defined(IFUNC)
static void (*choose(void))(void) { __builtin_trap(); }
void boo(void) __attribute__((ifunc("choose")));
#elif defined(HIDDEN_IFUNC)
static void (*choose(void))(void) { __builtin_trap(); }
static void boo(void) __attribute__((ifunc("choose")));
void (*const chosen)(void) = boo;
#elif defined(THREAD_LOCAL)
__thread int boo = 1;
#elif defined(WRITABLE_CODE)
__asm__(".section .boo,\"awx\"\n.quad 0\n.text\n");
#elif defined(FUNCTION)
void boo(void) { __builtin_trap(); }
#elif defined(INTERPOSED)
const int boo = 1;
const int *const pointer = &boo;
#endif
