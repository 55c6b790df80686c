#include "protocol/table.h"
#include "protocol/table_files.h"
#include "protocol/table_memory.h"
#include "protocol/table_network.h"
#include "protocol/table_process.h"
#include "protocol/table_system.h"
#include <algorithm>

namespace omx {

namespace {

constexpr size_t kRows = std::size(words::file_rows) + std::size(words::memory_rows) + std::size(words::process_rows)
                         + std::size(words::network_rows) + std::size(words::system_rows);
constexpr size_t kNumbers = 471;

constexpr uint16_t kNoRow = UINT16_MAX;

// The files of rows go by subject; here they become one table, ascending by number.
constexpr std::array<Row, kRows> by_subject = [] {
    std::array<Row, kRows> all;
    auto at = all.begin();
    using Part = std::span<const Row>;
    for (Part part : {Part(words::file_rows), Part(words::memory_rows), Part(words::process_rows),
                      Part(words::network_rows), Part(words::system_rows)})
        at = std::ranges::copy(part, at).out;
    return all;
}();

constexpr std::array<uint16_t, kNumbers> positions_of(const std::array<Row, kRows>& rows) {
    std::array<uint16_t, kNumbers> p;
    p.fill(kNoRow);
    for (size_t i = 0; i < rows.size(); ++i) p[rows[i].number] = static_cast<uint16_t>(i);
    return p;
}

constexpr std::array<Row, kRows> table = [] {
    std::array<Row, kRows> sorted;
    size_t n = 0;
    for (uint16_t at : positions_of(by_subject)) if (at != kNoRow) sorted[n++] = by_subject[at];
    return sorted;
}();
constexpr std::array<uint16_t, kNumbers> positions = positions_of(table);
static_assert(table.back().number == kNumbers - 1, "two rows have one number");

// A row without a reason leaves a person who meets "not yet" alone.
static_assert(std::ranges::all_of(table, [](const Row& r) {
    return r.place == Place::forward || r.place == Place::local || !r.why.empty();
}), "a row that is neither forward nor local says why");

constexpr Placement kUnknown{Place::home, "omxsup does not know this call"};

}  // namespace

std::string_view name(Place p) {
    constexpr std::string_view names[] = {"local", "forward", "tell", "cached", "both", "life", "memory of", "home",
                                          "deny"};
    return names[static_cast<size_t>(p)];
}

std::span<const Row> rows() { return table; }

const Row* find_row(uint32_t nr) {
    if (nr >= kNumbers || positions[nr] == kNoRow) return nullptr;
    return &table[positions[nr]];
}

std::string_view call_name(uint32_t nr) {
    const Row* row = find_row(nr);
    return row ? row->name : std::string_view{};
}

Form form_of(const Row& row, const CallArgs& args) {
    if (!row.subtable) return {&row, nullptr};
    const Subtable& sub = *row.subtable;
    uint64_t selector = sub.selector(args);
    auto at = std::ranges::lower_bound(sub.variants, selector, {}, &Variant::selector);
    if (at != sub.variants.end() && at->selector == selector) return {&row, &*at};
    return {&row, selector >= sub.nonsense_from ? &sub.nonsense : &sub.other};
}

Placement place_of(uint32_t nr, const CallArgs& args) {
    const Row* row = find_row(nr);
    if (!row) return kUnknown;
    if (row->judge) return row->judge(args);
    Form form = form_of(*row, args);
    if (form.variant) return {form.variant->place, form.variant->why};
    return {row->place, row->why};
}

bool may_block(uint32_t nr, const CallArgs& args) {
    const Row* row = find_row(nr);
    if (!row) return false;
    Form form = form_of(*row, args);
    return form.variant ? form.variant->blocks : row->blocks;
}

bool untrapped(const Row& row) { return row.place == Place::local && !row.noted && row.local_when.empty(); }

bool traced_by_ptrace(const Row& row) {
    switch (row.number) {
    case 15: case 56: case 57: case 58: case 59: case 322: case 435: return true;
    default: return false;
    }
}

}  // namespace omx
