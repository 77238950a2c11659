// SPDX-License-Identifier: Apache-2.0
// A fake bus with a model on it and the driver's side of the protocol: page tables, rings, fences.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <thread>

#include "tests/unit/model/fake_bus.h"

namespace vttm::model::test {

// Layout of system memory: fence page, two rings of 4 KiB (or more), tables, then free for tests.
inline constexpr uint64_t kFenceAddr = 0x1000;
inline constexpr uint64_t kResultAddr = 0x2000;
inline constexpr uint64_t kRingAddr[VTTM_NUM_ENGINES] = {0x100000, 0x200000};
inline constexpr uint64_t kTables = 0x300000;
inline constexpr uint64_t kFree = 0x400000;  // 4 MiB: first bus address that tests may use
inline constexpr uint64_t kRamSize = 16ull << 20;
inline constexpr uint64_t kVramSize = 8ull << 20;

struct ModelDelete {
    void operator()(vttm_model* m) const { vttm_model_destroy(m); }
};
using ModelPtr = std::unique_ptr<vttm_model, ModelDelete>;

// Builds page tables with the CPU, as a driver does. Tables come from a bump allocator.
class PageTables {
public:
    PageTables(FakeBus& bus, bool in_vram) : bus_(bus), in_vram_(in_vram) {}

    uint64_t new_root() { return new_table(); }
    void set(uint64_t root, uint64_t va, uint64_t pte) { store(leaf(root, va), pte); }
    uint64_t get(uint64_t root, uint64_t va) {
        return __atomic_load_n(leaf(root, va), __ATOMIC_RELAXED);
    }
    // The entry of @va in the table of @level; tables above are made as needed.
    uint64_t* entry(uint64_t root, uint64_t va, int level) {
        uint64_t e = root;
        for (int l = VTTM_PT_LEVELS - 1;; l--) {
            uint64_t* slot = words(e) + VTTM_PT_INDEX(va, l);
            if (l == level) return slot;
            if (!(*slot & VTTM_PTE_VALID)) store(slot, new_table());
            e = *slot;
        }
    }
    static void store(uint64_t* p, uint64_t v) { __atomic_store_n(p, v, __ATOMIC_RELAXED); }

private:
    uint64_t* leaf(uint64_t root, uint64_t va) { return entry(root, va, 0); }
    uint64_t* words(uint64_t e) {
        uint64_t addr = e & VTTM_PTE_ADDR;
        return reinterpret_cast<uint64_t*>(e & VTTM_PTE_SYSTEM ? bus_.ram(addr) : bus_.vram(addr));
    }
    uint64_t new_table() {
        uint64_t addr = next_;
        next_ += kPage;
        if (in_vram_) return (kVramSize - kPage - addr) | VTTM_PTE_VALID;  // from the end down
        return (kTables + addr) | VTTM_PTE_VALID | VTTM_PTE_SYSTEM;
    }

    FakeBus& bus_;
    bool in_vram_;
    uint64_t next_ = 0;
};

class Machine : public ::testing::Test {
protected:
    explicit Machine(uint32_t tlb_entries = 0) : bus_(kRamSize, kVramSize), tables_(bus_, false) {
        create(tlb_entries);
    }
    ~Machine() override {
        model_.reset();
        EXPECT_EQ(bus_.open_mappings(), 0);
        EXPECT_EQ(bus_.bad_unmaps(), 0);
        EXPECT_EQ(bus_.threads(), 0);
    }

    void create(uint32_t tlb_entries) {
        vttm_model_config c{};
        c.api = VTTM_MODEL_API;
        c.tlb_entries = tlb_entries;
        c.vram = bus_.vram();
        c.vram_size = kVramSize;
        c.vram_visible = kVramSize;
        char err[256] = "";
        const vttm_model_ops ops = bus_.ops();
        model_.reset(vttm_model_create(&c, &ops, &bus_, err, sizeof(err)));
        ASSERT_TRUE(model_) << err;
    }

    // --- Registers
    uint32_t rd(uint32_t off) { return uint32_t(vttm_model_mmio_read(model_.get(), off, 4)); }
    uint64_t rd64(uint32_t off) { return vttm_model_mmio_read(model_.get(), off, 8); }
    void wr(uint32_t off, uint32_t v) { vttm_model_mmio_write(model_.get(), off, v, 4); }
    void wr64(uint32_t off, uint64_t v) { vttm_model_mmio_write(model_.get(), off, v, 8); }
    uint32_t eng(unsigned e, uint32_t off) { return rd(VTTM_ENGINE_BASE(e) + off); }
    void eng_wr(unsigned e, uint32_t off, uint32_t v) { wr(VTTM_ENGINE_BASE(e) + off, v); }

    template <typename Cond>
    static bool wait_for(Cond cond) {
        const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        while (!cond()) {
            if (std::chrono::steady_clock::now() > end) return false;
            std::this_thread::sleep_for(std::chrono::microseconds(50));
        }
        return true;
    }

    // --- Rings
    void setup_ring(unsigned e, uint32_t size = VTTM_RING_MIN_SIZE) {
        wr64(VTTM_ENGINE_BASE(e) + VTTM_ENG_RING_BASE_LO, kRingAddr[e]);
        eng_wr(e, VTTM_ENG_RING_SIZE, size);
        eng_wr(e, VTTM_ENG_CTRL, VTTM_ENG_CTRL_ENABLE);
        ring_size_[e] = size;
        tail_[e] = 0;
    }
    // Puts dwords behind the tail; the doorbell comes with ring().
    void put(unsigned e, std::initializer_list<uint32_t> words) {
        put(e, words.begin(), words.size());
    }
    void put(unsigned e, const uint32_t* words, size_t n) {
        for (size_t i = 0; i < n; i++) {
            auto* p = reinterpret_cast<uint32_t*>(bus_.ram(kRingAddr[e] + tail_[e]));
            __atomic_store_n(p, words[i], __ATOMIC_RELAXED);
            tail_[e] = (tail_[e] + 4) & (ring_size_[e] - 1);
        }
    }
    template <typename T>
    void put_packet(unsigned e, const T& packet) {
        uint32_t words[sizeof(T) / 4];
        std::memcpy(words, &packet, sizeof(T));
        put(e, words, sizeof(T) / 4);
    }
    void ring(unsigned e) { eng_wr(e, VTTM_ENG_TAIL, tail_[e]); }
    bool wait_idle(unsigned e) {
        return wait_for([&] { return eng(e, VTTM_ENG_STATUS) & VTTM_ENG_STATUS_IDLE; });
    }
    void reset_engine(unsigned e) {
        eng_wr(e, VTTM_ENG_CTRL, VTTM_ENG_CTRL_RESET);
        ASSERT_TRUE(
            wait_for([&] { return !(eng(e, VTTM_ENG_STATUS) & VTTM_ENG_STATUS_RESETTING); }));
        setup_ring(e, ring_size_[e]);
    }

    // --- Packets
    void put_set_vm(unsigned e, uint32_t vm) {
        put_packet(e, vttm_pkt_set_vm{VTTM_PKT_HDR(VTTM_OP_SET_VM, 0, 2), vm});
    }
    void put_fence(unsigned e, uint64_t seq, bool irq = true, uint64_t addr = kFenceAddr) {
        put_packet(e, vttm_pkt_fence{
                          VTTM_PKT_HDR(VTTM_OP_FENCE, irq ? VTTM_PKT_FLAG_IRQ : 0, 5), lo(addr),
                          hi(addr), lo(seq), hi(seq)});
    }
    static vttm_pkt_copy copy_packet(uint32_t dst_space, uint64_t dst, uint32_t src_space,
                                     uint64_t src, uint64_t len) {
        return {VTTM_PKT_HDR(VTTM_OP_COPY, VTTM_PKT_DST(dst_space) | VTTM_PKT_SRC(src_space), 7),
                lo(dst), hi(dst), lo(src), hi(src), lo(len), hi(len)};
    }
    static vttm_pkt_fill fill_packet(uint32_t space, uint64_t dst, uint64_t len, uint32_t value) {
        return {VTTM_PKT_HDR(VTTM_OP_FILL, VTTM_PKT_DST(space), 6), lo(dst), hi(dst), lo(len),
                hi(len), value};
    }
    static vttm_pkt_stamp stamp_packet(bool verify, uint32_t space, uint64_t va, uint32_t npages,
                                       const vttm_stamp_id& id,
                                       uint32_t result_space = VTTM_SPACE_SYSTEM,
                                       uint64_t result = kResultAddr) {
        vttm_pkt_stamp p{};
        p.hdr = VTTM_PKT_HDR(verify ? VTTM_OP_STAMP_VERIFY : VTTM_OP_STAMP_WRITE,
                             VTTM_PKT_DST(space) | (verify ? VTTM_PKT_SRC(result_space) : 0), 12);
        p.va_lo = lo(va);
        p.va_hi = hi(va);
        p.npages = npages;
        p.buffer = id.buffer;
        p.generation = id.generation;
        p.page_lo = lo(id.page);
        p.page_hi = hi(id.page);
        p.key_lo = lo(id.key);
        p.key_hi = hi(id.key);
        p.result_lo = verify ? lo(result) : 0;
        p.result_hi = verify ? hi(result) : 0;
        return p;
    }
    static uint32_t lo(uint64_t v) { return static_cast<uint32_t>(v); }
    static uint32_t hi(uint64_t v) { return static_cast<uint32_t>(v >> 32); }

    // Rings the doorbell with a fence behind everything and waits for it; its status.
    uint32_t finish(unsigned e, uint64_t fence_addr = kFenceAddr) {
        const uint64_t seq = ++seq_;
        put_fence(e, seq, false, fence_addr);
        ring(e);
        auto* value = reinterpret_cast<vttm_fence_value*>(bus_.ram(fence_addr));
        const bool ok =
            wait_for([&] { return __atomic_load_n(&value->seq, __ATOMIC_ACQUIRE) == seq; });
        EXPECT_TRUE(ok) << "fence " << seq << " of engine " << e << " did not come";
        return __atomic_load_n(&value->status, __ATOMIC_RELAXED);
    }
    template <typename T>
    uint32_t run(unsigned e, const T& packet) {
        put_packet(e, packet);
        return finish(e);
    }
    vttm_stamp_result result(uint64_t addr = kResultAddr) {
        vttm_stamp_result r;
        std::memcpy(&r, bus_.ram(addr), sizeof(r));
        return r;
    }

    // --- VMs
    uint64_t make_vm(uint32_t vm) {
        const uint64_t root = tables_.new_root();
        wr64(VTTM_REG_VM_ROOT_LO(vm), root);
        return root;
    }
    static uint64_t sys_pte(uint64_t addr, bool write = true) {
        return addr | VTTM_PTE_VALID | VTTM_PTE_SYSTEM | (write ? VTTM_PTE_WRITE : 0);
    }
    static uint64_t vram_pte(uint64_t off, bool write = true) {
        return off | VTTM_PTE_VALID | (write ? VTTM_PTE_WRITE : 0);
    }
    void invalidate(uint32_t scope, uint32_t vm = 0, uint64_t start = 0, uint32_t pages = 0) {
        wr64(VTTM_REG_TLB_INV_START_LO, start);
        wr(VTTM_REG_TLB_INV_PAGES, pages);
        wr(VTTM_REG_TLB_INV_CMD, VTTM_TLB_INV_CMD(scope, vm));
        inv_issued_++;
        ASSERT_TRUE(wait_for([&] { return rd(VTTM_REG_TLB_INV_DONE) == inv_issued_; }));
    }

    uint32_t fault_reason() { return VTTM_FAULT_INFO_REASON(rd(VTTM_REG_FAULT_INFO)); }
    void clear_fault() { wr(VTTM_REG_FAULT_STATUS, VTTM_FAULT_STATUS_VALID); }
    std::string stats() {
        // The time in it goes on, so the next look may be longer.
        std::string s(vttm_model_stats_json(model_.get(), nullptr, 0) + 64, '\0');
        s.resize(vttm_model_stats_json(model_.get(), s.data(), s.size()));
        return s;
    }

    FakeBus bus_;
    PageTables tables_;
    ModelPtr model_;
    uint32_t ring_size_[VTTM_NUM_ENGINES] = {VTTM_RING_MIN_SIZE, VTTM_RING_MIN_SIZE};
    uint32_t tail_[VTTM_NUM_ENGINES] = {};
    uint64_t seq_ = 0;
    uint32_t inv_issued_ = 0;
};

}  // namespace vttm::model::test
