// SPDX-License-Identifier: Apache-2.0
// A bus as cheap as can be, the model on it, and page tables for one long range of pages.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>

#include "host-backend/model/vttm_model.h"
#include "protocol/vttm_packets.h"
#include "protocol/vttm_pte.h"
#include "protocol/vttm_regs.h"
#include "protocol/vttm_stamp.h"

namespace vttm::model::bench {

enum class Placement { vram = 0, ram_in_order = 1, ram_scattered = 2, ram_2m = 3 };

class BenchMachine {
public:
    static constexpr uint64_t kVa = 0x100000000;

    // @bytes: size of the range under test, multiple of 2 MiB.
    explicit BenchMachine(uint64_t bytes)
        : bytes_(bytes), ram_(allocate(bytes + kExtra)), vram_(allocate(2 * bytes)) {
        vttm_model_config config{};
        config.api = VTTM_MODEL_API;
        config.vram = vram_.get();
        config.vram_size = 2 * bytes;
        config.vram_visible = 2 * bytes;
        const vttm_model_ops ops = BenchMachine::ops();
        char err[200] = "";
        model_.reset(vttm_model_create(&config, &ops, this, err, sizeof(err)));
        if (!model_) throw std::runtime_error(err);
        for (unsigned e = 0; e < VTTM_NUM_ENGINES; e++) {
            wr64(VTTM_ENGINE_BASE(e) + VTTM_ENG_RING_BASE_LO, ring(e));
            wr(VTTM_ENGINE_BASE(e) + VTTM_ENG_RING_SIZE, VTTM_RING_MIN_SIZE);
            wr(VTTM_ENGINE_BASE(e) + VTTM_ENG_CTRL, VTTM_ENG_CTRL_ENABLE);
        }
        wr(VTTM_REG_IRQ_ENABLE, VTTM_IRQ_ENGINE(0) | VTTM_IRQ_ENGINE(1));
        build_tables();
        for (unsigned e = 0; e < VTTM_NUM_ENGINES; e++)
            run(e, vttm_pkt_set_vm{VTTM_PKT_HDR(VTTM_OP_SET_VM, 0, 2), 0});
    }

    // Of a model, or of a part of it, whose opaque pointer is a BenchMachine.
    static vttm_model_ops ops() {
        vttm_model_ops ops{};
        ops.dma_map = [](void* p, uint64_t addr, uint64_t* len, int) -> void* {
            auto* m = static_cast<BenchMachine*>(p);
            if (addr >= m->bytes_ + kExtra) return nullptr;
            if (*len > m->bytes_ + kExtra - addr) *len = m->bytes_ + kExtra - addr;
            return m->ram_.get() + addr;
        };
        ops.dma_unmap = [](void*, uint64_t, void*, uint64_t, int) {};
        ops.irq = [](void* p, unsigned) {
            auto* m = static_cast<BenchMachine*>(p);
            m->interrupts_.fetch_add(1, std::memory_order_release);
            m->interrupts_.notify_one();
        };
        ops.witness = [](void*, const vttm_witness_record*, size_t) {};
        return ops;
    }

    uint8_t* ram() { return ram_.get(); }
    uint8_t* vram() { return vram_.get(); }

    // Where page @i of @n, a power of two, lies: an odd multiplier permutes, and no two neighbours
    // stay neighbours.
    static uint64_t scattered(uint64_t i, uint64_t n) { return i * 4099 % n; }

    void map_pages(Placement place) {
        auto* leaves = reinterpret_cast<uint64_t*>(ram_.get() + bytes_ + kLeaves);
        const uint64_t n = bytes_ / VTTM_PAGE_SIZE;
        for (uint64_t i = 0; i < n; i++) {
            const uint64_t page = place == Placement::ram_scattered ? scattered(i, n) : i;
            leaves[i] = page * VTTM_PAGE_SIZE | VTTM_PTE_VALID | VTTM_PTE_WRITE |
                        (place == Placement::vram ? 0 : VTTM_PTE_SYSTEM);
        }
        auto* upper = reinterpret_cast<uint64_t*>(ram_.get() + bytes_ + kUpper) +
                      2 * VTTM_PT_ENTRIES;  // the table of level 1
        for (uint64_t va = 0; va < bytes_; va += kBig) {
            const uint64_t table = bytes_ + kLeaves + va / kBig * VTTM_PAGE_SIZE;
            upper[VTTM_PT_INDEX(kVa + va, 1)] =
                VTTM_PTE_VALID | VTTM_PTE_SYSTEM |
                (place == Placement::ram_2m ? VTTM_PTE_LARGE | VTTM_PTE_WRITE | va : table);
        }
        wr(VTTM_REG_TLB_INV_CMD, VTTM_TLB_INV_CMD(VTTM_TLB_INV_ALL, 0u));
    }

    void set_fault_plan(const char* plan) {
        char err[200] = "";
        if (vttm_model_set_fault_plan(model_.get(), plan, err, sizeof(err)))
            throw std::runtime_error(err);
    }

    // Of VM 0, as its register holds it.
    uint64_t root() const { return (bytes_ + kUpper) | VTTM_PTE_VALID | VTTM_PTE_SYSTEM; }
    // @vm has the page tables of VM 0, too.
    void share_root(uint32_t vm) {
        wr64(VTTM_REG_VM_ROOT_LO(vm), root());
    }
    void set_vm(unsigned e, uint32_t vm) {
        run(e, vttm_pkt_set_vm{VTTM_PKT_HDR(VTTM_OP_SET_VM, 0, 2), vm});
    }
    // Seconds that the register write took.
    double invalidate(uint32_t scope, uint32_t vm, uint64_t va, uint32_t pages) {
        wr64(VTTM_REG_TLB_INV_START_LO, va);
        wr(VTTM_REG_TLB_INV_PAGES, pages);
        const auto start = std::chrono::steady_clock::now();
        wr(VTTM_REG_TLB_INV_CMD, VTTM_TLB_INV_CMD(scope, vm));
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    }

    // Runs one packet and sleeps until its interrupt comes; returns the status of its fence.
    template <typename Packet>
    uint32_t run(unsigned e, const Packet& packet) {
        uint32_t words[sizeof(Packet) / 4];
        std::memcpy(words, &packet, sizeof(packet));
        for (uint32_t w : words) put(e, w);
        const uint64_t addr = bytes_ + kFence, seq = ++seq_;
        const uint32_t hdr = VTTM_PKT_HDR(VTTM_OP_FENCE, VTTM_PKT_FLAG_IRQ, 5);
        for (uint32_t w : {hdr, lo(addr), hi(addr), lo(seq), hi(seq)}) put(e, w);
        const uint32_t before = interrupts_.load(std::memory_order_relaxed);
        wr(VTTM_ENGINE_BASE(e) + VTTM_ENG_TAIL, tail_[e]);
        interrupts_.wait(before, std::memory_order_acquire);
        return reinterpret_cast<vttm_fence_value*>(ram_.get() + addr)->status;
    }
    // Rings for @packet without a fence behind it, and does not wait.
    template <typename Packet>
    void submit(unsigned e, const Packet& packet) {
        uint32_t words[sizeof(Packet) / 4];
        std::memcpy(words, &packet, sizeof(packet));
        for (uint32_t w : words) put(e, w);
        wr(VTTM_ENGINE_BASE(e) + VTTM_ENG_TAIL, tail_[e]);
    }
    // Memory for the benchmark itself, behind all that is here: a bus address, and what is there.
    uint64_t scratch_addr() const { return bytes_ + kScratch; }
    uint8_t* scratch() { return ram_.get() + scratch_addr(); }
    vttm_stamp_result result() const {
        vttm_stamp_result r;
        std::memcpy(&r, ram_.get() + bytes_ + kResult, sizeof(r));
        return r;
    }

    static vttm_pkt_stamp stamp(bool verify, uint32_t pages) {
        vttm_pkt_stamp p{};
        p.hdr = VTTM_PKT_HDR(verify ? VTTM_OP_STAMP_VERIFY : VTTM_OP_STAMP_WRITE,
                             VTTM_PKT_SRC(VTTM_SPACE_SYSTEM), 12);
        p.va_lo = lo(kVa);
        p.va_hi = hi(kVa);
        p.npages = pages;
        p.buffer = 1;
        p.generation = 1;
        p.key_lo = 1;
        const uint64_t result = uint64_t{pages} * VTTM_PAGE_SIZE + kResult;
        p.result_lo = lo(result);
        p.result_hi = hi(result);
        return p;
    }
    // From the second half of VRAM to the range.
    static vttm_pkt_copy copy(uint64_t bytes) {
        return {VTTM_PKT_HDR(VTTM_OP_COPY,
                             VTTM_PKT_DST(VTTM_SPACE_VM) | VTTM_PKT_SRC(VTTM_SPACE_VRAM), 7),
                lo(kVa), hi(kVa), lo(bytes), hi(bytes), lo(bytes), hi(bytes)};
    }
    static vttm_pkt_fill fill(uint64_t bytes) {
        return {VTTM_PKT_HDR(VTTM_OP_FILL, VTTM_PKT_DST(VTTM_SPACE_VM), 6), lo(kVa), hi(kVa),
                lo(bytes), hi(bytes), 0x5a5a5a5a};
    }
    static uint32_t nop() { return VTTM_PKT_HDR(VTTM_OP_NOP, 0, 1); }

private:
    // Behind the range: fence, result, rings, upper tables, leaf tables.
    static constexpr uint64_t kBig = 1ull << VTTM_LEAF_2M_SHIFT;
    static constexpr uint64_t kFence = 0, kResult = 0x1000, kRings = 0x2000, kUpper = 0x4000,
                              kLeaves = 0x10000, kScratch = 8ull << 20,
                              kExtra = 16ull << 20;

    struct Free {
        void operator()(uint8_t* p) const { ::operator delete(p, std::align_val_t(1 << 21)); }
    };
    using Memory = std::unique_ptr<uint8_t, Free>;
    struct Destroy {
        void operator()(vttm_model* m) const { vttm_model_destroy(m); }
    };

    static Memory allocate(uint64_t n) {
        Memory m(static_cast<uint8_t*>(::operator new(n, std::align_val_t(1 << 21))));
        std::memset(m.get(), 1, n);
        return m;
    }
    static uint32_t lo(uint64_t v) { return static_cast<uint32_t>(v); }
    static uint32_t hi(uint64_t v) { return static_cast<uint32_t>(v >> 32); }
    void wr(uint32_t off, uint32_t v) { vttm_model_mmio_write(model_.get(), off, v, 4); }
    void wr64(uint32_t off, uint64_t v) { vttm_model_mmio_write(model_.get(), off, v, 8); }
    uint64_t ring(unsigned e) const { return bytes_ + kRings + e * VTTM_RING_MIN_SIZE; }

    void put(unsigned e, uint32_t word) {
        std::memcpy(ram_.get() + ring(e) + tail_[e], &word, 4);
        tail_[e] = (tail_[e] + 4) % VTTM_RING_MIN_SIZE;
    }

    // Tables of levels 3, 2, 1 behind each other, then the leaf tables, in order.
    void build_tables() {
        std::memset(ram_.get() + bytes_ + kUpper, 0, kExtra - kUpper);
        auto table = [&](uint64_t at) { return reinterpret_cast<uint64_t*>(ram_.get() + at); };
        auto entry = [](uint64_t at) { return at | VTTM_PTE_VALID | VTTM_PTE_SYSTEM; };
        const uint64_t l3 = bytes_ + kUpper, l2 = l3 + VTTM_PAGE_SIZE, l1 = l2 + VTTM_PAGE_SIZE;
        table(l3)[VTTM_PT_INDEX(kVa, 3)] = entry(l2);
        table(l2)[VTTM_PT_INDEX(kVa, 2)] = entry(l1);
        for (uint64_t va = 0; va < bytes_; va += 2 << 20)
            table(l1)[VTTM_PT_INDEX(kVa + va, 1)] =
                entry(bytes_ + kLeaves + va / (2 << 20) * VTTM_PAGE_SIZE);
        wr64(VTTM_REG_VM_ROOT_LO(0), root());
    }

    uint64_t bytes_;
    Memory ram_;
    Memory vram_;
    std::atomic<uint32_t> interrupts_{0};
    std::unique_ptr<vttm_model, Destroy> model_;
    uint32_t tail_[VTTM_NUM_ENGINES] = {};
    uint64_t seq_ = 0;
};

}  // namespace vttm::model::bench
