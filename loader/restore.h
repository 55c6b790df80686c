// Rebuilding an image inside a stub. The stub is a tiny static program (loader/stub/) exec'ed under the guest's
// filter; it asks the worker for its plan by a system call number that Linux does not have, maps the plan at an
// address free in the image, and the runner code in it does every operation in order and ends in rt_sigreturn.
// While a guest is restoring, its worker answers every notification but the two below with CONTINUE, sends no signal,
// and holds the descriptors that it lent to the stub. A stub starts with every signal action at its default (or as the
// guest had it before an exec) and, because the kernel lays out memory by it, with the image's RLIMIT_STACK.
#pragma once
#include "loader/image.h"
#include "loader/proc_view.h"
#include "loader/stub/plan.h"
#include "protocol/unique_fd.h"
#include <array>
#include <optional>

namespace omx {

// Below 2^30, because a filter for x86-64 takes numbers from there on for x32 calls and kills.
// Stub -> worker. The worker installs Plan::memfd at kPlanFd and Plan::files[i] at kPlanFd + 1 + i (ADDFD, SETFD),
// then answers 0.
constexpr uint32_t kStubWantsPlan = 0x2f6d7801;
// Last call of the runner: everything is in place; args[0] is 0, or -errno with args[1] the index of the operation
// that failed; the stub then exits with 125. From the answer on the guest's own code runs, after two more calls that
// need no answer (munmap, rt_sigreturn). It has no descriptor open.
constexpr uint32_t kStubReady = 0x2f6d7802;
constexpr int kPlanFd = 3;

// The stub's ELF file, embedded in the binary; the worker writes it to its root as /stub. Readable, so that the guest
// stays dumpable.
View stub_elf();

struct Plan {
    UniqueFd memfd;
    std::vector<int> files;        // borrowed descriptors, in Image::files order, then the node's
    bool has_island = false;
    uint64_t clocks = 0;                    // where NodeFiles::clocks are mapped; 0: nowhere
    std::vector<AddressRange> ours;         // what the guest will have besides the image's, home's vDSO with it
    uint64_t system_call = 0;               // a system call instruction that stays in it, whatever it unmaps of its own
    // Where the way into the guest is, between kStubReady and its own code: the plan and what stays of it.
    std::array<AddressRange, 2> way_in{};
    std::vector<std::string> operations;    // text of each operation, for the error message of kStubReady
};
// What every guest of a node maps besides its image; borrowed descriptors, -1: it doesn't. `island_code`,
// `island_news`: island_file(), and the page shared with the worker; the guest has the island only if nothing of its
// own is or may come to be there. `clocks`: OMX_CLOCK_BYTES that begin with an omx_clock_page; without it this
// machine's clocks are the guest's.
struct NodeFiles { int island_code = -1, island_news = -1, clocks = -1; };
// `files[i]` holds the content of image.files[i]. Uses this kernel's vDSO as the clock behind ours (see loader/vdso/).
Result<Plan> plan_restore(const Image& image, std::span<const int> files, NodeFiles = {});

// Our vDSO with a clock filled in: pointers to the functions of the machine's own vDSO, wherever that lies. A guest that
// has come home has it too, in the place where it has always seen one.
Bytes vdso_with(const omx_clock&, uint32_t kernel_version);
// Room for the machine's own vDSO in the address space of such a guest, apart from where it is now.
std::optional<uint64_t> place_for_vdso(const Image&, uint64_t now, uint64_t bytes);

// What every guest maps as its island's code and stubs.
Result<UniqueFd> island_file();

}  // namespace omx
