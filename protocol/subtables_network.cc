// Socket options and the commands of System V objects. Nearly all socket options are flat bytes of the length that the
// caller gives; the list names those that hold pointers.
#include "protocol/row_words.h"
#include "protocol/subtables.h"

namespace omx {

using namespace words;

namespace {

// Level and name of an option in one number.
constexpr uint64_t option(uint32_t level, uint32_t number) { return uint64_t{level} << 32 | number; }
uint64_t option_selector(const CallArgs& args) {
    return option(static_cast<uint32_t>(args[1]), static_cast<uint32_t>(args[2]));
}

constexpr Args plain_set{fd, num, num, in(at_most(16u << 20, times_int(4))), num};
constexpr Args plain_get{fd, num, num, out(at_most(16u << 20, word_behind(4)), written_behind(4)),
                         inout(bytes(4), even_failed())};

// struct sock_fprog: a count of 8-byte instructions and a pointer to them.
constexpr Nested filter_program{.bytes = 16, .pointer_at = 8,
                                .inner = {.rule = SizeRule::inside, .width = 2, .offset = 0, .unit = 8},
                                .direction = Direction::in};
constexpr Args set_filter{fd, num, num, nested(filter_program), num};

constexpr Variant option_home(uint64_t selector, std::string_view name, std::string_view why) {
    return variant(selector, name, home, {fd, num, num, address, address}, why);
}
constexpr std::string_view kPointers = "its struct holds pointers that omxsup does not follow";
constexpr std::string_view kMaps = "it maps what was received into the guest's memory";

constexpr Variant set_options[] = {
    option_home(option(0, 64), "IPT_SO_SET_REPLACE", kPointers),
    option_home(option(0, 96), "ARPT_SO_SET_REPLACE", kPointers),
    option_home(option(0, 128), "EBT_SO_SET_ENTRIES", kPointers),
    variant(option(1, 26), "SO_ATTACH_FILTER", forward, set_filter),
    variant(option(1, 51), "SO_ATTACH_REUSEPORT_CBPF", forward, set_filter),
    option_home(option(41, 64), "IP6T_SO_SET_REPLACE", kPointers),
    option_home(option(263, 22), "PACKET_FANOUT_DATA", kPointers),
};
constexpr Variant get_options[] = {
    option_home(option(0, 129), "EBT_SO_GET_ENTRIES", kPointers),
    option_home(option(0, 131), "EBT_SO_GET_INIT_ENTRIES", kPointers),
    option_home(option(1, 26), "SO_GET_FILTER", "its length counts instructions, not bytes"),
    option_home(option(6, 35), "TCP_ZEROCOPY_RECEIVE", kMaps),
    option_home(option(132, 111), "SCTP_SOCKOPT_CONNECTX3", kPointers),
    option_home(option(276, 1), "RDS_CANCEL_SENT_TO", kPointers),
};

// System V: the commands of shmctl, semctl and msgctl, without the bit that old C libraries set (IPC_64).
constexpr uint64_t command_of(uint64_t word) { return static_cast<uint32_t>(word) & ~0x100u; }
uint64_t second(const CallArgs& args) { return command_of(args[1]); }
uint64_t third(const CallArgs& args) { return command_of(args[2]); }

constexpr Variant shared(uint32_t number, std::string_view name, Arg argument = hex) {
    return variant(number, name, forward, {num, command, argument});
}
constexpr Variant shms[] = {
    shared(0, "IPC_RMID"),
    shared(1, "IPC_SET", in(bytes(112))),
    shared(2, "IPC_STAT", out(bytes(112))),
    shared(3, "IPC_INFO", out(bytes(72))),
    shared(11, "SHM_LOCK"),
    shared(12, "SHM_UNLOCK"),
    shared(13, "SHM_STAT", out(bytes(112))),
    shared(14, "SHM_INFO", out(bytes(48))),
    shared(15, "SHM_STAT_ANY", out(bytes(112))),
};
constexpr Variant messages[] = {
    shared(0, "IPC_RMID"),
    shared(1, "IPC_SET", in(bytes(120))),
    shared(2, "IPC_STAT", out(bytes(120))),
    shared(3, "IPC_INFO", out(bytes(32))),
    shared(11, "MSG_STAT", out(bytes(120))),
    shared(12, "MSG_INFO", out(bytes(32))),
    shared(13, "MSG_STAT_ANY", out(bytes(120))),
};

// How many values GETALL and SETALL take is the set's own knowledge: as many as a set can have (SEMMSL).
constexpr Arg all_values_in = in(bytes(64000)), all_values_out = inout(bytes(64000), changed);
constexpr Variant semaphore(uint32_t number, std::string_view name, Arg argument = hex) {
    return variant(number, name, forward, {num, num, command, argument});
}
constexpr Variant semaphores[] = {
    semaphore(0, "IPC_RMID"),
    semaphore(1, "IPC_SET", in(bytes(104))),
    semaphore(2, "IPC_STAT", out(bytes(104))),
    semaphore(3, "IPC_INFO", out(bytes(40))),
    semaphore(11, "GETPID"),
    semaphore(12, "GETVAL"),
    semaphore(13, "GETALL", all_values_out),
    semaphore(14, "GETNCNT"),
    semaphore(15, "GETZCNT"),
    semaphore(16, "SETVAL", num),
    semaphore(17, "SETALL", all_values_in),
    semaphore(18, "SEM_STAT", out(bytes(104))),
    semaphore(19, "SEM_INFO", out(bytes(40))),
    semaphore(20, "SEM_STAT_ANY", out(bytes(104))),
};

constexpr std::string_view kUnknown = "a command whose argument omxsup does not know";

}  // namespace

const Subtable set_socket_options{
    .title = "socket option that is set", .selector = option_selector, .variants = set_options,
    .other = variant(0, {}, forward, plain_set), .nonsense = {},
};
const Subtable get_socket_options{
    .title = "socket option that is read", .selector = option_selector, .variants = get_options,
    .other = variant(0, {}, forward, plain_get), .nonsense = {},
};
const Subtable shm_commands{
    .title = "shmctl command", .selector = second, .variants = shms,
    .other = variant(0, {}, home, {num, command, address}, kUnknown),
    .nonsense_from = 4096, .nonsense = variant(0, {}, forward, {num, num}),
};
const Subtable sem_commands{
    .title = "semctl command", .selector = third, .variants = semaphores,
    .other = variant(0, {}, home, {num, num, command, address}, kUnknown),
    .nonsense_from = 4096, .nonsense = variant(0, {}, forward, {num, num, num}),
};
const Subtable msg_commands{
    .title = "msgctl command", .selector = second, .variants = messages,
    .other = variant(0, {}, home, {num, command, address}, kUnknown),
    .nonsense_from = 4096, .nonsense = variant(0, {}, forward, {num, num}),
};

}  // namespace omx
