// SPDX-License-Identifier: Apache-2.0
// Guest RAM and VRAM as this process sees them.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "host-backend/machine/unique_fd.h"

namespace vttm::machine {

// How q35 lays guest RAM out: one block of host memory, of which the part above the PCI hole
// continues at 4 GiB. All values in bytes.
class GpaMap {
public:
    // low_bytes: no more than that is below the hole; 0: as QEMU does by itself.
    explicit GpaMap(std::uint64_t ram_bytes, std::uint64_t low_bytes = 0);

    // Offset in the RAM block; nullopt if no RAM is at this guest-physical address.
    std::optional<std::uint64_t> offset_of(std::uint64_t gpa) const noexcept;
    // Guest-physical address of an offset; nullopt beyond the end.
    std::optional<std::uint64_t> gpa_of(std::uint64_t offset) const noexcept;

    std::uint64_t ram_bytes() const noexcept { return ram_; }
    // RAM below the hole.
    std::uint64_t low_bytes() const noexcept { return low_; }

private:
    std::uint64_t ram_;
    std::uint64_t low_;
};

// Guest RAM, mapped read-write (planting faults needs writes). The guest changes it while it is
// read: a reader must be able to live with torn content, or pause the machine.
class GuestRam {
public:
    GuestRam(UniqueFd file, GpaMap map)
        : file_(std::move(file)), mapping_(file_.get(), map.ram_bytes()), map_(map) {}

    std::span<std::byte> bytes() const noexcept { return mapping_.bytes(); }
    const GpaMap& map() const noexcept { return map_; }
    // The memory file behind bytes(): with SEEK_DATA a scan skips what the guest never touched
    // (reading such a hole through the mapping makes the host allocate it).
    int fd() const noexcept { return file_.get(); }
    // `length` bytes at a guest-physical address; empty if any of them is no RAM or the range
    // crosses the hole.
    std::span<std::byte> at(std::uint64_t gpa, std::uint64_t length) const noexcept;

private:
    UniqueFd file_;
    Mapping mapping_;
    GpaMap map_;
};

// The device's memory; offset 0 is the start of VRAM.
class Vram {
public:
    explicit Vram(Mapping mapping) : mapping_(std::move(mapping)) {}
    std::span<std::byte> bytes() const noexcept { return mapping_.bytes(); }

private:
    Mapping mapping_;
};

}  // namespace vttm::machine
