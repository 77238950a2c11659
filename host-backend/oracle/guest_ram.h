// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace vttm::oracle {

// The guest's RAM, mapped shared into this process. On q35 the first @below_4g bytes lie at
// guest-physical 0, the rest at 4 GiB: gpa and offset differ above the hole.
struct GuestRamView {
    static constexpr std::uint64_t kFourGiB = 1ull << 32;

    std::span<std::byte> bytes;  // all of RAM in the order of the memory backend
    std::uint64_t below_4g = 0;  // bytes of RAM below the hole; bytes.size() if there is no hole
    // File behind @bytes (offset 0 = bytes[0]), or -1. With it a scan skips what the guest never
    // touched; without it reading a hole of the file makes the host allocate it.
    int fd = -1;

    // Offset in @bytes of the page at @gpa (any alignment); nothing if that whole 4 KiB page is not
    // RAM.
    std::optional<std::uint64_t> offset(std::uint64_t gpa) const {
        const std::uint64_t page = gpa & ~0xfffull;
        std::uint64_t at = gpa;
        if (page >= kFourGiB) {
            at = gpa - kFourGiB + below_4g;
        } else if (page >= below_4g) {
            return std::nullopt;
        }
        // The subtraction cannot wrap for gpa >= 4 GiB; the sum may for absurd values.
        if (at < below_4g && gpa >= kFourGiB) return std::nullopt;
        const std::uint64_t start = at & ~0xfffull;
        if (bytes.size() < 4096 || start > bytes.size() - 4096) return std::nullopt;
        return at;
    }

    // Guest-physical address of the byte at @offset (below bytes.size()).
    std::uint64_t gpa(std::uint64_t offset) const {
        return offset < below_4g ? offset : offset - below_4g + kFourGiB;
    }
};

}  // namespace vttm::oracle
