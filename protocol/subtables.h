// Calls that are many calls in one: what their commands take. One file of rows each: subtables_ioctl.cc and so on.
#pragma once
#include "protocol/table.h"

namespace omx {

extern const Subtable ioctl_requests, fcntl_commands, prctl_options;
extern const Subtable set_socket_options, get_socket_options;
extern const Subtable shm_commands, sem_commands, msg_commands;
extern const Subtable quota_commands, quota_fd_commands, fsconfig_commands, sysfs_options, syslog_actions;
extern const Subtable arch_options, key_operations, seccomp_operations, kcmp_types, landlock_rules, handle_forms;

// Structs that hold a pointer, of calls without commands.
inline constexpr Nested sigset_pair{.bytes = 16, .pointer_at = 0, .inner = {.base = 8}, .direction = Direction::in};
// With SIGEV_THREAD (2) the signal value points to 32 bytes that come back as the notification.
inline constexpr Nested notify_cookie{.bytes = 64, .pointer_at = 0, .inner = {.base = 32}, .direction = Direction::in,
                                      .only_if_at = 12, .only_if = 2};
inline constexpr Size xattr_args_size{.rule = SizeRule::inside, .width = 4, .offset = 8, .cap = 65537};
inline constexpr Nested xattr_args_in{.bytes = 16, .pointer_at = 0, .inner = xattr_args_size,
                                      .direction = Direction::in};
inline constexpr Nested xattr_args_out{.bytes = 16, .pointer_at = 0, .inner = xattr_args_size,
                                       .direction = Direction::out, .back = {.rule = BackRule::result}};

}  // namespace omx
