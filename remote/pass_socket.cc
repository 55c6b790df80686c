#include "remote/pass_socket.h"
#include <sys/socket.h>

namespace omx {
namespace {

struct Message {
    char byte = 's';
    iovec piece{&byte, 1};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr head{};
    Message() {
        head.msg_iov = &piece, head.msg_iovlen = 1;
        head.msg_control = control, head.msg_controllen = sizeof control;
    }
};

}  // namespace

Status pass_socket(int over, int socket) {
    Message m;
    auto part = CMSG_FIRSTHDR(&m.head);
    part->cmsg_level = SOL_SOCKET, part->cmsg_type = SCM_RIGHTS, part->cmsg_len = CMSG_LEN(sizeof socket);
    std::memcpy(CMSG_DATA(part), &socket, sizeof socket);
    if (sendmsg(over, &m.head, MSG_NOSIGNAL) != 1) return fail_errno("can't hand over a connection");
    return {};
}

UniqueFd take_socket(int over) {
    Message m;
    ssize_t n;
    while ((n = recvmsg(over, &m.head, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR) {}
    auto part = n > 0 ? CMSG_FIRSTHDR(&m.head) : nullptr;
    int socket = -1;
    if (part && part->cmsg_type == SCM_RIGHTS) std::memcpy(&socket, CMSG_DATA(part), sizeof socket);
    return UniqueFd(socket);
}

}  // namespace omx
