// The command itself dies of a signal it sends itself: `omxsup run` must die of the same.
#include "guest.h"

int main(void) {
    SAY("going\n");
    raise(SIGTERM);
    SAY("still here\n");
    return 0;
}
