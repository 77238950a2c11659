// SPDX-License-Identifier: Apache-2.0
// The embedder's side: guest memory, VRAM, interrupts, witness log. No state but the callbacks, and
// how much of the VRAM the guest may use.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

#include "host-backend/model/vttm_model.h"

namespace vttm::model {

class Bus {
public:
    // A mapped piece of guest memory; unmapped when it goes out of scope.
    class Mapping {
    public:
        Mapping() = default;
        Mapping(Mapping&& other) noexcept { swap(other); }
        Mapping& operator=(Mapping&& other) noexcept {
            Mapping gone(std::move(other));
            swap(gone);
            return *this;
        }
        Mapping(const Mapping&) = delete;
        Mapping& operator=(const Mapping&) = delete;
        ~Mapping();

        uint8_t* data() const { return ptr_; }
        uint64_t size() const { return usable_; }
        explicit operator bool() const { return ptr_ != nullptr; }

    private:
        friend class Bus;
        void swap(Mapping& other) noexcept {
            std::swap(bus_, other.bus_);
            std::swap(ptr_, other.ptr_);
            std::swap(addr_, other.addr_);
            std::swap(mapped_, other.mapped_);
            std::swap(usable_, other.usable_);
            std::swap(write_, other.write_);
        }

        const Bus* bus_ = nullptr;
        uint8_t* ptr_ = nullptr;
        uint64_t addr_ = 0;
        uint64_t mapped_ = 0;  // as the embedder said
        uint64_t usable_ = 0;  // never more than was asked for
        bool write_ = false;
    };

    Bus(const vttm_model_ops& ops, void* opaque, void* vram, uint64_t vram_size)
        : ops_(ops),
          opaque_(opaque),
          vram_(static_cast<uint8_t*>(vram)),
          vram_size_(vram_size),
          vram_limit_(vram_size) {}

    // Maps up to @len bytes of system memory at @addr; empty if there is no RAM.
    Mapping map(uint64_t addr, uint64_t len, bool write) const;

    // The same with all of the VRAM.
    Bus unlimited() const { return Bus(ops_, opaque_, vram_, vram_size_); }

    uint8_t* vram() const { return vram_; }
    uint64_t vram_size() const { return vram_size_; }
    void vram_dirty(uint64_t offset, uint64_t len) const {
        if (ops_.vram_dirty && len) ops_.vram_dirty(opaque_, offset, len);
    }
    // Whether [offset, offset + len) lies in the VRAM that the guest has kept.
    bool vram_contains(uint64_t offset, uint64_t len) const {
        const uint64_t limit = vram_limit();
        return offset <= limit && len <= limit - offset;
    }
    uint64_t vram_limit() const { return vram_limit_.load(std::memory_order_relaxed); }
    void set_vram_limit(uint64_t bytes) { vram_limit_.store(bytes, std::memory_order_relaxed); }
    void vram_given_up(uint64_t offset, uint64_t len) const {
        if (ops_.vram_given_up) ops_.vram_given_up(opaque_, offset, len);
    }

    void removed(bool gone) const {
        if (ops_.removed) ops_.removed(opaque_, gone);
    }

    void irq(unsigned vector) const { ops_.irq(opaque_, vector); }
    bool wants_witness() const { return ops_.witness != nullptr; }
    void witness(const vttm_witness_record* rec, size_t n) const {
        if (ops_.witness && n) ops_.witness(opaque_, rec, n);
    }
    bool wants_trace() const { return ops_.trace != nullptr; }
    void trace(const vttm_trace_record& rec) const { ops_.trace(opaque_, &rec); }
    void thread_enter() const {
        if (ops_.thread_enter) ops_.thread_enter(opaque_);
    }
    void thread_exit() const {
        if (ops_.thread_exit) ops_.thread_exit(opaque_);
    }

private:
    vttm_model_ops ops_;
    void* opaque_;
    uint8_t* vram_;
    uint64_t vram_size_;
    std::atomic<uint64_t> vram_limit_;
};

}  // namespace vttm::model
