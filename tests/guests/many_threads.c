// Four threads that make 25 each, one after another: joined, or detached and waited for through memory. Then 20 at
// once, who all live until the last one is there. Other numbers by argument.
#include "guest.h"

static int each = 25;
static pthread_barrier_t all_there;
static volatile int ended;
static __thread long mine = 7;

static void *add(void *argument) {
    mine += (long)argument;
    return (void *)mine;
}
static void *end_unseen(void *flag) {
    __atomic_store_n((int *)flag, 1, __ATOMIC_RELEASE);
    return NULL;
}
static void *make_some(void *unused) {
    long sum = 0;
    for (long i = 0; i < each; ++i) {
        pthread_t thread;
        void *result = NULL;
        int flag = 0;
        if (i % 2 == 0 && pthread_create(&thread, NULL, add, (void *)i) == 0) pthread_join(thread, &result);
        else if (pthread_create(&thread, NULL, end_unseen, &flag) == 0 && pthread_detach(thread) == 0)
            while (!__atomic_load_n(&flag, __ATOMIC_ACQUIRE)) sched_yield();
        sum += (long)result;
    }
    return unused ? unused : (void *)sum;
}
static void *meet(void *unused) {
    pthread_barrier_wait(&all_there);
    __atomic_add_fetch(&ended, 1, __ATOMIC_RELAXED);
    return unused;
}

int main(int count, char **argv) {
    if (count > 1) each = atoi(argv[1]);
    int at_once = count > 2 ? atoi(argv[2]) : 20;
    pthread_t makers[4], others[at_once];
    for (int i = 0; i < 4; ++i) pthread_create(&makers[i], NULL, make_some, NULL);
    for (int i = 0; i < 4; ++i) {
        void *sum;
        pthread_join(makers[i], &sum);
        SAY("%ld\n", (long)sum);
    }
    pthread_barrier_init(&all_there, NULL, at_once + 1);
    for (int i = 0; i < at_once; ++i) pthread_create(&others[i], NULL, meet, NULL);
    pthread_barrier_wait(&all_there);
    for (int i = 0; i < at_once; ++i) pthread_join(others[i], NULL);
    SAY("%d at once\n", ended);
    return 0;
}
