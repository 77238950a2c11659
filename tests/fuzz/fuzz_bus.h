// SPDX-License-Identifier: Apache-2.0
// Memory around a model that is attacked again and again: cheap to put back as it was, and watched.
// Callbacks come from one thread at a time.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "host-backend/model/vttm_model.h"
#include "protocol/vttm_pte.h"
#include "protocol/vttm_regs.h"

namespace vttm::fuzz {

inline constexpr uint64_t kPage = VTTM_PAGE_SIZE;

inline uint64_t mix(uint64_t hash, uint64_t value) {
    hash = (hash ^ value) * 0x9e3779b97f4a7c15ull;
    return hash ^ hash >> 29;
}

// Zeroed pages between two that nobody may touch, and what they shall be between inputs.
class WatchedMemory {
public:
    explicit WatchedMemory(uint64_t size) : size_(size), dirty_(size / kPage), golden_(size) {
        void* all = mmap(nullptr, size + 2 * kPage, PROT_NONE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (all == MAP_FAILED) throw std::bad_alloc();
        bytes_ = static_cast<uint8_t*>(all) + kPage;
        if (mprotect(bytes_, size, PROT_READ | PROT_WRITE)) throw std::bad_alloc();
    }
    ~WatchedMemory() { munmap(bytes_ - kPage, size_ + 2 * kPage); }
    WatchedMemory(const WatchedMemory&) = delete;
    WatchedMemory& operator=(const WatchedMemory&) = delete;

    uint8_t* at(uint64_t offset = 0) const { return bytes_ + offset; }
    uint64_t size() const { return size_; }

    // What is there now is what restore() makes of it.
    void keep() { std::memcpy(golden_.data(), bytes_, size_); }
    // Someone has said that [offset, offset + len) may have been written.
    void touch(uint64_t offset, uint64_t len) {
        for (uint64_t page = offset / kPage; len && page <= (offset + len - 1) / kPage; page++) {
            if (dirty_[page]) continue;
            dirty_[page] = 1;
            pages_.push_back(static_cast<uint32_t>(page));
        }
    }
    // Of what was touched.
    uint64_t digest() const {
        uint64_t hash = pages_.size();
        std::vector<uint32_t> sorted(pages_);
        std::sort(sorted.begin(), sorted.end());
        for (uint32_t page : sorted) {
            hash = mix(hash, page);
            const auto* words = reinterpret_cast<const uint64_t*>(bytes_ + page * kPage);
            for (uint64_t i = 0; i < kPage / 8; i++) hash = mix(hash, words[i]);
        }
        return hash;
    }
    void restore() {
        for (uint32_t page : pages_) {
            std::memcpy(bytes_ + page * kPage, golden_.data() + page * kPage, kPage);
            dirty_[page] = 0;
        }
        pages_.clear();
    }
    // False: something was written and nobody said so.
    bool is_golden() const { return !std::memcmp(bytes_, golden_.data(), size_); }
    bool is_golden(uint64_t offset, uint64_t len) const {
        return !std::memcmp(bytes_ + offset, golden_.data() + offset, len);
    }

private:
    uint64_t size_;
    uint8_t* bytes_ = nullptr;
    std::vector<uint8_t> dirty_;   // by page
    std::vector<uint32_t> pages_;  // those that are dirty
    std::vector<uint8_t> golden_;
};

class FuzzBus {
public:
    // RAM fills bus addresses [0, ram_size) but for a hole.
    FuzzBus(uint64_t ram_size, uint64_t vram_size, uint64_t hole, uint64_t hole_size)
        : ram(ram_size), vram(vram_size), hole_(hole), hole_size_(hole_size) {}

    WatchedMemory ram;
    WatchedMemory vram;

    // Called within callbacks that come while an engine works; may access registers.
    std::function<void()> hook;
    // What VRAM may be written now.
    std::function<uint64_t()> vram_end;
    // No mapping goes over a multiple of this; 0: no limit.
    void limit_mappings(uint64_t bytes) { map_limit_ = bytes; }
    bool is_ram(uint64_t addr, uint64_t len) const {
        return addr < ram.size() && len <= ram.size() - addr &&
               (addr + len <= hole_ || addr >= hole_ + hole_size_);
    }

    uint64_t events() const { return events_; }
    // What is wrong, and forgets it all.
    std::string check_and_clear() {
        std::string wrong;
        if (!open_.empty()) wrong = "a mapping was left behind";
        if (bad_unmap_) wrong = "an unmap did not match its map";
        if (bad_vram_) wrong = "VRAM that was given up was written";
        if (bad_call_) wrong = "a callback got what it must never get";
        if (!ram.is_golden(hole_, hole_size_)) wrong = "memory that was not mapped was written";
        open_.clear();
        bad_unmap_ = bad_call_ = bad_vram_ = false;
        events_ = 0;
        map_limit_ = 0;
        return wrong;
    }

    vttm_model_ops ops(bool witness) {
        vttm_model_ops o{};
        o.dma_map = [](void* p, uint64_t a, uint64_t* l, int w) { return self(p)->map(a, l, w); };
        o.dma_unmap = [](void* p, uint64_t a, void* ptr, uint64_t l, int w) {
            self(p)->unmap(a, ptr, l, w);
        };
        o.irq = [](void* p, unsigned v) { self(p)->irq(v); };
        o.vram_dirty = [](void* p, uint64_t off, uint64_t l) { self(p)->dirty(off, l); };
        o.vram_given_up = [](void* p, uint64_t off, uint64_t l) { self(p)->given_up(off, l); };
        if (witness)
            o.witness = [](void* p, const vttm_witness_record* r, size_t n) {
                self(p)->witness(r, n);
            };
        return o;
    }

private:
    struct Open {
        uint64_t addr, len;
        const void* ptr;
        int write;
        bool operator==(const Open&) const = default;
    };

    static FuzzBus* self(void* p) { return static_cast<FuzzBus*>(p); }

    void* map(uint64_t addr, uint64_t* len, int write) {
        if (!*len) bad_call_ = true;
        if (hook) hook();
        if (addr >= ram.size() || (addr >= hole_ && addr - hole_ < hole_size_)) return nullptr;
        uint64_t n = std::min(*len, ram.size() - addr);
        if (addr < hole_) n = std::min(n, hole_ - addr);
        if (map_limit_) n = std::min(n, map_limit_ - addr % map_limit_);
        *len = n;
        open_.push_back({addr, n, ram.at(addr), write});
        if (write) ram.touch(addr, n);
        return ram.at(addr);
    }
    void unmap(uint64_t addr, void* ptr, uint64_t len, int write) {
        const auto it = std::find(open_.begin(), open_.end(), Open{addr, len, ptr, write});
        if (it == open_.end())
            bad_unmap_ = true;
        else
            open_.erase(it);
    }
    void dirty(uint64_t offset, uint64_t len) {
        if (offset > vram.size() || len > vram.size() - offset || !len) {
            bad_call_ = true;
            return;
        }
        if (vram_end && offset + len > vram_end()) bad_vram_ = true;
        vram.touch(offset, len);
        if (hook) hook();
    }
    // The host has put the memory to another use.
    void given_up(uint64_t offset, uint64_t len) {
        if (offset > vram.size() || len > vram.size() - offset || !len) {
            bad_call_ = true;
            return;
        }
        vram.touch(offset, len);
        std::memset(vram.at(offset), 0xdb, len);
        events_ = mix(events_, offset);
    }
    void irq(unsigned vector) {
        if (vector >= VTTM_NUM_VECTORS) bad_call_ = true;
        events_ = mix(events_, vector);
    }
    void witness(const vttm_witness_record* records, size_t n) {
        for (size_t i = 0; i < n; i++) {
            uint64_t words[sizeof(*records) / 8];
            std::memcpy(words, records + i, sizeof(words));
            for (uint64_t w : words) events_ = mix(events_, w);
        }
        if (hook) hook();
    }

    uint64_t hole_, hole_size_;
    uint64_t map_limit_ = 0;
    std::vector<Open> open_;
    bool bad_unmap_ = false;
    bool bad_call_ = false;
    bool bad_vram_ = false;
    uint64_t events_ = 0;
};

}  // namespace vttm::fuzz
