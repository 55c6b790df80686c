// The command kills itself outright.
#include "guest.h"

int main(void) {
    SAY("going\n");
    kill(getpid(), SIGKILL);
    SAY("still here\n");
    return 0;
}
