#include "loader/proc_view.h"
#include "loader/text_scan.h"
#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <map>
#include <sys/mman.h>
#include <sys/sysmacros.h>

namespace omx {
namespace {

constexpr std::string_view kNames[] = {"maps", "smaps", "smaps_rollup", "numa_maps", "status", "stat", "statm",
                                       "cmdline", "environ", "wchan", "syscall", "mem", "pagemap", "clear_refs"};

std::string_view take_line(std::string_view& text) {
    auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    return line;
}

// ---- mappings ----

// A line of maps, and what smaps says about it.
struct Block {
    MapsEntry entry;
    std::string details;
};

// "7f12…-7f13… r-xp …" and not "Rss: …".
bool begins_block(std::string_view line) {
    auto first = line.substr(0, line.find_first_of("- :"));
    bool hex = first.size() >= 8 && first.find_first_not_of("0123456789abcdef") == first.npos;
    return hex && first.size() < line.size() && line[first.size()] == '-';
}

std::vector<Block> blocks_of(std::string_view text) {
    std::vector<Block> blocks;
    while (!text.empty()) {
        auto line = take_line(text);
        if (begins_block(line)) {
            if (auto entry = parse_maps(line); entry && entry->size() == 1) blocks.push_back({entry->front(), {}});
        } else if (!blocks.empty()) {
            blocks.back().details.append(line) += '\n';
        }
    }
    return blocks;
}

std::string escaped(std::string_view path) {
    std::string out;
    for (char c : path) {
        if (c == '\n') out += "\\012";
        else out += c;
    }
    return out;
}

// As the kernel writes it: names begin in one column.
void put_block(std::string& out, const Block& b) {
    constexpr size_t kNameColumn = 73;
    const auto& e = b.entry;
    auto line = fmt::format("{:08x}-{:08x} {}{}{}{} {:08x} {:02x}:{:02x} {} ", e.start, e.end,
                            e.prot & PROT_READ ? 'r' : '-', e.prot & PROT_WRITE ? 'w' : '-',
                            e.prot & PROT_EXEC ? 'x' : '-', e.shared ? 's' : 'p', e.offset, e.dev_major, e.dev_minor,
                            e.inode);
    if (!e.path.empty()) {
        line.resize(std::max(line.size(), kNameColumn), ' ');
        line += escaped(e.path);
    }
    out += line;
    out += '\n';
    out += b.details;
}

bool is_kernels(const MapsEntry& e) {
    return e.path == "[vvar]" || e.path == "[vvar_vclock]" || e.path == "[vdso]" || e.path == "[vsyscall]" ||
           e.path == "[uprobes]";
}

bool is_ours(const MapsEntry& e, const std::vector<AddressRange>& ours) {
    return std::ranges::any_of(ours, [&](auto& r) { return r.start <= e.start && e.end <= r.end; });
}

// The kernel joins neighbours that are alike: what is left of one when ours is cut off.
void cut(MapsEntry& e, const std::vector<AddressRange>& ours) {
    for (auto& r : ours) {
        if (r.start > e.start && r.start < e.end && r.end >= e.end) e.end = r.start;
        if (r.end > e.start && r.end < e.end && r.start <= e.start) e.start = r.end;
    }
}

bool is_memfd(const MapsEntry& e) { return e.path.starts_with("/memfd:omxsup"); }

std::string mappings_in_homes_terms(std::string_view text, const NodeView& view) {
    std::string out;
    for (auto& b : blocks_of(text)) {
        auto& e = b.entry;
        if (is_kernels(e) || is_ours(e, view.ours)) continue;
        cut(e, view.ours);
        if (is_memfd(e)) {
            auto key = view.file ? view.file(e.id()) : nullptr;
            e.path.clear();
            e.dev_major = e.dev_minor = 0, e.inode = 0;
            if (key) e.dev_major = major(key->device), e.dev_minor = minor(key->device), e.inode = key->inode;
            else e.offset = 0;                       // of /dev/zero: as good as anonymous
        }
        put_block(out, b);
    }
    return out;
}

std::string mappings_at_home(std::string_view node, const HomeView& view) {
    auto blocks = blocks_of(node), own = blocks_of(view.text);
    for (auto& b : blocks) {
        auto& e = b.entry;
        bool unnamed = e.inode && e.path.empty() && view.path_of;
        if (unnamed) e.path = view.path_of(makedev(e.dev_major, e.dev_minor), e.inode);
    }
    for (auto& b : own)
        if (is_kernels(b.entry)) blocks.push_back(b);
    std::ranges::stable_sort(blocks, {}, [](const Block& b) { return b.entry.start; });
    std::string out;
    for (auto& b : blocks) put_block(out, b);
    return out;
}

// ---- sums ----

// What mappings of ours add to a process's sizes, in bytes, counted as the kernel does.
struct Sizes { uint64_t all = 0, code = 0, data = 0; };

Sizes sizes_of_ours(std::string_view maps, const NodeView& view) {
    Sizes s;
    for (auto& b : blocks_of(maps)) {
        const auto& e = b.entry;
        if (!is_ours(e, view.ours)) continue;
        uint64_t bytes = e.end - e.start;
        s.all += bytes;
        if ((e.prot & (PROT_EXEC | PROT_WRITE)) == PROT_EXEC) s.code += bytes;
        if ((e.prot & PROT_WRITE) && !e.shared) s.data += bytes;
    }
    return s;
}

uint64_t number(std::string_view word) {
    uint64_t n = 0;
    TextScan(word).decimal(n);
    return n;
}

std::vector<std::string> words_of(std::string_view line) {
    std::vector<std::string> words;
    for (size_t at = 0; at <= line.size();) {
        auto end = std::min(line.find(' ', at), line.size());
        words.emplace_back(line.substr(at, end - at));
        at = end + 1;
    }
    return words;
}

std::string joined(const std::vector<std::string>& words) { return fmt::format("{}", fmt::join(words, " ")); }

std::string less(std::string_view word, uint64_t n) {
    auto value = number(word);
    return fmt::format("{}", value - std::min(value, n));
}

std::string more(std::string_view word, uint64_t n) { return fmt::format("{}", number(word) + n); }

// ---- status ----

enum class Rule : uint8_t { home, node, both_masks, sum, state, tracer };
struct StatusRule { std::string_view key; Rule rule; };

// Every line that is not home's alone.
constexpr StatusRule kStatus[] = {
    {"State", Rule::state},    {"TracerPid", Rule::tracer}, {"VmPeak", Rule::node},    {"VmSize", Rule::node},
    {"VmLck", Rule::node},     {"VmPin", Rule::node},       {"VmHWM", Rule::node},     {"VmRSS", Rule::node},
    {"RssAnon", Rule::node},   {"RssFile", Rule::node},     {"RssShmem", Rule::node},  {"VmData", Rule::node},
    {"VmStk", Rule::node},     {"VmExe", Rule::node},       {"VmLib", Rule::node},     {"VmPTE", Rule::node},
    {"VmSwap", Rule::node},    {"HugetlbPages", Rule::node}, {"SigPnd", Rule::both_masks}, {"ShdPnd", Rule::both_masks},
    {"SigBlk", Rule::node},    {"SigIgn", Rule::node},      {"SigCgt", Rule::node},
    {"voluntary_ctxt_switches", Rule::sum}, {"nonvoluntary_ctxt_switches", Rule::sum},
};

std::string_view key_of_line(std::string_view line) { return line.substr(0, line.find(':')); }
std::string_view value_of_line(std::string_view line) {
    auto at = line.find(":\t");
    return at == line.npos ? std::string_view() : line.substr(at + 2);
}

using Lines = std::map<std::string_view, std::string_view>;
Lines lines_of(std::string_view text) {
    Lines lines;
    while (!text.empty()) {
        auto line = take_line(text);
        lines.emplace(key_of_line(line), line);
    }
    return lines;
}

std::string_view words_for_state(char letter) {
    switch (letter) {
        case 'R': return "R (running)";
        case 'S': return "S (sleeping)";
        case 'D': return "D (disk sleep)";
        case 'T': return "T (stopped)";
        case 'Z': return "Z (zombie)";
        case 'I': return "I (idle)";
        default: return "X (dead)";
    }
}

// A deputy waits for calls, a guest in a forwarded call for its worker: neither is what the process does. And what
// looks like a tracer's doing is ours.
char state_at_home(char home, char node, const HomeView& view) {
    if (home == 'Z' || home == 'X') return home;
    if (view.stopped) return 'T';
    if (view.self) return 'R';
    if (view.in_call || !node) return home == 't' ? 'S' : home;
    return node == 't' ? 'R' : node;
}

char state_in(std::string_view line) {
    auto value = value_of_line(line);
    return value.empty() ? '\0' : value.front();
}

uint64_t mask_in(std::string_view line) {
    uint64_t mask = 0;
    TextScan(value_of_line(line)).hex(mask);
    return mask;
}

std::string status_line(Rule rule, std::string_view home, std::string_view node, const HomeView& view) {
    auto key = key_of_line(home);
    switch (rule) {
        case Rule::home: break;
        case Rule::node:
            if (!node.empty()) return std::string(node);
            break;
        case Rule::both_masks: return fmt::format("{}:\t{:016x}", key, mask_in(home) | mask_in(node));
        case Rule::sum: return fmt::format("{}:\t{}", key, number(value_of_line(home)) + number(value_of_line(node)));
        case Rule::state:
            return fmt::format("{}:\t{}", key, words_for_state(state_at_home(state_in(home), state_in(node), view)));
        case Rule::tracer:
            if (number(value_of_line(home)) != static_cast<uint64_t>(view.supervisor)) break;
            return fmt::format("{}:\t0", key);
    }
    return std::string(home);
}

std::string status_at_home(std::string_view node, const HomeView& view) {
    auto nodes = lines_of(node);
    std::string out;
    for (auto text = view.text; !text.empty();) {
        auto line = take_line(text);
        auto rule = std::ranges::find(kStatus, key_of_line(line), &StatusRule::key);
        auto theirs = nodes.find(key_of_line(line));
        out += status_line(rule == std::end(kStatus) ? Rule::home : rule->rule, line,
                           theirs == nodes.end() ? std::string_view() : theirs->second, view);
        out += '\n';
    }
    return out;
}

std::string status_in_homes_terms(std::string_view text, const Sizes& ours) {
    std::string out;
    while (!text.empty()) {
        auto line = take_line(text);
        auto key = key_of_line(line);
        uint64_t bytes = key == "VmSize" || key == "VmPeak" ? ours.all : key == "VmData" ? ours.data
                         : key == "VmLib"                     ? ours.code
                                                              : 0;
        if (bytes) {
            auto value = value_of_line(line);
            value.remove_prefix(std::min(value.find_first_not_of(' '), value.size()));
            out += fmt::format("{}:\t{:>8} kB\n", key, less(value, bytes / 1024));
        } else {
            out += line;
            out += '\n';
        }
    }
    return out;
}

// ---- stat ----

// Numbers as in proc_pid_stat(5), from the third field on: the second may hold anything.
class StatFields {
public:
    explicit StatFields(std::string_view text) {
        while (text.ends_with('\n')) text.remove_suffix(1);
        auto end = text.rfind(')');
        if (end == text.npos || end + 2 > text.size()) return;
        head_ = text.substr(0, end + 2);
        words_ = words_of(text.substr(end + 2));
    }
    bool ok() const { return words_.size() >= 50; }
    std::string& field(size_t n) { return words_.at(n - 3); }
    std::string text() const { return fmt::format("{}{}\n", head_, joined(words_)); }

private:
    std::string_view head_;
    std::vector<std::string> words_;
};

std::string stat_in_homes_terms(std::string_view text, const Sizes& ours, const NodeView& view) {
    StatFields s(text);
    if (!s.ok()) return {};
    s.field(14) = fmt::format("{}", view.user), s.field(15) = fmt::format("{}", view.system);
    s.field(16) = fmt::format("{}", view.childrens_user), s.field(17) = fmt::format("{}", view.childrens_system);
    s.field(23) = less(s.field(23), ours.all);
    return s.text();
}

std::string stat_at_home(std::string_view node, const HomeView& view) {
    StatFields home(view.text), theirs(node);
    if (!home.ok()) return std::string(view.text);
    bool known = theirs.ok();
    auto letter = [](const std::string& word) { return word.empty() ? '\0' : word.front(); };
    char state = state_at_home(letter(home.field(3)), known ? letter(theirs.field(3)) : '\0', view);
    home.field(3) = state;
    if (state == 'R') home.field(35) = "0";                       // waits for nothing
    if (!known) return home.text();
    for (size_t n : {10, 12, 14, 15, 16, 17}) home.field(n) = more(home.field(n), number(theirs.field(n)));
    for (size_t n : {23, 24, 32, 33, 34}) home.field(n) = theirs.field(n);
    home.field(31) = fmt::format("{}", number(home.field(31)) | number(theirs.field(31)));
    return home.text();
}

// ---- the rest ----

std::string statm_in_homes_terms(std::string_view text, const Sizes& ours) {
    constexpr uint64_t kPage = 4096;
    while (text.ends_with('\n')) text.remove_suffix(1);
    auto words = words_of(text);
    if (words.size() != 7) return {};
    words[0] = less(words[0], ours.all / kPage), words[5] = less(words[5], ours.data / kPage);
    return joined(words) + '\n';
}

// Its first line covers all mappings.
std::string rollup_in_homes_terms(std::string_view text, std::string_view maps, const NodeView& view) {
    auto blocks = blocks_of(text);
    if (blocks.empty()) return {};
    auto& all = blocks.front();
    bool any = false;
    for (auto& b : blocks_of(maps)) {
        if (is_kernels(b.entry) || is_ours(b.entry, view.ours)) continue;
        if (!std::exchange(any, true)) all.entry.start = b.entry.start;
        all.entry.end = b.entry.end;
    }
    std::string out;
    put_block(out, all);
    return out;
}

std::string rollup_at_home(std::string_view node, const HomeView& view) {
    auto blocks = blocks_of(node), own = blocks_of(view.text);
    if (blocks.empty()) return std::string(view.text);
    // The kernel's own mappings are all that a deputy has at the top.
    if (!own.empty()) blocks.front().entry.end = std::max(blocks.front().entry.end, own.front().entry.end);
    std::string out;
    put_block(out, blocks.front());
    return out;
}

// A line a mapping; "file=" is all that it says of its file, so the line of maps tells which it is.
std::string numa_in_homes_terms(std::string_view text, std::string_view maps, const NodeView& view) {
    auto blocks = blocks_of(maps);
    std::string out;
    while (!text.empty()) {
        auto line = take_line(text);
        uint64_t start = 0;
        TextScan(line).hex(start);
        auto b = std::ranges::find(blocks, start, [](const Block& block) { return block.entry.start; });
        if (b == blocks.end() || is_kernels(b->entry) || is_ours(b->entry, view.ours)) continue;
        auto words = words_of(line);
        auto key = is_memfd(b->entry) && view.file ? view.file(b->entry.id()) : nullptr;
        for (auto& word : words)
            if (word.starts_with("file=")) word = key ? fmt::format("file={}:{}", key->device, key->inode) : "";
        std::erase(words, "");
        out += joined(words) + '\n';
    }
    return out;
}

std::string numa_at_home(std::string_view node, const HomeView& view) {
    std::string out;
    while (!node.empty()) {
        auto words = words_of(take_line(node));
        for (auto& word : words) {
            uint64_t device = 0, inode = 0;
            if (!word.starts_with("file=")) continue;
            TextScan s(std::string_view(word).substr(5));
            if (!s.decimal(device) || !s.skip(':') || !s.decimal(inode) || !view.path_of) continue;
            auto path = view.path_of(device, inode);
            word = "file=";
            for (char c : path) word += c == ' ' ? "\\040" : c == '\n' ? "\\012" : std::string(1, c);
        }
        out += joined(words) + '\n';
    }
    return out;
}

std::string wchan_at_home(std::optional<std::string_view> node, const HomeView& view) {
    if (view.self) return "0";
    return std::string(view.in_call || !node ? view.text : *node);
}

std::string syscall_at_home(std::string_view node, const HomeView& view) {
    if (view.call.empty()) return std::string(node);
    while (node.ends_with('\n')) node.remove_suffix(1);
    auto words = words_of(node);
    size_t n = words.size();
    auto place = n >= 3 ? words[n - 2] + ' ' + words[n - 1] : "0x0 0x0";
    return fmt::format("{} {}\n", view.call, place);
}

}  // namespace

std::string_view name(ProcFile file) { return kNames[static_cast<size_t>(file)]; }

std::optional<ProcFile> proc_file(uint8_t number) {
    return number < std::size(kNames) ? std::optional(static_cast<ProcFile>(number)) : std::nullopt;
}

std::optional<ProcFile> proc_file(std::string_view wanted) {
    auto found = std::ranges::find(kNames, wanted);
    if (found == std::end(kNames)) return std::nullopt;
    return static_cast<ProcFile>(found - std::begin(kNames));
}

bool is_text(ProcFile file) { return file < ProcFile::mem; }

std::optional<ProcPath> parse_proc_path(std::string_view path) {
    auto last = [&] {
        auto at = path.rfind('/');
        auto word = path.substr(at == path.npos ? 0 : at + 1);
        path = path.substr(0, at == path.npos ? 0 : at);
        return word;
    };
    auto as_task = [](std::string_view word) {
        int32_t n = 0;
        TextScan s(word);
        return s.decimal(n) && s.rest().empty() && n > 0 ? n : 0;
    };
    auto file = proc_file(last());
    auto task = as_task(last());
    if (!file || !task) return std::nullopt;
    bool of_thread = last() == "task" && as_task(last()) > 0;
    return ProcPath{HomeTid(task), of_thread, *file};
}

std::string in_homes_terms(ProcFile file, std::string_view text, std::string_view maps, const NodeView& view) {
    switch (file) {
        case ProcFile::maps: case ProcFile::smaps: return mappings_in_homes_terms(text, view);
        case ProcFile::smaps_rollup: return rollup_in_homes_terms(text, maps, view);
        case ProcFile::numa_maps: return numa_in_homes_terms(text, maps, view);
        case ProcFile::status: return status_in_homes_terms(text, sizes_of_ours(maps, view));
        case ProcFile::stat: return stat_in_homes_terms(text, sizes_of_ours(maps, view), view);
        case ProcFile::statm: return statm_in_homes_terms(text, sizes_of_ours(maps, view));
        default: return std::string(text);
    }
}

std::string as_at_home(ProcFile file, std::optional<std::string_view> node, const HomeView& view) {
    switch (file) {
        case ProcFile::status: return status_at_home(node.value_or(""), view);
        case ProcFile::stat: return stat_at_home(node.value_or(""), view);
        case ProcFile::wchan: return wchan_at_home(node, view);
        default: break;
    }
    if (!node) return std::string(view.text);
    switch (file) {
        case ProcFile::maps: case ProcFile::smaps: return mappings_at_home(*node, view);
        case ProcFile::smaps_rollup: return rollup_at_home(*node, view);
        case ProcFile::numa_maps: return numa_at_home(*node, view);
        case ProcFile::syscall: return syscall_at_home(*node, view);
        default: return std::string(*node);
    }
}

}  // namespace omx
