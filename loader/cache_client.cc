// The worker's side of the file cache.
#include "loader/cache_socket.h"
#include "loader/file_cache.h"
#include <sys/socket.h>

namespace omx {

namespace {

constexpr unsigned kStoringAtMost = 32;      // a worker that doesn't take its answers is dropped: there is room for these

Result<CacheAnswer> receive_answer(int socket, UniqueFd& file) {
    auto packet = receive_packet(socket, 0);
    if (!packet) return std::unexpected(packet.error());
    if (!*packet) return fail("the file cache's socket is not meant to be non-blocking");
    auto answer = CacheAnswer::decode((*packet)->data);
    if (answer && answer->outcome == CacheOutcome::content && !(*packet)->file)
        return fail("no descriptor left for a file of the cache");
    file = std::move((*packet)->file);
    return answer;
}

}  // namespace

CacheClient::CacheClient(UniqueFd socket) : socket_(std::move(socket)) {}

Result<UniqueFd> CacheClient::find(const FileKey& key) {
    if (!key.cacheable) return UniqueFd();
    UniqueFd file;
    for (; storing_ > 0; storing_--) OMX_TRY(receive_answer(socket_.get(), file));       // refused or not
    OMX_TRY(send_packet(socket_.get(), CacheRequest{CacheOperation::find, key}.encode(), -1, 0));
    auto answer = receive_answer(socket_.get(), file);
    if (!answer) return std::unexpected(answer.error());
    if (answer->outcome == CacheOutcome::refused) return fail(answer->reason);
    if (answer->outcome == CacheOutcome::none) return UniqueFd();
    return file;
}

Status CacheClient::begin_store(const FileKey& key, const UniqueFd& content) {
    UniqueFd answered;
    for (; storing_ >= kStoringAtMost; storing_--) OMX_TRY(receive_answer(socket_.get(), answered));
    OMX_TRY(send_packet(socket_.get(), CacheRequest{CacheOperation::store, key}.encode(), content.get(), 0));
    storing_++;
    return {};
}

Result<UniqueFd> CacheClient::finish_store() {
    UniqueFd file;
    auto answer = receive_answer(socket_.get(), file);
    if (!answer) return std::unexpected(answer.error());
    storing_--;
    if (answer->outcome == CacheOutcome::refused) return fail(answer->reason);
    if (answer->outcome == CacheOutcome::none) return fail("the file cache gave nothing back");
    return file;
}

}  // namespace omx
