#include "remote/pass_socket.h"
#include <sys/socket.h>

namespace omx {
namespace {

struct Message {
    uint64_t number = 0;
    iovec piece{&number, sizeof number};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr head{};
    Message() {
        head.msg_iov = &piece, head.msg_iovlen = 1;
        head.msg_control = control, head.msg_controllen = sizeof control;
    }
};

}  // namespace

Status pass_socket(int over, int socket, uint64_t number) {
    Message m;
    m.number = number;
    auto part = CMSG_FIRSTHDR(&m.head);
    part->cmsg_level = SOL_SOCKET, part->cmsg_type = SCM_RIGHTS, part->cmsg_len = CMSG_LEN(sizeof socket);
    std::memcpy(CMSG_DATA(part), &socket, sizeof socket);
    if (sendmsg(over, &m.head, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) return fail_errno("can't hand over a connection");
    return {};
}

PassedSocket take_socket(int over) {
    Message m;
    ssize_t n;
    while ((n = recvmsg(over, &m.head, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR) {}
    if (n <= 0) return {.gone = true};
    auto part = CMSG_FIRSTHDR(&m.head);
    int socket = -1;
    if (part && part->cmsg_type == SCM_RIGHTS) std::memcpy(&socket, CMSG_DATA(part), sizeof socket);
    return {UniqueFd(socket), m.number, false};
}

}  // namespace omx
