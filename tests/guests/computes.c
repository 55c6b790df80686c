// Computing with vectors, x87, and floating point control words, over many time slices and a fork.
#include "guest.h"
#include <fenv.h>

typedef float vector __attribute__((vector_size(32)));

static float spin(void) {
    vector v = {1, 2, 3, 4, 5, 6, 7, 8}, step = v * 1e-7f;
    long double x = 1;
    for (int i = 0; i < 20000000; ++i) v += step;
    for (int i = 0; i < 1000000; ++i) x = x * 1.0000001L;
    return v[0] + v[7] + (float)x;
}

int main(void) {
    float first = spin();
    fesetround(FE_UPWARD);
    pid_t child = fork();
    if (child == 0) {
        SAY("rounding kept %d\n", fegetround() == FE_UPWARD);
        fesetround(FE_TONEAREST);
        IS(spin() == first);
        _exit(0);
    }
    guest_wait_for("child", child);
    fesetround(FE_TONEAREST);
    IS(spin() == first);
    SAY("%.6f\n", first);
    return 0;
}
