// SIGPIPE comes with the call that writes, before anything after it.
#include "guest.h"

int main(void) {
    int ends[2];
    TRY(pipe(ends));
    close(ends[0]);
    signal(SIGPIPE, SIG_IGN);
    TRY(write(ends[1], "x", 1));
    signal(SIGPIPE, SIG_DFL);
    TRY(write(ends[1], "x", 1));
    SAY("still here\n");
    return 0;
}
