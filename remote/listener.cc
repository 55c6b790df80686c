#include "remote/listener.h"
#include "remote/kernel_abi.h"
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>

namespace omx {

Listener::Listener(UniqueFd fd, bool sync_wake_up) : fd_(std::move(fd)) {
    // An older kernel is only slower.
    if (sync_wake_up) (void)ioctl(fd_.get(), abi::kNotifSetFlags, abi::kNotifSyncWakeUp);
}

std::optional<seccomp_notif> Listener::receive() {
    seccomp_notif n{};                                    // must be zero, else EINVAL
    while (ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_RECV, &n) < 0)
        if (errno != EINTR) return std::nullopt;          // ENOENT: killed between the wake-up and now
    return n;
}

bool Listener::over() const {
    pollfd p{fd_.get(), POLLIN, 0};
    return poll(&p, 1, 0) > 0 && (p.revents & POLLHUP);
}

bool Listener::send(seccomp_notif_resp r) const {
    int code;
    do code = ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_SEND, &r);
    while (code < 0 && errno == EINTR);
    return code == 0;
}

bool Listener::answer(uint64_t id, int64_t result) const {
    bool failed = result < 0 && result > -4096;
    return send({.id = id, .val = failed ? 0 : result, .error = failed ? static_cast<int32_t>(result) : 0, .flags = 0});
}

bool Listener::proceed(uint64_t id) const {
    return send({.id = id, .val = 0, .error = 0, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE});
}

bool Listener::valid(uint64_t id) const { return ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0; }

Status Listener::install(uint64_t id, int ours, int number) const {
    seccomp_notif_addfd add{.id = id, .flags = SECCOMP_ADDFD_FLAG_SETFD, .srcfd = static_cast<uint32_t>(ours),
                            .newfd = static_cast<uint32_t>(number), .newfd_flags = O_CLOEXEC};
    int code;
    do code = ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_ADDFD, &add);
    while (code < 0 && errno == EINTR);
    if (code < 0) return fail_errno(fmt::format("descriptor {}", number));
    return {};
}

}  // namespace omx
