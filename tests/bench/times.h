// What both programs of the benchmarks say of how long things took.
#pragma once
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static inline int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}
static inline int ascending(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}
static inline int report(int64_t *ns, int n) {
    qsort(ns, (size_t)n, sizeof *ns, ascending);
    printf("{\"p50_us\": %.3f, \"p99_us\": %.3f, \"min_us\": %.3f}\n", ns[n / 2] / 1e3, ns[n * 99 / 100] / 1e3, ns[0] / 1e3);
    return 0;
}
