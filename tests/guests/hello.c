// Prints a line on each output and ends with a status of its own.
#include "guest.h"

int main(void) {
    printf("hello from the %s\n", "guest");
    fprintf(stderr, "and an error\n");
    return 7;
}
