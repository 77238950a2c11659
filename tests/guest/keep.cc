// SPDX-License-Identifier: Apache-2.0
#include "tests/guest/keep.h"

#include <sys/mman.h>
#include <unistd.h>

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
    const pid_t child = ::fork();
    if (child < 0) {
        std::perror("keep: fork");
        return 1;
    }
    if (child != 0) {
        std::printf("%d\n", static_cast<int>(child));
        return 0;
    }
    // The page is shared with it, not inherited: the only copy. Out of the way of who waits for our
    // output to end.
    ::setsid();
    for (int fd = 0; fd < 3; ++fd) ::close(fd);
    if (::mlock(page, VTTM_STAMP_PAGE_SIZE) != 0) ::_exit(1);
    for (;;) ::pause();
}

}  // namespace vttm::keep
