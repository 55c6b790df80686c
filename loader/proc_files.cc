#include "loader/proc_files.h"
#include "loader/text_scan.h"
#include <algorithm>
#include <elf.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/resource.h>

namespace omx {

Result<ProcDir> ProcDir::open(HomePid pid) {
    ProcDir d;
    d.path_ = fmt::format("/proc/{}", pid.value);
    d.dir_.reset(::open(d.path_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!d.dir_) return fail_errno(d.path_);
    return d;
}

Result<UniqueFd> ProcDir::open_file(const char* name, int flags) const {
    UniqueFd fd(::openat(dir_.get(), name, flags | O_CLOEXEC));
    if (fd) return fd;
    // The kernel shows these files to nobody but root where the program's own file isn't readable either.
    std::string_view why = errno == EACCES ? " (is the program one that may be executed but not read?)" : "";
    return fail_errno(fmt::format("{}/{}{}", path_, name, why));
}

// Files of /proc say size 0, so read until the end; maps gives whole lines up to a page a time.
Result<std::string> ProcDir::read_text(const char* name) const {
    auto fd = open_file(name, O_RDONLY);
    if (!fd) return std::unexpected(fd.error());
    std::string text;
    for (size_t used = 0;;) {
        text.resize(used + 16384);
        ssize_t n = ::read(fd->get(), text.data() + used, text.size() - used);
        if (n < 0) return fail_errno(fmt::format("{}/{}", path_, name));
        used += static_cast<size_t>(n);
        text.resize(used);
        if (n == 0) return text;
    }
}

Result<Bytes> read_auxv(const ProcDir& process) {
    auto text = process.read_text("auxv");
    if (!text) return std::unexpected(text.error());
    Elf64_auxv_t entry;
    for (size_t at = 0; at + sizeof entry <= text->size(); at += sizeof entry) {
        std::memcpy(&entry, text->data() + at, sizeof entry);
        if (entry.a_type != AT_NULL) continue;
        auto bytes = std::as_bytes(std::span(*text)).first(at + sizeof entry);
        return Bytes(bytes.begin(), bytes.end());
    }
    return fail("auxv: no end");
}

uint64_t auxv_value(View auxv, uint64_t type) {
    Reader r(auxv);
    while (r.left() >= sizeof(Elf64_auxv_t)) {
        auto entry = r.get<Elf64_auxv_t>();
        if (entry.a_type == type) return entry.a_un.a_val;
    }
    return 0;
}

Result<std::string> read_name(const ProcDir& process) {
    auto name = process.read_text("comm");
    if (name && name->ends_with('\n')) name->pop_back();
    if (name) name->resize(std::min<size_t>(name->size(), 15));
    return name;
}

Result<MmFields> parse_stat(std::string_view text) {
    // The second field is the name in parentheses and may hold anything; the last ')' ends it.
    size_t name_end = text.rfind(')');
    if (name_end == text.npos) return fail("process status: no name");
    TextScan s(text.substr(name_end + 1));
    MmFields m;
    struct { int field; uint64_t* to; } const wanted[] = {      // numbers as in proc_pid_stat(5)
        {26, &m.start_code}, {27, &m.end_code}, {28, &m.start_stack}, {45, &m.start_data}, {46, &m.end_data},
        {47, &m.start_brk}, {48, &m.arg_start}, {49, &m.arg_end}, {50, &m.env_start}, {51, &m.env_end}};
    int field = 2;
    for (const auto& want : wanted) {
        std::string_view word;
        while (field < want.field && s.skip(' ')) {
            word = s.word();
            field++;
        }
        if (field != want.field || !TextScan(word).decimal(*want.to))
            return fail(fmt::format("process status: field {} is missing", want.field));
    }
    m.brk = m.start_brk;
    return m;
}

Result<StatusFields> parse_status(std::string_view text) {
    StatusFields f;
    bool have_ignored = false, have_threads = false;
    while (!text.empty()) {
        std::string_view line = text.substr(0, text.find('\n'));
        text.remove_prefix(std::min(text.size(), line.size() + 1));
        auto value = [&](std::string_view key) {
            return line.starts_with(key) ? TextScan(line.substr(key.size())) : TextScan("");
        };
        if (auto s = value("SigIgn:\t"); s.hex(f.ignored)) have_ignored = true;
        if (auto s = value("Threads:\t"); s.decimal(f.threads)) have_threads = true;
    }
    if (!have_ignored || !have_threads) return fail("process status: SigIgn or Threads is missing");
    return f;
}

Status parse_limit(std::string_view text, std::string_view name, uint64_t& soft, uint64_t& hard) {
    auto at = text.find(name);
    if (at == text.npos) return fail(fmt::format("limits: no line begins with {}", name));
    TextScan line(text.substr(at + name.size(), text.substr(at).find('\n') - name.size()));
    for (uint64_t* value : {&soft, &hard}) {
        while (line.skip(' ')) {}
        if (line.rest().starts_with("unlimited")) {
            *value = RLIM64_INFINITY;
            line.word();
        } else if (!line.decimal(*value)) {
            return fail(fmt::format("limits: {} is no number", name));
        }
    }
    return {};
}

Result<uint64_t> lockable_bytes(const ProcDir& process) {
    auto status = process.read_text("status"), limits = process.read_text("limits"), ids = process.read_text("uid_map");
    for (auto text : {&status, &limits, &ids})
        if (!*text) return std::unexpected(text->error());
    constexpr std::string_view key = "\nCapEff:\t";
    uint64_t capabilities = 0, soft = 0, hard = 0;
    auto at = status->find(key);
    if (at == std::string::npos || !TextScan(std::string_view(*status).substr(at + key.size())).hex(capabilities))
        return fail("process status: CapEff is missing");
    OMX_TRY(parse_limit(*limits, "Max locked memory", soft, hard));
    bool first_namespace = ids->find("4294967295") != std::string::npos;      // elsewhere the capability doesn't count
    return first_namespace && (capabilities >> CAP_IPC_LOCK & 1) ? RLIM64_INFINITY : soft;
}

}  // namespace omx
