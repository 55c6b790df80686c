// Lanes at home: connections beside the link, each for the calls of one process, opened because the node asked
// (docs/protocol.md). What comes over one goes the way of all calls; here is only how they begin, are found, and end.
//
// A lane may end while a call from it is under way: calls know it by number, and an answer to nobody is dropped.
#pragma once
#include <map>
#include <memory>

#include "protocol/link.h"
#include "protocol/types.h"

namespace omx {

struct Lane {
    Lane(HomePid p, UniqueFd socket, Loop& loop) : process(p), link(plain_channel(std::move(socket)), loop) {}
    HomePid process;
    Link link;
};

class Lanes {
public:
    static constexpr size_t kMost = 256;
    using Handler = std::function<void(uint64_t lane)>;
    // `door` leads into an embedded node; without one a lane is a further connection to the peer of `link`.
    Lanes(Loop&, const Link& link, UniqueFd door, Handler on_readable);
    ~Lanes() { drop_all(); }

    // Nothing happens if it can't be done.
    void open(const LaneAsk&);
    // Held by whoever works with it: it may be dropped meanwhile. Null: there is none of this number.
    std::shared_ptr<Lane> find(uint64_t number) const;
    void drop(uint64_t number);
    void drop_of(HomePid);
    void drop_all();
    uint64_t opened() const { return last_; }
    bool empty() const { return lanes_.empty(); }
    // Of all that are and were.
    LinkCounters counters() const;

private:
    using Place = std::map<uint64_t, std::shared_ptr<Lane>>::iterator;
    Result<UniqueFd> connect(const LaneAsk&);
    Place drop(Place);

    Loop& loop_;
    const Link& link_;
    UniqueFd door_;
    Handler on_readable_;
    uint64_t descriptors_;      // how many we may have
    uint64_t last_ = 0;         // numbers of our own: the node's may come twice
    std::map<uint64_t, std::shared_ptr<Lane>> lanes_;
    LinkCounters former_;
};

}  // namespace omx
