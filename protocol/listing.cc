#include "protocol/listing.h"
#include "protocol/table.h"
#include <algorithm>
#include <fmt/format.h>
#include <iterator>
#include <map>

namespace omx {

namespace {

// What a row does for most arguments, where its place alone does not tell.
std::string place_text(const Row& row) {
    std::string text(name(row.place));
    if (!row.local_when.empty() || row.judge || row.subtable) text += " (by its arguments)";
    return text;
}

std::string joined_names(const Subtable& sub, Place place) {
    std::string text;
    for (const Variant& v : sub.variants) {
        if (v.place != place || text.ends_with(v.name)) continue;
        text += (text.empty() ? "" : ", ") + std::string(v.name);
    }
    return text;
}

std::string quoted(std::string_view s) {
    std::string text = "\"";
    for (char c : s) {
        if (c == '"' || c == '\\') text += '\\';
        text += c;
    }
    return text + '"';
}

constexpr Place places[] = {Place::forward, Place::both, Place::local, Place::memory_of, Place::home};

std::string variant_json(const Variant& v) {
    return fmt::format(R"({{"name": {}, "place": {}, "why": {}}})", quoted(v.name), quoted(name(v.place)),
                       quoted(v.why));
}

std::string row_json(const Row& row) {
    constexpr auto form = R"({{"number": {}, "name": {}, "place": {}, "by_arguments": {}, "may_block": {}, "why": {})";
    std::string text = fmt::format(form, row.number, quoted(row.name), quoted(name(row.place)),
                                   !row.local_when.empty() || row.judge || row.subtable, row.blocks, quoted(row.why));
    if (row.subtable) {
        text += R"(, "commands": [)";
        for (const Variant& v : row.subtable->variants)
            text += (&v == &row.subtable->variants.front() ? "" : ", ") + variant_json(v);
        text += fmt::format(R"(], "other_commands": {})", quoted(name(row.subtable->other.place)));
    }
    return text + "}";
}

std::string markdown_rows() {
    std::string text = "| number | call | place | waits | why |\n|---:|---|---|---|---|\n";
    for (const Row& row : rows())
        fmt::format_to(std::back_inserter(text), "| {} | {} | {} | {} | {} |\n", row.number, row.name, place_text(row),
                       row.blocks ? "yes" : "", row.why);
    return text;
}

std::string markdown_commands(const Row& row) {
    const Subtable& sub = *row.subtable;
    std::string text = fmt::format("### {}\n\n", row.name);
    for (Place place : places) {
        std::string names = joined_names(sub, place);
        if (!names.empty()) fmt::format_to(std::back_inserter(text), "- {}: {}\n", name(place), names);
    }
    fmt::format_to(std::back_inserter(text), "- any other: {}{}{}\n\n", name(sub.other.place),
                   sub.other.why.empty() ? "" : ", ", sub.other.why);
    return text;
}

std::string counts() {
    std::map<Place, int> count;
    for (const Row& row : rows()) ++count[row.place];
    std::string text;
    for (auto [place, n] : count) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", n, name(place));
    return fmt::format("{} calls: {}", rows().size(), text);
}

}  // namespace

std::string syscalls_text() {
    std::string text;
    for (const Row& row : rows()) {
        std::string line = fmt::format("{:>3}  {:<24} {:<10}{} {}", row.number, row.name, name(row.place),
                                       !row.local_when.empty() || row.judge || row.subtable ? '*' : ' ', row.why);
        text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
    }
    return text + fmt::format("\n{}. A star: by its arguments.\n", counts());
}

std::string syscalls_json() {
    std::string text = "[\n";
    for (const Row& row : rows()) text += "  " + row_json(row) + (&row == &rows().back() ? "\n" : ",\n");
    return text + "]\n";
}

std::string syscalls_markdown() {
    std::string text = "# Where each system call runs\n\n"
        "This page is printed by `omxsup syscalls --markdown`; don't edit it. How to change it: adding-a-call.md.\n\n"
        "Places: *forward*: the deputy at home runs it. *local*: the node's kernel runs it, without a trap.\n"
        "*both*: home first, then the node too. *life*: both halves act together. *memory of*: it acts on the\n"
        "memory of another process, and *home*: it can run only at home; for both a guest is ended with\n"
        "\"not yet\" until guests can come home. A call that is not in this list is home's, too.\n\n";
    text += counts() + ".\n\n" + markdown_rows() + "\n## Calls with commands\n\n";
    for (const Row& row : rows())
        if (row.subtable && !row.subtable->title.empty()) text += markdown_commands(row);
    text.pop_back();
    return text;
}

}  // namespace omx
