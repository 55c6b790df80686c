#include "loader/vdso_symbols.h"
#include <algorithm>
#include <elf.h>
#include <sys/auxv.h>

namespace omx {
namespace {

template <class T> std::optional<T> at(View object, uint64_t offset) {
    T value;
    if (offset > object.size() || sizeof value > object.size() - offset) return std::nullopt;
    std::memcpy(&value, object.data() + offset, sizeof value);
    return value;
}

std::string_view text_at(View object, uint64_t offset) {
    if (offset >= object.size()) return {};
    auto p = reinterpret_cast<const char*>(object.data()) + offset;
    return {p, ::strnlen(p, object.size() - offset)};
}

std::optional<Elf64_Phdr> segment(View object, uint32_t type) {
    auto header = at<Elf64_Ehdr>(object, 0);
    if (!header) return std::nullopt;
    for (uint64_t i = 0; i < header->e_phnum; i++) {
        auto p = at<Elf64_Phdr>(object, header->e_phoff + i * sizeof(Elf64_Phdr));
        if (p && p->p_type == type) return p;
    }
    return std::nullopt;
}

// The first loaded segment's address: what symbol values count from (0 in today's kernels).
uint64_t linked_at(View object) {
    auto load = segment(object, PT_LOAD);
    return load ? load->p_vaddr - load->p_offset : 0;
}

struct Tables { uint64_t symbols = 0, strings = 0, count = 0; };

// The number of symbols is only in the old hash table or, for the new one, the end of its last chain.
uint64_t count_by_gnu_hash(View object, uint64_t table) {
    uint32_t buckets = at<uint32_t>(object, table).value_or(0), first = at<uint32_t>(object, table + 4).value_or(0);
    uint64_t bucket_at = table + 16 + uint64_t{at<uint32_t>(object, table + 8).value_or(0)} * 8;
    uint64_t last = 0;
    for (uint64_t i = 0; i < buckets && i < 4096; i++)
        last = std::max<uint64_t>(last, at<uint32_t>(object, bucket_at + i * 4).value_or(0));
    if (last < first) return first;
    uint64_t chain_at = bucket_at + uint64_t{buckets} * 4;
    for (;; last++) {
        auto hash = at<uint32_t>(object, chain_at + (last - first) * 4);
        if (!hash || (*hash & 1)) return last + 1;
    }
}

Tables tables(View object) {
    Tables t;
    auto dynamic = segment(object, PT_DYNAMIC);
    if (!dynamic) return t;
    uint64_t base = linked_at(object);
    for (uint64_t offset = dynamic->p_offset;; offset += sizeof(Elf64_Dyn)) {
        auto d = at<Elf64_Dyn>(object, offset);
        if (!d || d->d_tag == DT_NULL) return t;
        uint64_t where = d->d_un.d_ptr - base;
        if (d->d_tag == DT_SYMTAB) t.symbols = where;
        if (d->d_tag == DT_STRTAB) t.strings = where;
        if (d->d_tag == DT_HASH) t.count = at<uint32_t>(object, where + 4).value_or(0);
        if (d->d_tag == DT_GNU_HASH && t.count == 0) t.count = count_by_gnu_hash(object, where);
    }
}

}  // namespace

std::optional<uint64_t> vdso_symbol(View object, std::string_view name) {
    Tables t = tables(object);
    for (uint64_t i = 0; i < t.count; i++) {
        auto symbol = at<Elf64_Sym>(object, t.symbols + i * sizeof(Elf64_Sym));
        if (!symbol) return std::nullopt;
        if (symbol->st_shndx == SHN_UNDEF || text_at(object, t.strings + symbol->st_name) != name) continue;
        uint64_t offset = symbol->st_value - linked_at(object);
        return offset < object.size() ? std::optional(offset) : std::nullopt;
    }
    return std::nullopt;
}

std::optional<uint64_t> vdso_version_at(View object) {
    auto notes = segment(object, PT_NOTE);
    if (!notes) return std::nullopt;
    auto padded = [](uint64_t n) { return (n + 3) & ~uint64_t{3}; };
    uint64_t end = notes->p_offset + notes->p_filesz;
    for (uint64_t offset = notes->p_offset; offset < end;) {
        auto note = at<Elf64_Nhdr>(object, offset);
        if (!note) return std::nullopt;
        uint64_t name_at = offset + sizeof *note, value_at = name_at + padded(note->n_namesz);
        if (note->n_type == 0 && note->n_descsz == 4 && text_at(object, name_at) == "Linux") return value_at;
        offset = value_at + padded(note->n_descsz);
    }
    return std::nullopt;
}

std::optional<uint64_t> system_call_in(View code) {
    constexpr std::byte instruction[] = {std::byte{0x0f}, std::byte{0x05}};
    auto at = std::ranges::search(code, instruction);
    if (at.empty()) return std::nullopt;
    return static_cast<uint64_t>(at.begin() - code.begin());
}

View own_vdso() {
    auto start = reinterpret_cast<const std::byte*>(::getauxval(AT_SYSINFO_EHDR));
    if (!start) return {};
    auto load = segment(View(start, 4096), PT_LOAD);        // the kernel maps whole pages
    return load ? View(start, load->p_offset + load->p_filesz) : View();
}

uint32_t kernel_version() {
    View object = own_vdso();
    auto offset = vdso_version_at(object);
    return offset ? at<uint32_t>(object, *offset).value_or(0) : 0;
}

}  // namespace omx
