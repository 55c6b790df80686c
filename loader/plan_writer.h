// Writes a plan's file: operations with absolute pointers, their data, the runner's code (layout: stub/plan.h).
#pragma once
#include "loader/restore.h"
#include "loader/stub/plan.h"

namespace omx {

class PlanWriter {
public:
    // `address`: where the plan will be mapped in the stub.
    explicit PlanWriter(uint64_t address);

    // Puts bytes into the plan; the result is their absolute address, 64-byte aligned.
    uint64_t data(View);
    template <class T> requires std::is_trivially_copyable_v<T> uint64_t data(const T& v) {
        return data(std::as_bytes(std::span(&v, 1)));
    }
    void operation(omx_operation, std::string text);
    void call(std::string text, long number, std::array<uint64_t, 6> args, uint32_t flags = 0);
    void copy(std::string text, uint64_t to, View bytes);
    omx_plan_header& header() { return header_; }

    // The finished file. Fails when it grew beyond `most_bytes`, the room that was looked for.
    Result<Plan> finish(uint64_t most_bytes);

private:
    uint64_t align(uint64_t to);
    omx_plan_header header_{};
    Bytes file_;
    std::vector<omx_operation> operations_;
    std::vector<std::string> texts_;
};

// Room for everything of a plan but what data() and copy() put into it.
constexpr uint64_t kRunnerStackBytes = 16384;
uint64_t plan_overhead_bytes(size_t operations);

}  // namespace omx
