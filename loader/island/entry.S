// The island's assembler part. A stub (remote/call_sites.cc) comes here on the island's stack with the registers of a
// system call; of those a call may change only rax, rcx and r11. Vector registers are never touched.
#include "loader/island/island.h"

        .section .table, "a"
        .quad   omx_lane_common, omx_lane_framed, omx_lane_sent, unsent, omx_lane_tail, omx_lane_tail_end, omx_lane_end

        .text
        .global omx_lane_sent
omx_lane_common:
        push    %rbx                    // these six are for a call that is begun anew in the middle of the C part
        push    %rbp
        push    %r12
        push    %r13
        push    %r14
        push    %r15
        push    %rdi
        push    %rsi
        push    %rdx
        push    %r10
        push    %r8
        push    %r9
        push    %rax
        mov     %rsp, OMX_LANE_FRAME
        movl    $OMX_PHASE_BEFORE, OMX_LANE_PHASE
omx_lane_framed:
        mov     %rsp, %rdi
        cld
        call    omx_lane_call
        mov     %eax, %ecx
        pop     %rax
        pop     %r9
        pop     %r8
        pop     %r10
        pop     %rdx
        pop     %rsi
        pop     %rdi
        lea     48(%rsp), %rsp          // the C part has kept the other six
        cmp     $OMX_LANE_DONE, %ecx
        jb      fall_back
        ja      see_worker
        cmpl    $0, OMX_LANE_DEFER
omx_lane_tail:
        jne     see_worker
        stc
        ret
omx_lane_tail_end:
fall_back:
        clc
        ret
see_worker:
        mov     $OMX_LANE_LEAVE, %eax
        syscall                         // the worker puts the registers to where the guest goes on
        mov     OMX_LANE_RESULT, %rax
        stc
        ret
omx_lane_end:

// long omx_lane_send(int fd, const struct msghdr*). The phase changes right behind the call, so that the worker can
// always tell whether it has left.
        .global omx_lane_send
omx_lane_send:
        mov     $46, %eax               // sendmsg
        mov     $0x4000, %edx           // MSG_NOSIGNAL
        syscall
omx_lane_sent:
        test    %rax, %rax
        jle     unsent
        movl    $OMX_PHASE_SENT, OMX_LANE_PHASE
unsent:
        ret
        .section .note.GNU-stack,"",@progbits
