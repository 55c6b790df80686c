// A fault happens where the guest is; home's process must die of it all the same.
#include "guest.h"

int main(void) {
    SAY("going\n");
    *(volatile int *)8 = 1;
    SAY("still here\n");
    return 0;
}
