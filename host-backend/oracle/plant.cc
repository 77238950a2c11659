// SPDX-License-Identifier: Apache-2.0
#include "host-backend/oracle/plant.h"

#include <fmt/format.h>

#include <cstring>
#include <set>
#include <stdexcept>

#include "host-backend/oracle/file_io.h"

namespace vttm::oracle {
namespace {

constexpr std::uint32_t kPageBits = kPageSize * 8;
constexpr std::size_t kMaxBits = 8;  // more would be garbage, not a bit flip

struct alignas(64) Page {
    PageBytes bytes;
};

[[noreturn]] void no_such_page(const PageStore& store, std::uint64_t addr) {
    throw std::out_of_range(fmt::format("plant: no page at {:#x} of {}", addr, store.name()));
}

std::byte* ram_page(const RamStore& store, const GuestRamView& ram, std::uint64_t addr) {
    const auto at = addr % kPageSize ? std::nullopt : ram.offset(addr);
    if (!at) no_such_page(store, addr);
    return ram.bytes.data() + *at;
}

std::byte* vram_page(const VramStore& store, std::span<std::byte> vram, std::uint64_t addr) {
    if (addr % kPageSize || vram.size() < kPageSize || addr > vram.size() - kPageSize) {
        no_such_page(store, addr);
    }
    return vram.data() + addr;
}

std::string where(const PageStore& store, const Target& at) {
    return fmt::format("buffer {} page {} at {:#x} of {}", at.id.buffer, at.id.page, at.addr,
                       store.name());
}

// Reads the page and makes sure that it is what the caller thinks.
Page read_checked(const PageStore& store, const Target& at) {
    Page page;
    store.read(at.addr, page.bytes);
    if (!vttm_stamp_check(page.bytes.data(), &at.id)) {
        throw std::logic_error(fmt::format("plant: {} is not there (found: {})", where(store, at),
                                           name_of(classify(page.bytes.data(), at.id))));
    }
    return page;
}

Planted::Change change(const Target& at, const Page& before, PageClass expected) {
    return {.id = {at.id.buffer, at.id.page},
            .addr = at.addr,
            .expected = expected,
            .before = before.bytes};
}

}  // namespace

void RamStore::read(std::uint64_t addr, PageBytes& to) const {
    std::memcpy(to.data(), ram_page(*this, ram_, addr), kPageSize);
}

void RamStore::write(std::uint64_t addr, const PageBytes& from) {
    std::memcpy(ram_page(*this, ram_, addr), from.data(), kPageSize);
}

void VramStore::read(std::uint64_t addr, PageBytes& to) const {
    std::memcpy(to.data(), vram_page(*this, vram_, addr), kPageSize);
}

void VramStore::write(std::uint64_t addr, const PageBytes& from) {
    std::memcpy(vram_page(*this, vram_, addr), from.data(), kPageSize);
}

void SwapStore::read(std::uint64_t addr, PageBytes& to) const {
    // Slot 0 is the header of the swap area: never content.
    if (addr % kPageSize || addr < kPageSize ||
        read_at(fd_, to.data(), kPageSize, addr) < kPageSize) {
        no_such_page(*this, addr);
    }
}

void SwapStore::write(std::uint64_t addr, const PageBytes& from) {
    if (addr % kPageSize || addr < kPageSize || addr >= file_size(fd_)) no_such_page(*this, addr);
    write_at(fd_, from.data(), kPageSize, addr);
}

std::string_view name_of(FaultKind k) {
    switch (k) {
        case FaultKind::kBitFlip:
            return "bitflip";
        case FaultKind::kSwapPages:
            return "swapped";
        case FaultKind::kStale:
            return "stale";
        case FaultKind::kZero:
            return "zero";
    }
    return "?";
}

void Planted::undo(PageStore& store) const {
    for (auto it = changes.rbegin(); it != changes.rend(); ++it) store.write(it->addr, it->before);
}

Planted plant_bit_flip(PageStore& store, const Target& at, std::span<const std::uint32_t> bits) {
    const std::set<std::uint32_t> distinct(bits.begin(), bits.end());
    if (bits.empty() || bits.size() > kMaxBits || distinct.size() != bits.size() ||
        *distinct.rbegin() >= kPageBits) {
        throw std::logic_error("plant: a bit flip takes 1 to 8 distinct bits of a page");
    }
    const Page before = read_checked(store, at);
    Page page = before;
    for (const std::uint32_t bit : bits) {
        page.bytes[bit / 8] ^= static_cast<std::byte>(1u << (bit % 8));
    }
    store.write(at.addr, page.bytes);
    return {FaultKind::kBitFlip,
            {change(at, before, PageClass::kBitflip)},
            fmt::format("flipped {} bit(s) in {}", bits.size(), where(store, at))};
}

Planted plant_swapped_pages(PageStore& store, const Target& a, const Target& b) {
    if (a.addr == b.addr) throw std::logic_error("plant: swapping a page with itself");
    const Page page_a = read_checked(store, a);
    const Page page_b = read_checked(store, b);
    store.write(a.addr, page_b.bytes);
    store.write(b.addr, page_a.bytes);
    return {FaultKind::kSwapPages,
            {change(a, page_a, PageClass::kForeign), change(b, page_b, PageClass::kForeign)},
            fmt::format("swapped {} with {}", where(store, a), where(store, b))};
}

Planted plant_stale(PageStore& store, const Target& at, std::uint32_t older) {
    if (older == at.id.generation) {
        throw std::logic_error("plant: the current generation is not stale");
    }
    const Page before = read_checked(store, at);
    Page page;
    vttm_stamp_id old = at.id;
    old.generation = older;
    vttm_stamp_fill(page.bytes.data(), &old);
    store.write(at.addr, page.bytes);
    return {FaultKind::kStale,
            {change(at, before, PageClass::kStale)},
            fmt::format("wrote generation {} over {} in {}", older, at.id.generation,
                        where(store, at))};
}

Planted plant_zero(PageStore& store, const Target& at) {
    const Page before = read_checked(store, at);
    const Page page{};
    store.write(at.addr, page.bytes);
    return {FaultKind::kZero,
            {change(at, before, PageClass::kZero)},
            fmt::format("zeroed {}", where(store, at))};
}

std::uint64_t store_addr(const Place& place) {
    if (place.kind == PlaceKind::kSwap) return static_cast<std::uint64_t>(place.slot) * kPageSize;
    if (place.kind == PlaceKind::kNone) throw std::logic_error("plant: the page is nowhere");
    return place.addr;
}

}  // namespace vttm::oracle
