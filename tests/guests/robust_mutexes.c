// A thread dies holding a robust mutex; a process dies holding a shared one: the next owner is told.
#include "guest.h"

static pthread_mutex_t *mutex;

static void *die_with_it(void *unused) {
    (void)unused;
    pthread_mutex_lock(mutex);
    return NULL;
}

int main(void) {
    mutex = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_t kind;
    pthread_mutexattr_init(&kind);
    pthread_mutexattr_setrobust(&kind, PTHREAD_MUTEX_ROBUST);
    pthread_mutexattr_setpshared(&kind, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(mutex, &kind);
    pthread_t thread;
    pthread_create(&thread, NULL, die_with_it, NULL);
    pthread_join(thread, NULL);
    SAY("after a thread: %s\n", strerrorname_np(pthread_mutex_lock(mutex)));
    pthread_mutex_consistent(mutex);
    pthread_mutex_unlock(mutex);
    pid_t child = fork();
    if (child == 0) {
        pthread_mutex_lock(mutex);
        _exit(0);
    }
    guest_wait_for("child", child);
    SAY("after a process: %s\n", strerrorname_np(pthread_mutex_lock(mutex)));
    pthread_mutex_consistent(mutex);
    SAY("unlock %d\n", pthread_mutex_unlock(mutex));
    return 0;
}
