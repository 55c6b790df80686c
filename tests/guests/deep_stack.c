// The stack grows as far as the limit lets it: 6 MiB of recursion, and a thread with a stack of its own.
#include "guest.h"

static long deeper(long left, const char *above) {
    char here[1024];
    memset(here, (int)left, sizeof here);
    if (left == 0) return above ? above[5] : 0;
    return deeper(left - 1, here) + here[3];
}

static void *in_thread(void *unused) {
    (void)unused;
    return (void *)deeper(3000, NULL);
}

int main(void) {
    SAY("%ld\n", deeper(6000, NULL));
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 16 << 20);
    pthread_create(&thread, &attributes, in_thread, NULL);
    void *result;
    pthread_join(thread, &result);
    SAY("%ld\n", (long)result);
    return 0;
}
