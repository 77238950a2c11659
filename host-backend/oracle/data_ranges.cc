// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "host-backend/oracle/scan.h"

namespace vttm::oracle {

std::vector<ByteRange> data_ranges(int fd, std::uint64_t size) {
    const std::uint64_t whole = size / kPageSize * kPageSize;
    std::vector<ByteRange> ranges;
    std::uint64_t at = 0;
    while (at < whole) {
        const off_t data = ::lseek(fd, static_cast<off_t>(at), SEEK_DATA);
        if (data < 0) {
            if (errno == ENXIO) break;  // only a hole is left
            // Not every file system and no pipe or device can tell.
            if (errno == EINVAL || errno == EOPNOTSUPP) return {{0, whole}};
            throw std::system_error(errno, std::generic_category(), "SEEK_DATA");
        }
        const off_t hole = ::lseek(fd, data, SEEK_HOLE);
        if (hole < 0) throw std::system_error(errno, std::generic_category(), "SEEK_HOLE");
        const std::uint64_t begin = static_cast<std::uint64_t>(data) / kPageSize * kPageSize;
        const std::uint64_t end = std::min(
            whole, (static_cast<std::uint64_t>(hole) + kPageSize - 1) / kPageSize * kPageSize);
        if (begin >= whole) break;
        if (!ranges.empty() && ranges.back().offset + ranges.back().length >= begin) {
            ranges.back().length = end - ranges.back().offset;
        } else {
            ranges.push_back({begin, end - begin});
        }
        at = std::max(end, at + kPageSize);
    }
    return ranges;
}

}  // namespace vttm::oracle
