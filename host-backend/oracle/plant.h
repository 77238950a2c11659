// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "host-backend/oracle/guest_ram.h"
#include "host-backend/oracle/page.h"
#include "host-backend/oracle/placement.h"

namespace vttm::oracle {

// The fault planters: they damage guest memory or the swap file from the host, so that a self-test
// can demand that the oracle finds exactly that.

using PageBytes = std::array<std::byte, kPageSize>;

// Pages that can be read and overwritten. Addresses are page aligned. Throws std::out_of_range for
// an address that is not there, std::system_error on I/O errors.
class PageStore {
public:
    virtual ~PageStore() = default;
    virtual void read(std::uint64_t addr, PageBytes& to) const = 0;
    virtual void write(std::uint64_t addr, const PageBytes& from) = 0;
    virtual std::string name() const = 0;  // "ram", "vram", "swap"
};

class RamStore final : public PageStore {  // addr = guest-physical address
public:
    explicit RamStore(GuestRamView ram) : ram_(ram) {}
    void read(std::uint64_t addr, PageBytes& to) const override;
    void write(std::uint64_t addr, const PageBytes& from) override;
    std::string name() const override { return "ram"; }

private:
    GuestRamView ram_;
};

class VramStore final : public PageStore {  // addr = VRAM offset
public:
    explicit VramStore(std::span<std::byte> vram) : vram_(vram) {}
    void read(std::uint64_t addr, PageBytes& to) const override;
    void write(std::uint64_t addr, const PageBytes& from) override;
    std::string name() const override { return "vram"; }

private:
    std::span<std::byte> vram_;
};

class SwapStore final : public PageStore {  // addr = slot * 4096
public:
    explicit SwapStore(int fd) : fd_(fd) {}  // open for reading and writing; the caller's
    void read(std::uint64_t addr, PageBytes& to) const override;
    void write(std::uint64_t addr, const PageBytes& from) override;
    std::string name() const override { return "swap"; }

private:
    int fd_;
};

enum class FaultKind : std::uint8_t { kBitFlip, kSwapPages, kStale, kZero };
std::string_view name_of(FaultKind k);  // "bitflip", "swapped", "stale", "zero"

// What a planter did.
struct Planted {
    struct Change {
        PageId id;  // the page that lived there
        std::uint64_t addr = 0;
        PageClass expected = PageClass::kGood;  // what every witness must now call it
        PageBytes before{};
    };
    FaultKind kind = FaultKind::kBitFlip;
    std::vector<Change> changes;
    std::string text;  // one line for people

    // Puts the old bytes back.
    void undo(PageStore& store) const;
};

// A page to damage: what it is (must be there now) and where.
struct Target {
    vttm_stamp_id id{};
    std::uint64_t addr = 0;
};

// All planters throw std::logic_error if a target does not hold what it should: a fault in a page
// that is not there would prove nothing.

// Flips @bits (1..8 of them, distinct, 0..32767: byte * 8 + bit).
Planted plant_bit_flip(PageStore& store, const Target& at, std::span<const std::uint32_t> bits);
// Exchanges the content of two pages.
Planted plant_swapped_pages(PageStore& store, const Target& a, const Target& b);
// Writes the content of an @older generation (not the current one).
Planted plant_stale(PageStore& store, const Target& at, std::uint32_t older);
Planted plant_zero(PageStore& store, const Target& at);

// The store address of a claimed place: gpa, VRAM offset or slot * 4096.
std::uint64_t store_addr(const Place& place);

}  // namespace vttm::oracle
