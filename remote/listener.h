// A seccomp notification listener: where the trapped calls of one stub and all its descendants arrive.
#pragma once
#include "protocol/result.h"
#include "protocol/unique_fd.h"
#include <linux/seccomp.h>
#include <optional>

namespace omx {

class Listener {
public:
    // sync_wake_up: guests wake on the CPU of the answering worker, where the kernel has that (6.6).
    Listener(UniqueFd, bool sync_wake_up);

    int fd() const { return fd_.get(); }
    // Takes a notification; call when the descriptor is readable. nullopt: its thread died before we came.
    std::optional<seccomp_notif> receive();
    // True if a notification waits (one poll).
    bool over() const;                   // nobody is left under its filter: no notification will come any more

    // False: the thread that asked is gone; never an error of ours.
    bool answer(uint64_t id, int64_t result) const;      // result as in rax: value or -errno
    bool proceed(uint64_t id) const;                      // the node's kernel runs the call itself
    bool valid(uint64_t id) const;                        // the thread still waits for this answer
    // Installs a copy of `ours` as the guest's descriptor `number`, close-on-exec, replacing what is there.
    Status install(uint64_t id, int ours, int number) const;

private:
    bool send(seccomp_notif_resp) const;
    UniqueFd fd_;
};

}  // namespace omx
