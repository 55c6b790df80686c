// What is left of a process while its user half is away: this code, its slots, and the stack's page with argv.
// It uses no stack at all, so that a child of clone may go on in it at once, whatever memory it shares.
// The kernel clobbers only rax, rcx and r11 in a system call; r12-r15, rbx and rbp are ours throughout.
//   r15 slot    r14 current operation    r13 operations left    r12 non-zero: an operation failed    rbx its flags
#include "supervisor/slot.h"
#include <asm/unistd.h>

        .section .rodata
        .balign 16
        .global omx_blob_begin, omx_blob_end, omx_blob_process_start, omx_blob_make_memfd, omx_blob_made_memfd
        .global omx_blob_mapped
        .global omx_blob_run, omx_blob_committed, omx_blob_call, omx_blob_called, omx_blob_skip, omx_blob_reported
omx_blob_begin:

// A fresh process: make the memfd, let the supervisor take its copy (int3), map slot 0 and the big area. The child of one
// that has closed itself (PR_SET_DUMPABLE, 0) opens itself for that moment: nobody could take the copy.
omx_blob_process_start:
        mov     $__NR_prctl, %eax
        mov     $3, %edi                        // PR_GET_DUMPABLE
        syscall
        mov     %eax, %ebp
        test    %eax, %eax
        jnz     omx_blob_make_memfd
        mov     $__NR_prctl, %eax
        mov     $4, %edi                        // PR_SET_DUMPABLE
        mov     $1, %esi
        syscall
omx_blob_make_memfd:
        mov     $__NR_memfd_create, %eax
        lea     memfd_name(%rip), %rdi
        mov     $1, %esi                        // MFD_CLOEXEC
        syscall
        movslq  %eax, %rbx
        int3                                    // supervisor: rbx is the descriptor or -errno
omx_blob_made_memfd:
        mov     $__NR_munmap, %eax              // after fork: the parent's slots must not stay mapped (S4)
        movabs  $OMX_SLOTS_BASE, %rdi
        movabs  $OMX_SLOTS_SPAN, %rsi
        syscall
        mov     $__NR_munmap, %eax
        movabs  $OMX_BIG_BASE, %rdi
        movabs  $OMX_BIG_SPAN, %rsi
        syscall
        mov     $__NR_mmap, %eax
        movabs  $OMX_SLOTS_BASE, %rdi
        mov     $OMX_SLOT_BYTES, %esi
        mov     $3, %edx                        // PROT_READ|PROT_WRITE
        mov     $0x11, %r10d                    // MAP_SHARED|MAP_FIXED
        mov     %rbx, %r8
        xor     %r9d, %r9d
        syscall
        mov     %rax, %r12
        mov     $__NR_mmap, %eax
        movabs  $OMX_BIG_BASE, %rdi
        mov     $OMX_PAGE, %esi
        movabs  $OMX_BIG_OFFSET, %r9
        syscall
        mov     %rax, %r13
        mov     $__NR_close, %eax
        mov     %ebx, %edi
        syscall
        test    %ebp, %ebp
        jnz     say_mapped
        mov     $__NR_prctl, %eax
        mov     $4, %edi
        xor     %esi, %esi
        syscall
say_mapped:
        int3                                    // supervisor: r12 and r13 are the two mappings, or -errno
omx_blob_mapped:
        movabs  $OMX_SLOTS_BASE, %r15

wait:
        mov     OMX_STATE(%r15), %eax
        cmp     $OMX_POSTED_WATCHED, %eax
        je      omx_blob_run
        cmp     $OMX_POSTED_ASYNC, %eax
        je      omx_blob_run
        mov     %eax, %edx
        mov     $1, %eax
        xchg    %eax, OMX_SLEEPING(%r15)        // full barrier: the poster sees it, or we see the post
        mov     $__NR_futex, %eax
        mov     %r15, %rdi                      // &state
        xor     %esi, %esi                      // FUTEX_WAIT, shared
        xor     %r10d, %r10d
        syscall
        movl    $0, OMX_SLEEPING(%r15)
        jmp     wait

omx_blob_run:
        mov     OMX_OP_COUNT(%r15), %r13d
        lea     OMX_OPS(%r15), %r14
        xor     %r12d, %r12d
next:
        test    %r13d, %r13d
        jz      done
        mov     4(%r14), %ebx                   // flags
        test    %r12d, %r12d
        jz      load
        test    $OMX_OP_ALWAYS, %ebx
        jz      advance
load:
        mov     8(%r14), %rdi
        test    $OMX_OP_RESULT_AS_ARG0, %ebx
        jz      rest
        mov     -8(%r14), %rdi                  // previous result
        cmp     $-4096, %rdi
        ja      advance
rest:
        mov     16(%r14), %rsi
        mov     24(%r14), %rdx
        mov     32(%r14), %r10
        mov     40(%r14), %r8
        mov     48(%r14), %r9
        test    $OMX_OP_GUEST_CALL, %ebx
        jz      omx_blob_call
        cmpl    $0, OMX_CANCEL(%r15)            // a signal came before the call began: see signals.cc
omx_blob_committed:
        jne     omx_blob_skip
omx_blob_call:
        mov     (%r14), %eax
        syscall
omx_blob_called:
        test    %rax, %rax
        jz      maybe_child
store:
        mov     %rax, 56(%r14)
        cmp     $-4096, %rax
        jbe     advance
        test    $OMX_OP_STOP_ON_ERROR, %ebx
        jz      advance
        mov     $1, %r12d
advance:
        add     $OMX_OP_BYTES, %r14
        dec     %r13d
        jmp     next
omx_blob_skip:
        mov     $-4, %rax                       // EINTR: the signal's handler runs instead
        jmp     store
maybe_child:
        test    $OMX_OP_NEW_PROCESS, %ebx
        jnz     omx_blob_process_start
        test    $OMX_OP_NEW_THREAD, %ebx
        jz      store
        mov     %r9, %r15
        jmp     wait

done:
        mov     $OMX_DONE, %eax
        xchg    %eax, OMX_STATE(%r15)
        cmp     $OMX_POSTED_ASYNC, %eax
        je      report
        cmpl    $0, OMX_WATCHER(%r15)
        je      wait
        mov     $__NR_futex, %eax
        mov     %r15, %rdi
        mov     $1, %esi                        // FUTEX_WAKE, shared
        mov     $1, %edx
        syscall
        jmp     wait
report:
        int3                                    // supervisor: the call is done
omx_blob_reported:
        jmp     wait

memfd_name:
        .asciz  "omxsup"
omx_blob_end:
        .section .note.GNU-stack,"",@progbits
