// A parent sees each status its children end with; only the low byte counts.
#include "guest.h"

int main(void) {
    const int codes[] = {0, 1, 2, 77, 125, 126, 127, 128, 254, 255, 256, -1};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; ++i) {
        pid_t child = fork();
        if (child == 0) _exit(codes[i]);
        SAY("exit(%d): ", codes[i]);
        guest_wait_for("child", child);
    }
    return 300;
}
