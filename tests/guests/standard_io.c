// stdio: buffers across fork and exit, scanf from a file, temporary files, big lines, wide characters.
#include "guest.h"
#include <locale.h>
#include <wchar.h>

int main(void) {
    setlocale(LC_ALL, "C.UTF-8");
    FILE *f = fopen("lines", "w+");
    for (int i = 0; i < 5000; ++i) fprintf(f, "line %d of %s\n", i, "many");
    rewind(f);
    char word[100];
    int number, count = 0;
    long sum = 0;
    while (fscanf(f, "line %d of %99s\n", &number, word) == 2) sum += number, ++count;
    printf("%d lines, sum %ld, at %ld\n", count, sum, ftell(f));
    fclose(f);
    f = tmpfile();
    fputs("temporary", f);
    fseek(f, 4, SEEK_SET);
    printf("%c\n", fgetc(f));
    fclose(f);
    char name[] = "nameXXXXXX";
    printf("mkstemp %d\n", mkstemp(name) >= 0);
    unlink(name);
    printf("buffered before fork\n");
    if (fork() == 0) exit(0);                         // prints it, too: its copy of the buffer
    wait(NULL);
    wprintf(L"not in the same stream\n");
    printf("%ls\n", L"wide \u00e4\u00f6\u00fc");
    fprintf(stderr, "unbuffered\n");
    return 0;
}
