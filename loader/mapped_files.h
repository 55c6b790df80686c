// The files behind a process's mappings, opened on the very inodes that are mapped and registered once each.
#pragma once
#include "loader/capture.h"
#include "loader/proc_files.h"
#include <map>

namespace omx {

class MappedFiles {
public:
    MappedFiles(const ProcDir& process, const FileRegistrar& registrar) : process_(process), registrar_(registrar) {}

    // What an entry of a private file mapping became. index -1: the file can't be opened (execute-only, deleted …),
    // so that its contents must travel as memory.
    struct Use { int32_t index = -1; int fd = -1; };
    Result<Use> use(const MapsEntry&);
    std::vector<FileKey> take_keys() { return std::move(keys_); }

private:
    struct Known { Use use; UniqueFd fd; };
    UniqueFd open(const MapsEntry&) const;
    const ProcDir& process_;
    const FileRegistrar& registrar_;
    std::map<std::pair<uint64_t, uint64_t>, Known> known_;     // by device and inode of the map
    std::vector<FileKey> keys_;
};

}  // namespace omx
