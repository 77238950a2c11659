// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/oracle/fake_guest.h"

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <system_error>

namespace vttm::oracle::test {
namespace {

using Page = std::array<std::uint64_t, kPageSize / 8>;

Page content(const vttm_stamp_id& id) {
    Page page;
    vttm_stamp_fill(page.data(), &id);
    return page;
}

}  // namespace

TempDir::TempDir() {
    std::string name = (std::filesystem::temp_directory_path() / "vttm-oracle.XXXXXX").string();
    if (!::mkdtemp(name.data())) {
        throw std::system_error(errno, std::generic_category(), "mkdtemp");
    }
    path_ = name;
}

TempDir::~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}

FakeGuest::FakeGuest(std::uint64_t ram_bytes, std::uint64_t vram_bytes, std::uint64_t swap_bytes)
    : ram_(ram_bytes), vram_(vram_bytes) {
    swap_fd_ = ::memfd_create("fake-swap", MFD_CLOEXEC);
    if (swap_fd_ < 0 || ::ftruncate(swap_fd_, static_cast<off_t>(swap_bytes)) != 0) {
        throw std::system_error(errno, std::generic_category(), "fake swap file");
    }
}

FakeGuest::~FakeGuest() { ::close(swap_fd_); }

void FakeGuest::add(std::uint32_t id, std::uint64_t pages, Domain domain,
                    std::uint32_t generation) {
    ledger.add({.id = id, .pages = pages, .domain = domain});
    if (generation) ledger.filled(id, generation);
}

void FakeGuest::put(PageId id, const Place& place, bool on_disk) {
    const vttm_stamp_id want = ledger.expected(id).value();
    if (is_resident(place.kind)) write_ram(place.addr, want);
    if (place.kind == PlaceKind::kVram) write_vram(place.addr, want);
    if (has_slot(place.kind) && on_disk) write_swap(place.slot, want);
    claim(id, place);
}

void FakeGuest::put_run(std::uint32_t buffer, std::uint64_t first, std::uint64_t count,
                        Place place) {
    for (std::uint64_t i = 0; i < count; i++) {
        put({buffer, first + i}, place);
        if (place.kind != PlaceKind::kSwap) place.addr += kPageSize;
        if (place.slot >= 0) place.slot++;
    }
}

void FakeGuest::write_ram(std::uint64_t gpa, const vttm_stamp_id& id) {
    std::memcpy(ram_.data() + ram().offset(gpa).value(), content(id).data(), kPageSize);
}

void FakeGuest::write_vram(std::uint64_t offset, const vttm_stamp_id& id) {
    if (offset + kPageSize > vram_.size()) throw std::out_of_range("fake VRAM");
    std::memcpy(vram_.data() + offset, content(id).data(), kPageSize);
}

void FakeGuest::write_swap(std::int64_t slot, const vttm_stamp_id& id) {
    if (::pwrite(swap_fd_, content(id).data(), kPageSize,
                 slot * static_cast<std::int64_t>(kPageSize)) != kPageSize) {
        throw std::system_error(errno, std::generic_category(), "fake swap file");
    }
}

Placement FakeGuest::placement() const {
    std::map<std::uint32_t, std::vector<PlacementRun>> runs;
    for (const auto& [id, place] : claims_) {
        auto& of = runs[id.buffer];
        if (!of.empty()) {
            PlacementRun& last = of.back();
            Place next = last.place;
            if (next.kind != PlaceKind::kSwap && next.kind != PlaceKind::kNone) {
                next.addr += last.count * kPageSize;
            }
            if (next.slot >= 0) next.slot += static_cast<std::int64_t>(last.count);
            if (next == place && id.page == last.first + last.count) {
                last.count++;
                continue;
            }
        }
        of.push_back({id.page, 1, place});
    }
    Placement out;
    for (auto& [buffer, of] : runs) {
        const BufferInfo* b = ledger.find(buffer);
        const std::uint64_t pages = b ? b->pages : of.back().first + of.back().count;
        out.add_buffer(buffer, pages, std::move(of));
    }
    return out;
}

GuestRamView FakeGuest::ram() const {
    return {.bytes = ram_, .below_4g = ram_.size() / 2, .fd = -1};
}

HostView FakeGuest::view() const { return {.ram = ram(), .vram = vram_, .swap_fd = swap_fd_}; }

LogWriter::LogWriter(std::filesystem::path path, bool header) : path_(std::move(path)) {
    if (!header) return;
    const vttm_witness_header h{.magic = VTTM_WITNESS_MAGIC,
                                .version = VTTM_WITNESS_VERSION,
                                .record_size = sizeof(vttm_witness_record),
                                .rsvd = 0};
    raw(&h, sizeof(h));
}

vttm_witness_record LogWriter::record(vttm_witness_kind kind, std::uint32_t buffer,
                                      std::uint32_t generation, std::uint64_t page,
                                      std::uint64_t npages, std::uint64_t phys, std::uint32_t space,
                                      std::uint32_t stamp_class) {
    vttm_witness_record r{};
    r.kind = kind;
    r.stamp_class = stamp_class;
    r.buffer = buffer;
    r.generation = generation;
    r.page = page;
    r.npages = npages;
    r.phys = phys;
    r.space = space;
    return r;
}

void LogWriter::add(const vttm_witness_record& record) { raw(&record, sizeof(record)); }

void LogWriter::write(std::uint32_t buffer, std::uint32_t generation, std::uint64_t page,
                      std::uint64_t npages, std::uint64_t phys, std::uint32_t space) {
    add(record(VTTM_WITNESS_WRITE, buffer, generation, page, npages, phys, space));
}

void LogWriter::verify(std::uint32_t buffer, std::uint32_t generation, std::uint64_t page,
                       std::uint64_t npages, std::uint64_t phys, std::uint32_t stamp_class,
                       std::uint32_t space) {
    add(record(VTTM_WITNESS_VERIFY, buffer, generation, page, npages, phys, space, stamp_class));
}

void LogWriter::raw(const void* bytes, std::size_t size) {
    std::ofstream out(path_, std::ios::binary | std::ios::app);
    out.write(static_cast<const char*>(bytes), static_cast<std::streamsize>(size));
    if (!out.flush()) throw std::runtime_error("cannot write the fake witness log");
}

}  // namespace vttm::oracle::test
