// Who wants to know where the main thread's stack is, a garbage collector or a sanitizer, asks pthread_getattr_np, which
// reads /proc/self/maps.
#include "guest.h"

static int is_within(const char *what, const void *at) {
    pthread_attr_t attributes;
    void *low = NULL;
    size_t size = 0;
    int error = pthread_getattr_np(pthread_self(), &attributes);
    if (error) { SAY("%s: %s\n", what, strerrorname_np(error)); return 0; }
    pthread_attr_getstack(&attributes, &low, &size);
    pthread_attr_destroy(&attributes);
    return (uintptr_t)low <= (uintptr_t)at && (uintptr_t)at < (uintptr_t)low + size;
}

static void *thread(void *unused) {
    int here;
    SAY("in a thread: %d\n", is_within("thread", &here));
    return unused;
}

static int deep(int levels) {
    volatile char frame[4096];
    frame[0] = (char)levels;
    return levels ? deep(levels - 1) + frame[0] : is_within("deep", (const void *)frame);
}

int main(void) {
    int here;
    SAY("in main: %d\n", is_within("main", &here));
    SAY("deep: %d\n", (deep(200) & 1) != 0);
    SAY("elsewhere: %d\n", is_within("elsewhere", stdout));
    pthread_t t;
    pthread_create(&t, NULL, thread, NULL);
    pthread_join(t, NULL);
    return 0;
}
