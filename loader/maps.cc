// /proc/PID/maps, line by line.
#include "loader/capture.h"
#include "loader/proc_files.h"
#include "loader/text_scan.h"
#include <sys/mman.h>

namespace omx {
namespace {

// The kernel writes a newline in a path as \012 and nothing else escaped; the caller compares inodes, so that a path
// that really has these four characters is found out there.
std::string unescape(std::string_view s) {
    std::string out;
    for (size_t i = 0; i < s.size(); i++) {
        if (s.substr(i, 4) != "\\012") {
            out += s[i];
            continue;
        }
        out += '\n';
        i += 3;
    }
    return out;
}

// "r-xp"
bool parse_protection(std::string_view s, MapsEntry& e) {
    if (s.size() != 4) return false;
    constexpr std::string_view set = "rwx";
    constexpr uint32_t bit[] = {PROT_READ, PROT_WRITE, PROT_EXEC};
    e.prot = 0;
    for (size_t i = 0; i < 3; i++) {
        if (s[i] != set[i] && s[i] != '-') return false;
        if (s[i] == set[i]) e.prot |= bit[i];
    }
    e.shared = s[3] == 's';
    return s[3] == 's' || s[3] == 'p';
}

// 7f1c2000-7f1c3000 r-xp 00001000 fe:00 332383        /usr/lib/x.so
bool parse_line(std::string_view line, MapsEntry& e) {
    TextScan s(line);
    bool ok = s.hex(e.start) && s.skip('-') && s.hex(e.end) && s.skip(' ') && parse_protection(s.word(), e) &&
              s.skip(' ') && s.hex(e.offset) && s.skip(' ') && s.hex(e.dev_major) && s.skip(':') &&
              s.hex(e.dev_minor) && s.skip(' ') && s.decimal(e.inode);
    if (!ok || e.start >= e.end) return false;
    std::string_view rest = s.rest();
    size_t path_at = rest.find_first_not_of(' ');
    e.path = path_at == rest.npos ? std::string() : unescape(rest.substr(path_at));
    return true;
}

// "VmFlags: rd wr mr mw me dc"
uint32_t traits_of(std::string_view flags) {
    constexpr std::pair<std::string_view, uint32_t> names[] = {
        {"dc", trait::dont_fork}, {"wf", trait::wipe_on_fork}, {"hg", trait::huge_pages}, {"nh", trait::no_huge_pages},
        {"mg", trait::mergeable}, {"dd", trait::dont_dump}, {"lo", trait::locked}, {"lf", trait::locked_on_fault},
        {"gd", trait::grows_down}, {"nr", trait::no_reserve}, {"sr", trait::sequential}, {"rr", trait::random},
        {"sl", trait::sealed}};
    uint32_t traits = trait::never_written;
    for (TextScan s(flags); !s.rest().empty(); s.skip(' ')) {
        auto word = s.word();
        if (word == "mw") traits &= ~trait::never_written;
        for (auto [name, bit] : names)
            if (name == word) traits |= bit;
    }
    return traits;
}

}  // namespace

Result<std::vector<MapsEntry>> parse_smaps(std::string_view text) {
    constexpr std::string_view kFlags = "VmFlags:";
    std::vector<MapsEntry> entries;
    while (!text.empty()) {
        size_t end = text.find('\n');
        std::string_view line = text.substr(0, end);
        MapsEntry e{};
        if (parse_line(line, e)) entries.push_back(std::move(e));
        else if (entries.empty()) return fail(fmt::format("memory map: can't read the line \"{}\"", line));
        else if (line.starts_with(kFlags)) entries.back().traits = traits_of(line.substr(kFlags.size()));
        text.remove_prefix(end == text.npos ? text.size() : end + 1);
    }
    return entries;
}

Result<std::vector<MapsEntry>> parse_maps(std::string_view text) {
    std::vector<MapsEntry> entries;
    while (!text.empty()) {
        size_t end = text.find('\n');
        std::string_view line = text.substr(0, end);
        MapsEntry e{};
        if (!parse_line(line, e)) return fail(fmt::format("memory map: can't read the line \"{}\"", line));
        entries.push_back(std::move(e));
        if (end == text.npos) break;
        text.remove_prefix(end + 1);
    }
    return entries;
}

std::vector<MapsEntry> maps_of(HomeTid tid) {
    auto process = ProcDir::open(HomePid(tid.value));
    auto text = process ? process->read_text("maps") : std::unexpected(process.error());
    auto entries = text ? parse_maps(*text) : std::unexpected(text.error());
    return entries ? std::move(*entries) : std::vector<MapsEntry>();
}

}  // namespace omx
