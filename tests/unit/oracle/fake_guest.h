// SPDX-License-Identifier: Apache-2.0
// A guest without a kernel: memory, a swap file and a witness log that hold what a test puts there.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "host-backend/oracle/host_witness.h"
#include "host-backend/oracle/ledger.h"
#include "host-backend/oracle/placement.h"
#include "protocol/vttm_witness.h"

namespace vttm::oracle::test {

inline constexpr std::uint64_t kKey = 0x0123456789abcdefull;
inline constexpr std::uint64_t kMiB = 1ull << 20;

// A directory that is gone with the object.
class TempDir {
public:
    TempDir();
    ~TempDir();
    TempDir(const TempDir&) = delete;
    TempDir& operator=(const TempDir&) = delete;
    const std::filesystem::path& path() const { return path_; }

private:
    std::filesystem::path path_;
};

class FakeGuest {
public:
    // RAM with the upper half above 4 GiB.
    explicit FakeGuest(std::uint64_t ram_bytes = 16 * kMiB, std::uint64_t vram_bytes = 4 * kMiB,
                       std::uint64_t swap_bytes = 32 * kMiB);
    ~FakeGuest();
    FakeGuest(const FakeGuest&) = delete;
    FakeGuest& operator=(const FakeGuest&) = delete;

    Ledger ledger{kKey};

    // A buffer of @pages in @generation (0: not filled).
    void add(std::uint32_t id, std::uint64_t pages, Domain domain = Domain::kGtt,
             std::uint32_t generation = 1);

    // The right content of (buffer, page) at @place (in RAM for the swap cache, and in its slot if
    // @on_disk), and the claim that it is there.
    void put(PageId id, const Place& place, bool on_disk = true);
    void put_run(std::uint32_t buffer, std::uint64_t first, std::uint64_t count, Place place);
    // Only the claim, whatever is there.
    void claim(PageId id, const Place& place) { claims_[id] = place; }

    // Raw content, no claim.
    void write_ram(std::uint64_t gpa, const vttm_stamp_id& id);
    void write_vram(std::uint64_t offset, const vttm_stamp_id& id);
    void write_swap(std::int64_t slot, const vttm_stamp_id& id);

    vttm_stamp_id stamp(std::uint32_t buffer, std::uint64_t page, std::uint32_t generation) const {
        return {.key = kKey, .page = page, .buffer = buffer, .generation = generation};
    }

    Placement placement() const;

    // The gpa of page number @n of RAM, across the hole.
    std::uint64_t gpa(std::uint64_t n) const { return ram().gpa(n * kPageSize); }
    GuestRamView ram() const;
    HostView view() const;
    int swap_fd() const { return swap_fd_; }
    std::span<std::byte> vram() const { return vram_; }

private:
    mutable std::vector<std::byte> ram_;
    mutable std::vector<std::byte> vram_;
    int swap_fd_ = -1;
    std::map<PageId, Place> claims_;
};

inline Place in_ram(PlaceKind kind, std::uint64_t gpa) { return {kind, gpa, -1}; }
inline Place in_gtt(std::uint64_t gpa) { return in_ram(PlaceKind::kGtt, gpa); }
inline Place in_shmem(std::uint64_t gpa) { return in_ram(PlaceKind::kShmem, gpa); }
inline Place in_cache(std::uint64_t gpa, std::int64_t slot) {
    return {PlaceKind::kSwapcache, gpa, slot};
}
inline Place in_swap(std::int64_t slot) { return {PlaceKind::kSwap, 0, slot}; }
inline Place in_vram(std::uint64_t offset) { return {PlaceKind::kVram, offset, -1}; }

// Writes a witness log as the device does.
class LogWriter {
public:
    explicit LogWriter(std::filesystem::path path, bool header = true);
    const std::filesystem::path& path() const { return path_; }

    static vttm_witness_record record(vttm_witness_kind kind, std::uint32_t buffer,
                                      std::uint32_t generation, std::uint64_t page,
                                      std::uint64_t npages, std::uint64_t phys,
                                      std::uint32_t space = VTTM_SPACE_SYSTEM,
                                      std::uint32_t stamp_class = VTTM_STAMP_GOOD);
    void add(const vttm_witness_record& record);
    void write(std::uint32_t buffer, std::uint32_t generation, std::uint64_t page,
               std::uint64_t npages, std::uint64_t phys, std::uint32_t space = VTTM_SPACE_SYSTEM);
    void verify(std::uint32_t buffer, std::uint32_t generation, std::uint64_t page,
                std::uint64_t npages, std::uint64_t phys,
                std::uint32_t stamp_class = VTTM_STAMP_GOOD,
                std::uint32_t space = VTTM_SPACE_SYSTEM);
    void raw(const void* bytes, std::size_t size);

private:
    std::filesystem::path path_;
};

}  // namespace vttm::oracle::test
