// SPDX-License-Identifier: Apache-2.0
// A machine around the model, for tests: system memory with holes, VRAM, an interrupt log, a
// witness log, and a small driver that writes page tables and rings.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <tuple>
#include <utility>
#include <vector>

#include "host-backend/model/vttm_model.h"
#include "protocol/vttm_packets.h"
#include "protocol/vttm_pte.h"
#include "protocol/vttm_regs.h"
#include "protocol/vttm_stamp.h"

namespace vttm::model::test {

inline constexpr uint64_t kPage = VTTM_PAGE_SIZE;

// Page-aligned zeroed memory.
class Memory {
public:
    explicit Memory(uint64_t size)
        : size_(size),
          bytes_(static_cast<uint8_t*>(::operator new(size, std::align_val_t(kPage)))) {
        std::memset(bytes_.get(), 0, size);
    }
    uint8_t* data() const { return bytes_.get(); }
    uint64_t size() const { return size_; }

private:
    struct Free {
        void operator()(uint8_t* p) const { ::operator delete(p, std::align_val_t(kPage)); }
    };
    uint64_t size_;
    std::unique_ptr<uint8_t, Free> bytes_;
};

// System memory and what the model did to it. Callbacks come from any thread.
class FakeBus {
public:
    FakeBus(uint64_t ram_size, uint64_t vram_size) : ram_(ram_size), vram_(vram_size) {}

    // RAM fills bus addresses [0, ram_size) but for the holes.
    void add_hole(uint64_t addr, uint64_t len) {
        std::lock_guard lock(mu_);
        holes_.emplace_back(addr, len);
    }
    void clear_holes() {
        std::lock_guard lock(mu_);
        holes_.clear();
    }
    // At most this many bytes are mapped at a time (0: no limit).
    void limit_mappings(uint64_t bytes) { map_limit_ = bytes; }
    // Called within each dma_map, before it returns.
    void on_map(std::function<void(uint64_t addr, bool write)> hook) {
        std::lock_guard lock(mu_);
        map_hook_ = std::move(hook);
    }

    uint8_t* ram(uint64_t addr = 0) const { return ram_.data() + addr; }
    uint64_t ram_size() const { return ram_.size(); }
    uint8_t* vram(uint64_t offset = 0) const { return vram_.data() + offset; }
    uint64_t vram_size() const { return vram_.size(); }

    unsigned irq_count(unsigned vector) const {
        std::lock_guard lock(mu_);
        return irqs_[vector];
    }
    bool wait_irq(unsigned vector, unsigned count) const {
        std::unique_lock lock(mu_);
        return irq_cv_.wait_for(lock, std::chrono::seconds(10),
                                [&] { return irqs_[vector] >= count; });
    }
    void on_irq(std::function<void(unsigned)> hook) {
        std::lock_guard lock(mu_);
        irq_hook_ = std::move(hook);
    }
    std::vector<vttm_witness_record> witness() const {
        std::lock_guard lock(mu_);
        return witness_;
    }
    void clear_witness() {
        std::lock_guard lock(mu_);
        witness_.clear();
    }
    bool vram_was_dirtied(uint64_t offset, uint64_t len) const {
        std::lock_guard lock(mu_);
        for (auto [o, l] : dirty_)
            if (o <= offset && offset + len <= o + l) return true;
        return false;
    }
    std::vector<std::pair<uint64_t, uint64_t>> given_up() const {
        std::lock_guard lock(mu_);
        return given_up_;
    }
    long open_mappings() const { return open_.load(); }
    long bad_unmaps() const { return bad_unmaps_.load(); }
    uint64_t callbacks() const { return callbacks_.load(); }
    int threads() const { return threads_.load(); }

    vttm_model_ops ops() const {
        vttm_model_ops o{};
        o.dma_map = [](void* p, uint64_t a, uint64_t* l, int w) { return self(p)->map(a, l, w); };
        o.dma_unmap = [](void* p, uint64_t a, void* ptr, uint64_t l, int w) {
            self(p)->unmap(a, ptr, l, w);
        };
        o.irq = [](void* p, unsigned v) { self(p)->irq(v); };
        o.vram_dirty = [](void* p, uint64_t off, uint64_t l) {
            std::lock_guard lock(self(p)->mu_);
            self(p)->dirty_.emplace_back(off, l);
        };
        o.vram_given_up = [](void* p, uint64_t off, uint64_t l) {
            std::lock_guard lock(self(p)->mu_);
            self(p)->given_up_.emplace_back(off, l);
        };
        o.witness = [](void* p, const vttm_witness_record* r, size_t n) {
            self(p)->callbacks_++;
            std::lock_guard lock(self(p)->mu_);
            self(p)->witness_.insert(self(p)->witness_.end(), r, r + n);
        };
        o.thread_enter = [](void* p) { self(p)->threads_++; };
        o.thread_exit = [](void* p) { self(p)->threads_--; };
        return o;
    }

private:
    static FakeBus* self(void* p) { return static_cast<FakeBus*>(p); }

    void* map(uint64_t addr, uint64_t* len, bool write) {
        callbacks_++;
        std::function<void(uint64_t, bool)> hook;
        {
            std::lock_guard lock(mu_);
            hook = map_hook_;
        }
        if (hook) hook(addr, write);
        std::lock_guard lock(mu_);
        if (addr >= ram_.size()) return nullptr;
        uint64_t n = std::min(*len, ram_.size() - addr);
        if (map_limit_) n = std::min(n, map_limit_ - addr % map_limit_);
        for (auto [start, size] : holes_) {
            if (addr >= start && addr - start < size) return nullptr;
            if (addr < start) n = std::min(n, start - addr);
        }
        *len = n;
        open_++;
        mapped_[{addr, n, write}]++;
        return ram_.data() + addr;
    }
    void unmap(uint64_t addr, void* ptr, uint64_t len, bool write) {
        std::lock_guard lock(mu_);
        open_--;
        auto it = mapped_.find({addr, len, write});
        if (it == mapped_.end() || ptr != ram_.data() + addr) {
            bad_unmaps_++;
            return;
        }
        if (!--it->second) mapped_.erase(it);
    }
    void irq(unsigned vector) {
        callbacks_++;
        std::function<void(unsigned)> hook;
        {
            std::lock_guard lock(mu_);
            irqs_[vector]++;
            irq_cv_.notify_all();
            hook = irq_hook_;
        }
        if (hook) hook(vector);
    }

    Memory ram_;
    Memory vram_;
    mutable std::mutex mu_;
    mutable std::condition_variable irq_cv_;
    std::vector<std::pair<uint64_t, uint64_t>> holes_;
    std::vector<std::pair<uint64_t, uint64_t>> dirty_;
    std::vector<std::pair<uint64_t, uint64_t>> given_up_;
    std::vector<vttm_witness_record> witness_;
    std::map<std::tuple<uint64_t, uint64_t, bool>, int> mapped_;
    std::function<void(uint64_t, bool)> map_hook_;
    std::function<void(unsigned)> irq_hook_;
    unsigned irqs_[VTTM_NUM_VECTORS] = {};
    uint64_t map_limit_ = 0;
    std::atomic<long> open_{0};
    std::atomic<long> bad_unmaps_{0};
    std::atomic<uint64_t> callbacks_{0};
    std::atomic<int> threads_{0};
};

}  // namespace vttm::model::test
