// Big files of home's that are mapped without having been fetched: sparse memfds, whose holes are filled when somebody
// needs what belongs there. The kernel knows what is there (SEEK_HOLE), so nobody else keeps a record of it.
#pragma once
#include "protocol/link.h"
#include <functional>
#include <memory>
#include <unordered_map>

namespace omx {

class LazyFiles;

class LazyFile {
public:
    using Done = std::function<void(Status)>;
    LazyFile(LazyFiles&, const FileKey&, UniqueFd memfd, UniqueFd reader);
    ~LazyFile();                                          // nobody maps it any more: home may close the file
    LazyFile(const LazyFile&) = delete;

    int reader() const { return reader_.get(); }          // to be mapped by guests: they can't write through it
    bool is(uint64_t device, uint64_t inode) const { return device == device_ && inode == inode_; }
    const FileKey& key() const { return key_; }
    // What is behind the end of the file is no hole: the kernel knows what to do with who touches it.
    bool here(uint64_t from, uint64_t end) const;
    // `done` is called when these bytes are here: before want() returns if they are, else from LazyFiles::on_data().
    void want(uint64_t from, uint64_t end, Done done);
    bool wanted() const { return !waiters_.empty(); }

private:
    friend class LazyFiles;
    struct Request {
        uint64_t at, end;
        Bytes rest;                                       // of a page that has not come as a whole yet, before `at`
        uint64_t begin() const { return at - rest.size(); }
    };
    struct Waiter { uint64_t from, end; Done done; };
    struct Stream { uint64_t next = 0, window = 0; };     // who reads on at `next` gets more at once

    void ask(uint64_t from, uint64_t end);
    uint64_t hole_from(uint64_t at) const;                // where the first hole at or behind `at` begins, or the end
    const Request* request_within(uint64_t from, uint64_t end) const;
    uint64_t begin_of_request(uint64_t hole) const;
    uint64_t end_of_request(uint64_t hole, uint64_t begin, uint64_t wanted);
    uint64_t window_at(uint64_t at);
    Status put(Request&, View data, bool last);
    void tell_waiters(const Status&, uint64_t from, uint64_t end);

    LazyFiles& files_;
    FileKey key_;
    UniqueFd memfd_, reader_;
    uint64_t device_ = 0, inode_ = 0, size_;
    std::unordered_map<uint64_t, Request> requests_;
    std::vector<Waiter> waiters_;
    std::vector<Stream> streams_;                         // the one used last is at the end
};

class LazyFiles {
public:
    explicit LazyFiles(Link& link) : link_(link) {}

    // One for all guests of the job here, if its content is the same.
    Result<std::shared_ptr<LazyFile>> open(const FileKey&);
    // Which file's content the memfd of this inode holds (holes and all), for who looks at what a guest has mapped:
    // what can't be read there is not zeroes. nullptr: no lazy file's.
    const FileKey* file_of(uint64_t inode) const;
    // Requests have numbers that Contents has not.
    static bool ours(uint64_t request) { return request & kOurs; }
    Status on_data(uint64_t request, const FileData&);

private:
    friend class LazyFile;
    static constexpr uint64_t kOurs = uint64_t{1} << 63;

    Link& link_;
    std::vector<std::weak_ptr<LazyFile>> files_;
    std::unordered_map<uint64_t, LazyFile*> requests_;
    uint64_t next_request_ = kOurs;
};

}  // namespace omx
