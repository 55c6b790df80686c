// TCP and UDP over loopback, with options, many messages in one call, and refused connections.
#include "guest.h"
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

static struct sockaddr_in bound(int fd) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    TRY(bind(fd, (void *)&address, sizeof address));
    socklen_t size = sizeof address;
    TRY(getsockname(fd, (void *)&address, &size));
    return address;
}

static void tcp(void) {
    int one = 1, value = 0;
    socklen_t size = sizeof value;
    int server = TRY(socket(AF_INET, SOCK_STREAM, 0));
    TRY(setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one));
    TRY(getsockopt(server, SOL_SOCKET, SO_TYPE, &value, &size));
    SAY("type %d size %d\n", value, (int)size);
    struct sockaddr_in address = bound(server);
    TRY(listen(server, 1));
    pid_t child = fork();
    if (child == 0) {
        int client = socket(AF_INET, SOCK_STREAM, 0);
        int failed = setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        failed |= connect(client, (void *)&address, sizeof address);
        char *data = calloc(1, 500000);
        long left = 500000;
        for (ssize_t n; left > 0 && (n = send(client, data, left, MSG_NOSIGNAL)) > 0;) left -= n;
        _exit(failed || left != 0);
    }
    struct sockaddr_in who;
    size = sizeof who;
    int connection = TRY(accept(server, (void *)&who, &size));
    IS(who.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
    guest_sleep_ms(20);
    static char buffer[70000];
    long count = 0;
    for (ssize_t n; (n = recv(connection, buffer, sizeof buffer, 0)) > 0;) count += n;
    SAY("%ld received\n", count);
    guest_wait_for("child", child);
    TRY(close(server));
    int client = socket(AF_INET, SOCK_STREAM, 0);
    TRY(connect(client, (void *)&address, sizeof address));
    TRY(send(client, "x", 1, MSG_NOSIGNAL));
}

static void udp(void) {
    int to = TRY(socket(AF_INET, SOCK_DGRAM, 0)), from = TRY(socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0));
    struct sockaddr_in address = bound(to);
    TRY(sendto(from, "single", 6, 0, (void *)&address, sizeof address));
    struct iovec parts[2] = {{"many-1", 6}, {"many-22", 7}};
    struct mmsghdr out[2] = {{.msg_hdr = {&address, sizeof address, &parts[0], 1, NULL, 0, 0}},
                             {.msg_hdr = {&address, sizeof address, &parts[1], 1, NULL, 0, 0}}};
    TRY(sendmmsg(from, out, 2, 0));
    SAY("%u %u\n", out[0].msg_len, out[1].msg_len);
    char text[3][32] = {{0}};
    struct sockaddr_in who = {0};
    socklen_t size = sizeof who;
    TRY(recvfrom(to, text[0], 32, 0, (void *)&who, &size));
    IS(who.sin_family == AF_INET && size == sizeof who);
    struct iovec room[2] = {{text[1], 32}, {text[2], 32}};
    struct mmsghdr in[2] = {{.msg_hdr = {.msg_iov = &room[0], .msg_iovlen = 1}},
                            {.msg_hdr = {.msg_iov = &room[1], .msg_iovlen = 1}}};
    TRY(recvmmsg(to, in, 2, 0, NULL));
    SAY("[%s] [%s] [%s] %u\n", text[0], text[1], text[2], in[1].msg_len);
    TRY(recv(from, text[0], 32, 0));
}

int main(void) {
    tcp();
    udp();
    return 0;
}
