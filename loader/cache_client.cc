// The worker's side of the file cache.
#include "loader/cache_socket.h"
#include "loader/file_cache.h"
#include <sys/socket.h>

namespace omx {

namespace {

Result<UniqueFd> ask(int socket, const CacheRequest& request, int file) {
    OMX_TRY(send_packet(socket, request.encode(), file, 0));
    auto packet = receive_packet(socket, 0);
    if (!packet) return std::unexpected(packet.error());
    if (!*packet) return fail("the file cache's socket is not meant to be non-blocking");
    auto answer = CacheAnswer::decode((*packet)->data);
    if (!answer) return std::unexpected(answer.error());
    if (answer->outcome == CacheOutcome::refused) return fail(answer->reason);
    if (answer->outcome == CacheOutcome::none) return UniqueFd();
    if (!(*packet)->file) return fail("no descriptor left for a file of the cache");
    return std::move((*packet)->file);
}

}  // namespace

CacheClient::CacheClient(UniqueFd socket) : socket_(std::move(socket)) {}

Result<UniqueFd> CacheClient::find(const FileKey& key) {
    if (!key.cacheable) return UniqueFd();
    return ask(socket_.get(), {CacheOperation::find, key}, -1);
}

Result<UniqueFd> CacheClient::store(const FileKey& key, UniqueFd content) {
    auto file = ask(socket_.get(), {CacheOperation::store, key}, content.get());
    if (file && !*file) return fail("the file cache gave nothing back");
    return file;
}

}  // namespace omx
