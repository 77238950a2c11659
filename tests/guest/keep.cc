// SPDX-License-Identifier: Apache-2.0
#include "tests/guest/keep.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "protocol/vttm_stamp.h"

namespace vttm::keep {

int run_guest(std::span<char* const> arguments) {
    const vttm_stamp_id id = {
        .key = std::strtoull(arguments[0], nullptr, 16),
        .page = std::strtoull(arguments[2], nullptr, 10),
        .buffer = static_cast<std::uint32_t>(std::strtoul(arguments[1], nullptr, 10)),
        .generation = static_cast<std::uint32_t>(std::strtoul(arguments[3], nullptr, 10))};
    void* page = ::mmap(nullptr, VTTM_STAMP_PAGE_SIZE, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (page == MAP_FAILED) {
        std::perror("keep: mmap");
        return 1;
    }
    vttm_stamp_fill(page, &id);
    int ready[2];
    if (::pipe(ready) != 0) {
        std::perror("keep: pipe");
        return 1;
    }
    const pid_t child = ::fork();
    if (child < 0) {
        std::perror("keep: fork");
        return 1;
    }
    if (child != 0) {
        char byte = 0;
        ::close(ready[1]);
        if (::read(ready[0], &byte, 1) != 1) {
            std::fprintf(stderr, "keep: the page cannot be locked\n");
            return 1;
        }
        std::printf("%d\n", static_cast<int>(child));
        return 0;
    }
    // The page is shared with it, not inherited: the only copy. Out of the way of who waits for our
    // output to end.
    ::setsid();
    if (::mlock(page, VTTM_STAMP_PAGE_SIZE) != 0 || ::write(ready[1], "x", 1) != 1) ::_exit(1);
    for (int fd = 0; fd <= std::max(ready[0], ready[1]); ++fd) ::close(fd);
    for (;;) ::pause();
}

}  // namespace vttm::keep
