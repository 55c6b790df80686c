// abort() blocks, raises, unblocks: the signal must arrive while it does.
#include "guest.h"

int main(void) {
    SAY("going\n");
    abort();
}
