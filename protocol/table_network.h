// Rows: sockets, waiting for many descriptors, System V and POSIX message passing.
#pragma once
#include "protocol/judges.h"
#include "protocol/row_words.h"
#include "protocol/subtables.h"

namespace omx::words {

// A sockaddr of a length that is an argument; longer than sockaddr_storage is EINVAL before it is read.
constexpr Arg sockaddr_in_sized(uint8_t length) { return in(at_most(128, times_int(length))); }
// A sockaddr for the kernel to fill; its length stands behind the next argument, before and after.
constexpr Arg sockaddr_out_sized(uint8_t behind) {
    return out(at_most(4096, word_behind(behind)), written_behind(behind));
}
inline constexpr Arg length_word = inout(bytes(4));
// select's sets: the bits of descriptors below the count, in whole words. 1 << 20 descriptors are 128 KiB.
inline constexpr Arg fd_set = inout(at_most(1u << 20, bits(0)));
inline constexpr Arg timeout_left = in_maybe_out(bytes(16), even_failed());
inline constexpr Arg epoll_events = out(times_int(2, 12), result(12));
inline constexpr Arg pollfds = inout(at_most(8u << 20, times_unsigned(1, 8)));

inline constexpr Row network_rows[] = {
    row(41, "socket", forward, {domain, socket_type, num}),
    row(42, "connect", forward, {fd, sockaddr_in_sized(2), num}).blocking(),
    row(43, "accept", forward, {fd, sockaddr_out_sized(2), length_word}).blocking(),
    row(44, "sendto", forward, {fd, in(times(2)), size, message_flags, sockaddr_in_sized(5), num})
        .blocking().lowering(2).by(place_sendto),
    row(45, "recvfrom", forward,
        {fd, out(times(2), result()), size, message_flags, sockaddr_out_sized(5), length_word})
        .blocking().lowering(2),
    row(46, "sendmsg", forward, {fd, message_in, message_flags}).blocking().by(place_sendmsg),
    row(47, "recvmsg", forward, {fd, message_out, message_flags}).blocking(),
    row(48, "shutdown", forward, {fd, num}),
    row(49, "bind", forward, {fd, sockaddr_in_sized(2), num}),
    row(50, "listen", forward, {fd, num}),
    row(51, "getsockname", forward, {fd, sockaddr_out_sized(2), length_word}),
    row(52, "getpeername", forward, {fd, sockaddr_out_sized(2), length_word}),
    row(53, "socketpair", forward, {domain, socket_type, num, out(bytes(8))}),
    row(54, "setsockopt", forward, {fd, num, num, in(times_int(4)), num}).by(set_socket_options),
    row(55, "getsockopt", forward, {fd, num, num, hex, hex}).by(get_socket_options),
    row(288, "accept4", forward, {fd, sockaddr_out_sized(2), length_word, open_flags}).blocking(),
    row(299, "recvmmsg", forward, {fd, messages_out(2), uns, message_flags, timeout_left}).blocking(),
    row(307, "sendmmsg", forward, {fd, messages_in(2), uns, message_flags}).blocking().by(place_sendmmsg),

    // Waiting for many.
    row(7, "poll", forward, {pollfds, uns, num}).blocking(),
    row(23, "select", forward, {num, fd_set, fd_set, fd_set, timeout_left}).blocking(),
    row(270, "pselect6", forward, {num, fd_set, fd_set, fd_set, timeout_left, nested(sigset_pair)}).blocking(),
    row(271, "ppoll", forward, {pollfds, uns, timeout_left, sigset(4), size}).blocking(),
    row(213, "epoll_create", forward, {num}),
    row(232, "epoll_wait", forward, {fd, epoll_events, num, num}).blocking(),
    row(233, "epoll_ctl", forward, {fd, num, fd, in(bytes(12))}),
    row(281, "epoll_pwait", forward, {fd, epoll_events, num, num, sigset(5), size}).blocking(),
    row(291, "epoll_create1", forward, {open_flags}),
    row(441, "epoll_pwait2", forward, {fd, epoll_events, num, timespec, sigset(5), size}).blocking(),
    row(284, "eventfd", forward, {uns}),
    row(290, "eventfd2", forward, {uns, open_flags}),

    // System V.
    row(29, "shmget", forward, {hex, size, hex}),
    row(30, "shmat", home, {num, address, hex})
        .because("memory shared with processes that stay at home can't be on a node"),
    row(31, "shmctl", forward, {num, command, hex}).by(shm_commands),
    row(67, "shmdt", forward, {address}),
    row(64, "semget", forward, {hex, num, hex}),
    row(65, "semop", forward, {num, in(at_most(1u << 20, times_unsigned(2, 6))), uns}).blocking(),
    row(66, "semctl", forward, {num, num, command, hex}).by(sem_commands),
    row(220, "semtimedop", forward, {num, in(at_most(1u << 20, times_unsigned(2, 6))), uns, timespec}).blocking(),
    row(68, "msgget", forward, {hex, hex}),
    row(69, "msgsnd", forward, {num, in(times(2, 1, 8)), size, hex}).blocking(),
    row(70, "msgrcv", forward, {num, out(times(2, 1, 8), result(1, 8)), size, off, hex}).blocking(),
    row(71, "msgctl", forward, {num, command, hex}).by(msg_commands),

    // POSIX message queues.
    row(240, "mq_open", forward, {path, open_flags, mode, in(bytes(64))}),
    row(241, "mq_unlink", forward, {path}),
    row(242, "mq_timedsend", forward, {fd, in(times(2)), size, uns, timespec}).blocking(),
    row(243, "mq_timedreceive", forward, {fd, out(times(2), result()), size, out(bytes(4)), timespec}).blocking(),
    row(244, "mq_notify", forward, {fd, nested(notify_cookie)}),
    row(245, "mq_getsetattr", forward, {fd, in(bytes(64)), out(bytes(64))}),
};

}  // namespace omx::words
