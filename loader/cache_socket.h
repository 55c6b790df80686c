// The messages between workers and the node's file cache: one packet each way, at most one descriptor with it.
#pragma once
#include "protocol/frames.h"
#include "protocol/unique_fd.h"
#include <optional>

namespace omx {

enum class CacheOperation : uint8_t { find = 1, store = 2 };
enum class CacheOutcome : uint8_t { content = 1, none = 2, refused = 3 };

struct CacheRequest {
    CacheOperation operation = CacheOperation::find;
    FileKey key;
    Bytes encode() const;
    static Result<CacheRequest> decode(View);
};

struct CacheAnswer {
    CacheOutcome outcome = CacheOutcome::none;
    std::string reason;               // of a refusal
    Bytes encode() const;
    static Result<CacheAnswer> decode(View);
};

struct CachePacket {
    Bytes data;
    UniqueFd file;
    bool files_lost = false;          // more descriptors came than one, or this process has no room for more
};

// `flags`: MSG_DONTWAIT or 0. Neither raises SIGPIPE.
Status send_packet(int socket, const Bytes& data, int file, int flags);
// nullopt: nothing there (MSG_DONTWAIT only). End of stream is an error with code ECONNRESET.
Result<std::optional<CachePacket>> receive_packet(int socket, int flags);

}  // namespace omx
