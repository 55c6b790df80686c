// A guest executes programs that can run only at home: one of 32 bits, and one whose memory nobody may look at because
// its file can't be read. They run, and who waits for them sees their status.
#include "guest.h"
#include <elf.h>
#include <spawn.h>

extern char **environ;

// write(1, "32 bits\n", 8); exit(7);
static const unsigned char code[] = {0xb8, 4, 0, 0, 0, 0xbb, 1, 0, 0, 0, 0xb9, 0x76, 0x80, 0x04, 0x08, 0xba, 8, 0, 0, 0,
                                     0xcd, 0x80, 0xb8, 1, 0, 0, 0, 0xbb, 7, 0, 0, 0, 0xcd, 0x80,
                                     '3', '2', ' ', 'b', 'i', 't', 's', '\n'};

static void write_program(const char *name, mode_t mode) {
    const Elf32_Addr base = 0x08048000, size = sizeof(Elf32_Ehdr) + sizeof(Elf32_Phdr) + sizeof code;
    Elf32_Ehdr head = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, EV_CURRENT},
                       .e_type = ET_EXEC, .e_machine = EM_386, .e_version = EV_CURRENT,
                       .e_entry = base + sizeof(Elf32_Ehdr) + sizeof(Elf32_Phdr), .e_phoff = sizeof head,
                       .e_ehsize = sizeof head, .e_phentsize = sizeof(Elf32_Phdr), .e_phnum = 1};
    Elf32_Phdr load = {.p_type = PT_LOAD, .p_vaddr = base, .p_filesz = size, .p_memsz = size, .p_flags = PF_R | PF_X,
                       .p_align = 4096};
    int fd = open(name, O_WRONLY | O_CREAT, mode);
    write(fd, &head, sizeof head);
    write(fd, &load, sizeof load);
    write(fd, code, sizeof code);
    close(fd);
}

static void copy_program(const char *from, const char *name, mode_t mode) {
    char buffer[65536];
    int in = open(from, O_RDONLY), out = open(name, O_WRONLY | O_CREAT, mode);
    for (ssize_t n; (n = read(in, buffer, sizeof buffer)) > 0;) write(out, buffer, n);
    close(in), close(out);
}

int main(void) {
    char *words[] = {"program", "-c", "echo unreadable; sh -c 'echo its child'; exit 3", NULL};
    write_program("small", 0755);
    copy_program("/bin/sh", "unreadable", 0111);
    const char *programs[] = {"./small", "./unreadable"};
    for (int i = 0; i < 2; i++) {
        pid_t child = fork();
        if (child == 0) {
            execv(programs[i], words);
            _exit(1);
        }
        guest_wait_for("forked", child);
        if (posix_spawn(&child, programs[i], NULL, NULL, words, environ) == 0) guest_wait_for("spawned", child);
    }
    execv("./small", words);
    return 1;
}
