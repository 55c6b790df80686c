// dlopen of a library that isn't linked, a call through it, and code made at run time.
#include "guest.h"
#include <dlfcn.h>

int main(void) {
    void *library = dlopen("libm.so.6", RTLD_NOW);
    double (*cosine)(double) = (double (*)(double))dlsym(library, "cos");
    SAY("cos(0.5) = %.15f\n", cosine(0.5));
    SAY("missing: %s\n", dlopen("libnone.so.1", RTLD_NOW) ? "there" : dlerror());
    SAY("dlclose %d\n", dlclose(library));
    unsigned char code[] = {0xb8, 0x2a, 0, 0, 0, 0xc3};           // mov eax, 42; ret
    unsigned char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(page, code, sizeof code);
    TRY(mprotect(page, 4096, PROT_READ | PROT_EXEC));
    int (*made)(void) = (int (*)(void))page;
    SAY("%d\n", made());
    return 0;
}
