#include "supervisor/stats.h"

#include <fmt/format.h>

#include "protocol/table.h"

namespace omx {

std::string json_string(std::string_view s) {
    std::string out = "\"";
    for (unsigned char c : s) {
        if (c == '"' || c == '\\')
            out += '\\', out += static_cast<char>(c);
        else if (c < 0x20 || c == 0x7f)
            out += fmt::format("\\u{:04x}", c);
        else
            out += static_cast<char>(c);
    }
    return out + '"';
}

namespace {
template <class Items, class Each>
std::string joined(const Items& items, Each each) {
    std::string out;
    for (auto& i : items) out += (out.empty() ? "\n    " : ",\n    ") + each(i);
    return out;
}

std::string call_json(uint32_t nr, const CallStats& c) {
    return fmt::format(
        R"({}: {{"count": {}, "forwarded": {}, "served_on_node": {}, "told": {}, )"
        R"("bytes_to_home": {}, "bytes_to_node": {}, "home_us": {}}})",
        json_string(call_name(nr)), c.count, c.forwarded, c.served_on_node, c.told, c.bytes_out, c.bytes_in, c.home_us);
}
std::string process_json(const ProcessStats& p) {
    return fmt::format(
        R"({{"pid": {}, "program": {}, "where": {}, "reason": {}, )"
        R"("wall_us": {}, "user_us": {}, "system_us": {}, "max_rss_kib": {}}})",
        p.pid, json_string(p.program), json_string(p.where), json_string(p.reason), p.wall_us, p.user_us, p.system_us,
        p.max_rss_kib);
}
std::string count_json(const std::pair<const std::string, uint64_t>& n) {
    return fmt::format("{}: {}", json_string(n.first), n.second);
}
}  // namespace

std::string JobStats::json(const LinkCounters& link) const {
    return fmt::format(
        "{{\n  \"node\": {}, \"where_defaulted\": {},\n"
        "  \"round_trips\": {}, \"execs\": {}, \"run_by_supervisor\": {}, \"run_inline\": {}, \"run_async\": {}, "
        "\"lanes\": {}, \"calls_over_lanes\": {},\n"
        "  \"files_fetched\": {}, \"file_reads\": {}, \"file_bytes_fetched\": {},\n"
        "  \"link\": {{\"bytes_to_node\": {}, \"bytes_to_home\": {}, \"frames_to_node\": {}, \"frames_to_home\": {}, "
        "\"sends\": {}, \"receives\": {}}},\n"
        "  \"calls\": {{{}}},\n  \"not_yet\": {{{}}},\n  \"came_home\": {{{}}},\n  \"processes\": [{}]\n}}\n",
        json_string(node), where_defaulted, round_trips, execs, run_by_supervisor, run_inline, run_async, lanes,
        calls_over_lanes, files_fetched, file_reads, file_bytes_fetched, link.bytes_out, link.bytes_in,
        link.frames_out, link.frames_in, link.sends, link.receives,
        joined(calls, [](auto& c) { return call_json(c.first, c.second); }),
        joined(not_yet, count_json), joined(came_home, count_json),
        joined(processes, process_json));
}

}  // namespace omx
