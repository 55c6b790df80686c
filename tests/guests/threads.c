// Eight threads with a mutex and a condition; own stacks, own thread-local memory, joined results.
#include "guest.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turn = PTHREAD_COND_INITIALIZER;
static int whose;
static long counter;
static __thread long mine;
static __thread char name[16] = "initialised";

static void *work(void *argument) {
    long number = (long)argument;
    for (int i = 0; i < 1000; ++i) {
        pthread_mutex_lock(&mutex);
        ++counter;
        pthread_mutex_unlock(&mutex);
        mine += number;
    }
    pthread_mutex_lock(&mutex);
    while (whose != number) pthread_cond_wait(&turn, &mutex);
    SAY("thread %ld: %ld %s, tid %s pid\n", number, mine, name, gettid() == getpid() ? "is" : "is not");
    ++whose;
    pthread_cond_broadcast(&turn);
    pthread_mutex_unlock(&mutex);
    return (void *)(number * number);
}

int main(void) {
    pthread_t threads[8];
    long sum = 0;
    for (long i = 0; i < 8; ++i) pthread_create(&threads[i], NULL, work, (void *)i);
    for (int i = 0; i < 8; ++i) {
        void *result;
        pthread_join(threads[i], &result);
        sum += (long)result;
    }
    SAY("%ld %ld %ld\n", counter, sum, mine);
    for (int i = 0; i < 50; ++i) {                    // short ones: start and end race with each other
        pthread_create(&threads[0], NULL, (void *(*)(void *))abs, NULL);
        pthread_join(threads[0], NULL);
    }
    SAY("done\n");
    return 0;
}
