// Unix sockets: pairs, names, datagrams, descriptors and credentials in messages.
#include "guest.h"
#include <sys/socket.h>
#include <sys/un.h>

static void pass_descriptor(void) {
    int pair[2];
    TRY(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    int one = 1;
    TRY(setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &one, sizeof one));
    int file = open("passed", O_RDWR | O_CREAT, 0600);
    union { char space[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } control = {0};
    struct iovec part = {"with a file", 11};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1,
                             .msg_control = control.space, .msg_controllen = sizeof control.space};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    *head = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
    memcpy(CMSG_DATA(head), &file, sizeof file);
    TRY(sendmsg(pair[0], &message, 0));
    char text[64] = {0}, room[256];
    struct iovec in = {text, sizeof text};
    struct msghdr got = {.msg_iov = &in, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
    TRY(recvmsg(pair[1], &got, MSG_CMSG_CLOEXEC));
    SAY("[%s] flags %x\n", text, got.msg_flags);
    for (struct cmsghdr *h = CMSG_FIRSTHDR(&got); h; h = CMSG_NXTHDR(&got, h)) {
        if (h->cmsg_type == SCM_RIGHTS) {
            int fd;
            memcpy(&fd, CMSG_DATA(h), sizeof fd);
            SAY("descriptor %d ", fd);
            TRY(write(fd, "through it", 10));
        } else if (h->cmsg_type == SCM_CREDENTIALS) {
            struct ucred who;
            memcpy(&who, CMSG_DATA(h), sizeof who);
            SAY("credentials: me %d %d\n", who.pid == getpid(), who.uid == getuid());
        }
    }
    struct ucred peer;
    socklen_t size = sizeof peer;
    TRY(getsockopt(pair[0], SOL_SOCKET, SO_PEERCRED, &peer, &size));
    SAY("peer is me %d\n", peer.pid == getpid());
}

int main(void) {
    pass_descriptor();
    struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "socket"}, who;
    int server = TRY(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    TRY(connect(server, (void *)&name, sizeof name));
    TRY(bind(server, (void *)&name, sizeof name));
    TRY(bind(server, (void *)&name, sizeof name));
    TRY(listen(server, 5));
    pid_t child = fork();
    if (child == 0) {
        int client = socket(AF_UNIX, SOCK_STREAM, 0);
        int failed = connect(client, (void *)&name, sizeof name);
        write(client, "from the child", 14);
        _exit(failed);
    }
    socklen_t size = sizeof who;
    int connection = TRY(accept4(server, (void *)&who, &size, SOCK_CLOEXEC));
    SAY("address of %d bytes\n", (int)size);
    char text[64] = {0};
    TRY(recv(connection, text, sizeof text, MSG_WAITALL));
    SAY("[%s]\n", text);
    guest_wait_for("child", child);
    size = sizeof who;
    TRY(getsockname(server, (void *)&who, &size));
    SAY("name %s\n", who.sun_path);
    int pair[2];
    TRY(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
    TRY(send(pair[0], "one", 3, 0));
    TRY(send(pair[0], "two!", 4, 0));
    TRY(recv(pair[1], text, 2, MSG_TRUNC));
    TRY(recv(pair[1], text, sizeof text, MSG_DONTWAIT));
    TRY(recv(pair[1], text, sizeof text, MSG_DONTWAIT));
    TRY(shutdown(connection, SHUT_RDWR));
    return 0;
}
