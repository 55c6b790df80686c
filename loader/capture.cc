#include "loader/capture.h"
#include "loader/image_check.h"
#include "loader/mapped_files.h"
#include "loader/own_pages.h"
#include "loader/proc_files.h"
#include "loader/scheduling.h"
#include "loader/text_scan.h"
#include "loader/vdso_symbols.h"
#include <algorithm>
#include <elf.h>
#include <fcntl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>

namespace omx {
namespace {

// From linux/ptrace.h, which can't be included together with sys/ptrace.h.
constexpr auto kGetSignalMask = static_cast<__ptrace_request>(0x420a);
constexpr uint64_t k64BitCode = 0x33;       // the kernel's user code segment in long mode

Status capture_registers(HomePid pid, ThreadState& t) {
    struct iovec io = {&t.regs, sizeof t.regs};
    if (::ptrace(PTRACE_GETREGSET, pid.value, NT_PRSTATUS, &io) != 0) return fail_errno("registers of the process");
    // A 32-bit process answers with its own, shorter set.
    if (io.iov_len != sizeof t.regs || t.regs.cs != k64BitCode) return fail("it is a 32-bit program");
    t.regs.rax = 0;                         // what execve returns, were there anybody to return to
    t.regs.orig_rax = ~0ull;                // in no call: nothing to restart
    if (::ptrace(kGetSignalMask, pid.value, sizeof t.blocked, &t.blocked) != 0) return fail_errno("signal mask");
    return {};
}

// Mappings that every kernel makes by itself and that mean nothing elsewhere.
bool is_kernels_own(const MapsEntry& e) {
    return e.path == "[vvar]" || e.path == "[vvar_vclock]" || e.path == "[vsyscall]" || e.path == "[uprobes]";
}

std::unexpected<Error> cannot_leave(const MapsEntry& e, std::string_view what) {
    return fail(fmt::format("its memory at {:x}-{:x} ({}) is {}", e.start, e.end,
                            e.path.empty() ? "anonymous" : e.path, what));
}

Result<RegionKind> kind_of(const MapsEntry& e) {
    if (e.shared) return cannot_leave(e, "shared, which no new program has");
    if (e.path == "[stack]") return RegionKind::stack;
    if (e.path == "[vdso]") return RegionKind::vdso;
    if (e.path.empty() || e.path == "[heap]" || e.path.starts_with("[anon:")) return RegionKind::anonymous;
    if (e.inode != 0 && e.path.starts_with('/')) return RegionKind::file;
    return cannot_leave(e, "of a kind not known to omxsup");
}

class Capture {
public:
    Capture(const ProcDir& process, const FileRegistrar& registrar, int memory_fd, int pagemap_fd)
        : files_(process, registrar), own_(memory_fd, pagemap_fd) {}

    Status add(const MapsEntry& e) {
        if (is_kernels_own(e)) return {};
        auto kind = kind_of(e);
        if (!kind) return std::unexpected(kind.error());
        Region g{.start = e.start, .end = e.end, .prot = e.prot, .kind = *kind, .file = -1, .file_offset = 0};
        return g.kind == RegionKind::file ? add_file(e, g) : add_memory(g);
    }

    void finish(Image& image) {
        image.regions = std::move(regions_);
        image.files = files_.take_keys();
        own_.store(image);
    }

private:
    Status add_file(const MapsEntry& e, Region g) {
        auto use = files_.use(e);
        if (!use) return std::unexpected(use.error());
        bool lost = use->index < 0;
        if (lost) {
            g.kind = RegionKind::anonymous;
        } else {
            g.file = use->index;
            g.file_offset = e.offset;
        }
        regions_.push_back(g);
        return own_.collect(g, use->fd, lost);
    }

    Status add_memory(const Region& g) {
        regions_.push_back(g);
        if (g.kind == RegionKind::vdso) return {};
        return own_.collect(g, -1, false);
    }

    MappedFiles files_;
    OwnPages own_;
    std::vector<Region> regions_;
};

Status capture_memory(const ProcDir& process, const FileRegistrar& registrar, Image& image) {
    auto text = process.read_text("maps");
    if (!text) return std::unexpected(text.error());
    auto maps = parse_maps(*text);
    if (!maps) return std::unexpected(maps.error());
    auto memory = process.open_file("mem", O_RDONLY);
    if (!memory) return std::unexpected(memory.error());
    auto pagemap = process.open_file("pagemap", O_RDONLY);
    if (!pagemap) return std::unexpected(pagemap.error());

    Capture capture(process, registrar, memory->get(), pagemap->get());
    for (const auto& e : *maps) OMX_TRY(capture.add(e));
    capture.finish(image);
    for (const auto& e : *maps)
        if (e.path == "[heap]") image.mm.brk = std::max(image.mm.brk, e.end);
    return {};
}

Status capture_status(const ProcDir& process, Image& image) {
    auto stat = process.read_text("stat");
    if (!stat) return std::unexpected(stat.error());
    auto mm = parse_stat(*stat);
    if (!mm) return std::unexpected(mm.error());
    image.mm = *mm;

    auto text = process.read_text("status");
    if (!text) return std::unexpected(text.error());
    auto status = parse_status(*text);
    if (!status) return std::unexpected(status.error());
    if (status->threads != 1) return fail(fmt::format("it has {} threads right after exec", status->threads));
    for (size_t i = 0; i < image.actions.size(); i++)
        if (status->ignored >> i & 1) image.actions[i].handler = 1;
    return {};
}

Status capture_names(const ProcDir& process, Image& image) {
    auto name = read_name(process);
    if (!name) return std::unexpected(name.error());
    image.name = std::move(*name);

    auto personality = process.read_text("personality");
    if (!personality) return std::unexpected(personality.error());
    if (!TextScan(*personality).hex(image.personality)) return fail("personality: not a number");
    return {};
}

Status capture_auxv(const ProcDir& process, Image& image) {
    auto auxv = read_auxv(process);
    if (!auxv) return std::unexpected(auxv.error());
    image.auxv = std::move(*auxv);
    if (auxv_value(View(image.auxv), AT_PHENT) != sizeof(Elf64_Phdr)) return fail("it is a 32-bit program");
    return {};
}

Status capture_limits(const ProcDir& process, NodeLimits& l) {
    auto text = process.read_text("limits");
    if (!text) return std::unexpected(text.error());
    OMX_TRY(parse_limit(*text, "Max address space", l.as_soft, l.as_hard));
    OMX_TRY(parse_limit(*text, "Max data size", l.data_soft, l.data_hard));
    OMX_TRY(parse_limit(*text, "Max stack size", l.stack_soft, l.stack_hard));
    return parse_limit(*text, "Max cpu time", l.cpu_soft, l.cpu_hard);
}

}  // namespace

Result<Image> capture_exec(HomePid pid, const FileRegistrar& registrar) {
    Image image;
    image.pid = pid;
    image.kernel_version = kernel_version();
    image.threads.emplace_back().tid = HomeTid(pid.value);
    OMX_TRY(capture_registers(pid, image.threads[0]));
    auto scheduling = scheduling_of(image.threads[0].tid);
    if (!scheduling) return std::unexpected(scheduling.error());
    image.threads[0].scheduling = std::move(*scheduling);
    auto process = ProcDir::open(pid);
    if (!process) return std::unexpected(process.error());
    OMX_TRY(capture_auxv(*process, image));
    OMX_TRY(capture_status(*process, image));
    OMX_TRY(capture_names(*process, image));
    OMX_TRY(capture_limits(*process, image.limits));
    OMX_TRY(capture_memory(*process, registrar, image));
    OMX_TRY(check_image(image));        // what the node would refuse is refused here, with the process still whole
    return image;
}

Result<FileKey> key_of(int fd) {
    struct stat s;
    if (::fstat(fd, &s) != 0) return fail_errno("fstat");
    if (!S_ISREG(s.st_mode)) return fail("not a regular file");
    auto ns = [](const struct timespec& t) { return t.tv_sec * 1'000'000'000ll + t.tv_nsec; };
    FileKey key{.device = s.st_dev, .inode = s.st_ino, .bytes = static_cast<uint64_t>(s.st_size),
                .mtime_ns = ns(s.st_mtim), .ctime_ns = ns(s.st_ctim), .cacheable = false};
    // Two changes within one tick of the coarse clock carry the same stamp: a young stamp may come again with other
    // content. 20 ms are two ticks of the slowest kernel (HZ=100). A stamp of the future proves nothing either.
    struct timespec now;
    ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
    key.cacheable = key.ctime_ns + 20'000'000 < ns(now);
    return key;
}

}  // namespace omx
