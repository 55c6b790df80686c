/* The kernel's vDSO carries its version in a note; C libraries up to glibc 2.36 read it at every program start and ask
 * uname, a forwarded call, where it is missing. The plan writes home's version into the last word. */
    .section .note.version, "a", @note
    .balign 4
    .long 6
    .long 4
    .long 0
    .asciz "Linux"
    .balign 4
    .long 0
    .section .note.GNU-stack, "", @progbits
