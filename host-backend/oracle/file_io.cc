// SPDX-License-Identifier: Apache-2.0
#include "host-backend/oracle/file_io.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace vttm::oracle {
namespace {

[[noreturn]] void fail(const char* what) {
    throw std::system_error(errno, std::generic_category(), what);
}

}  // namespace

std::uint64_t file_size(int fd) {
    struct stat st {};
    if (::fstat(fd, &st) != 0) fail("size of a file");
    if (S_ISREG(st.st_mode)) return static_cast<std::uint64_t>(st.st_size);
    const off_t end = ::lseek(fd, 0, SEEK_END);
    if (end < 0) fail("size of a device");
    return static_cast<std::uint64_t>(end);
}

std::size_t read_at(int fd, void* to, std::size_t size, std::uint64_t at) {
    std::size_t done = 0;
    while (done < size) {
        const ssize_t n =
            ::pread(fd, static_cast<char*>(to) + done, size - done, static_cast<off_t>(at + done));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) fail("read");
        if (n == 0) break;
        done += static_cast<std::size_t>(n);
    }
    return done;
}

void write_at(int fd, const void* from, std::size_t size, std::uint64_t at) {
    std::size_t done = 0;
    while (done < size) {
        const ssize_t n = ::pwrite(fd, static_cast<const char*>(from) + done, size - done,
                                   static_cast<off_t>(at + done));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) fail("write");
        done += static_cast<std::size_t>(n);
    }
}

}  // namespace vttm::oracle
