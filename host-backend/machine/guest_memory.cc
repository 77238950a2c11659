// SPDX-License-Identifier: Apache-2.0
#include "host-backend/machine/guest_memory.h"

#include <algorithm>
#include <cerrno>
#include <system_error>

namespace vttm::machine {
namespace {

constexpr std::uint64_t kFourGiB = 1ull << 32;
// QEMU's pc_q35_init(): guests that do not fit below 2.75 GiB get the hole from 2 GiB on.
constexpr std::uint64_t kLowLimit = 0xb0000000;
constexpr std::uint64_t kLowWhenSplit = 0x80000000;

}  // namespace

Mapping::Mapping(int fd, std::size_t bytes) {
    void* at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "mmap");
    span_ = {static_cast<std::byte*>(at), bytes};
}

Mapping::~Mapping() {
    if (!span_.empty()) ::munmap(span_.data(), span_.size());
}

GpaMap::GpaMap(std::uint64_t ram_bytes, std::uint64_t low_bytes)
    : ram_(ram_bytes), low_(ram_bytes >= kLowLimit ? kLowWhenSplit : ram_bytes) {
    if (low_bytes != 0) low_ = std::min(low_, low_bytes);
}

std::optional<std::uint64_t> GpaMap::offset_of(std::uint64_t gpa) const noexcept {
    if (gpa < low_) return gpa;
    if (gpa >= kFourGiB && gpa - kFourGiB < ram_ - low_) return gpa - kFourGiB + low_;
    return std::nullopt;
}

std::optional<std::uint64_t> GpaMap::gpa_of(std::uint64_t offset) const noexcept {
    if (offset < low_) return offset;
    if (offset < ram_) return offset - low_ + kFourGiB;
    return std::nullopt;
}

std::span<std::byte> GuestRam::at(std::uint64_t gpa, std::uint64_t length) const noexcept {
    if (length == 0) return {};
    const auto first = map_.offset_of(gpa);
    if (!first || length > map_.ram_bytes() - *first) return {};
    // Contiguous in guest-physical space means contiguous in the block only on one side of the
    // hole.
    const auto last = map_.offset_of(gpa + length - 1);
    if (!last || *last - *first != length - 1 ||
        (*first < map_.low_bytes()) != (*last < map_.low_bytes()))
        return {};
    return mapping_.bytes().subspan(*first, length);
}

}  // namespace vttm::machine
