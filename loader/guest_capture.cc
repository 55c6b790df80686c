#include "loader/guest_capture.h"
#include "loader/capture.h"
#include "loader/image_check.h"
#include "loader/island/island.h"
#include "loader/proc_files.h"
#include <algorithm>
#include <elf.h>
#include <sys/mman.h>

namespace omx {
namespace {

constexpr uint64_t kScratchBytes = 64;

// This node's, and nothing to the guest.
bool is_nodes_own(const MapsEntry& e) {
    return e.path == "[vvar]" || e.path == "[vvar_vclock]" || e.path == "[vdso]" || e.path == "[vsyscall]" ||
           e.path == "[uprobes]";
}

bool is_islands(const MapsEntry& e) {
    return e.start >= OMX_ISLAND_BASE && e.end <= OMX_ISLAND_BASE + OMX_ISLAND_BYTES;
}

bool is_clock_page(const MapsEntry& e) { return e.path.starts_with("/memfd:omxsup-clocks"); }

class Regions {
public:
    Regions(GuestCapture& capture, const ContentFinder& find, uint64_t vdso)
        : capture_(capture), find_(find), vdso_(vdso) {}

    Status add(const MapsEntry& e) {
        if (is_nodes_own(e)) return {};
        Region g{.start = e.start, .end = e.end, .prot = e.prot, .kind = RegionKind::anonymous, .file = -1,
                 .file_offset = 0, .traits = e.traits};
        bool everything = false;
        if (is_clock_page(e)) everything = true;        // a thread may be reading it
        else if (e.start == vdso_) g.kind = RegionKind::vdso;
        else if (is_islands(e)) everything = true;      // stays, out of use: a handler may return into it
        else if (is_shared_anonymous(e)) add_shared(e, g), everything = true;
        else if (e.path == "[stack]") g.kind = RegionKind::stack;
        else if (e.path.starts_with("/memfd:")) add_file(e, g);
        else if (e.shared || (!e.path.empty() && e.path != "[heap]" && !e.path.starts_with("[anon:")))
            return fail(fmt::format("its memory at {:x}-{:x} is of a kind not known to omxsup ({})", e.start, e.end,
                                    e.path));
        if (g.kind != RegionKind::vdso && g.kind != RegionKind::shared_file)
            capture_.own.push_back({g.start, g.end, everything, g.kind == RegionKind::file});
        bool plain = g.kind == RegionKind::anonymous && !everything && (g.prot & PROT_WRITE) && (g.prot & PROT_READ);
        if (plain && !capture_.scratch) capture_.scratch = g.end - kScratchBytes;
        if (g.kind == RegionKind::stack) capture_.scratch = g.end - kScratchBytes;
        capture_.image.regions.push_back(g);
        if (e.path == "[heap]") capture_.image.mm.brk = std::max(capture_.image.mm.brk, e.end);
        return {};
    }

private:
    int32_t index_of(const FileKey& key) {
        auto& files = capture_.image.files;
        auto same = std::ranges::find_if(files, [&](auto& f) { return f.same_content(key); });
        auto index = static_cast<int32_t>(same - files.begin());
        if (same == files.end()) files.push_back(key);
        return index;
    }

    void add_shared(const MapsEntry& e, Region& g) {
        g.file = index_of({.handle = 0, .device = 0, .inode = e.inode, .bytes = 0, .mtime_ns = 0, .ctime_ns = 0,
                           .cacheable = false});
        g.kind = RegionKind::shared_anonymous;
        g.file_offset = e.offset;
    }

    // Content that is no file's of home was a mapping of zeroes.
    void add_file(const MapsEntry& e, Region& g) {
        const FileKey* key = find_(e.id());
        if (!key) return;
        g.file = index_of(*key);
        g.kind = e.shared ? RegionKind::shared_file : RegionKind::file;
        g.file_offset = e.offset;
    }

    GuestCapture& capture_;
    const ContentFinder& find_;
    uint64_t vdso_;
};

Status read_rest(const ProcDir& process, HomePid pid, Image& image) {
    auto stat = process.read_text("stat");
    if (!stat) return std::unexpected(stat.error());
    auto mm = parse_stat(*stat);
    if (!mm) return std::unexpected(mm.error());
    image.mm = *mm;
    image.pid = pid;
    auto name = read_name(process);
    if (!name) return std::unexpected(name.error());
    image.name = std::move(*name);
    auto auxv = read_auxv(process);
    if (!auxv) return std::unexpected(auxv.error());
    image.auxv = std::move(*auxv);
    return {};
}

}  // namespace

bool is_shared_anonymous(const MapsEntry& e) { return e.shared && e.path.starts_with("/dev/zero"); }

bool is_shared_file(const MapsEntry& e) {
    return e.shared && e.path.starts_with("/memfd:") && e.path.substr(7).starts_with(kSharedFileName);
}

Result<GuestCapture> capture_guest(HomePid pid, HomeTid through, const ContentFinder& find) {
    GuestCapture capture;
    auto process = ProcDir::open(HomePid(through.value));
    if (!process) return std::unexpected(process.error());
    OMX_TRY(read_rest(*process, pid, capture.image));
    auto text = process->read_text("smaps");
    if (!text) return std::unexpected(text.error());
    auto maps = parse_smaps(*text);
    if (!maps) return std::unexpected(maps.error());
    Regions regions(capture, find, auxv_value(View(capture.image.auxv), AT_SYSINFO_EHDR));
    for (const auto& e : *maps) OMX_TRY(regions.add(e));
    return capture;
}

}  // namespace omx
