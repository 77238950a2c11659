// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/model_input.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

#include "protocol/vttm_fault.h"
#include "tests/unit/model/fake_bus.h"

namespace vttm::fuzz {

namespace {

using model::test::FakeBus;
using model::test::kPage;

constexpr uint64_t kRam = 1 << 20;
constexpr uint64_t kVram = 2 << 20;
constexpr uint64_t kRing = 0x8000;     // a page for each ring of each engine
constexpr uint64_t kFaultRing = 0x14000;
constexpr uint64_t kList = 0x15000;
constexpr uint64_t kIb = 0x16000;  // 4 indirect buffers, a page each
constexpr uint64_t kTables = 0x20000;  // 16 pages: 4 roots, 4 tables each of levels 2, 1 and 0
constexpr uint64_t kData = 0x40000;    // pages that the leaves start with
constexpr uint64_t kHole = 0x80000;    // 64 KiB that are not there
constexpr uint64_t kHoleSize = 0x10000;
constexpr uint8_t kCanary = 0xc5;

// The input, byte by byte; zeroes when it is used up.
class Input {
public:
    Input(const uint8_t* data, size_t size) : data_(data), left_(size) {}
    bool empty() const { return !left_; }
    uint8_t u8() {
        if (!left_) return 0;
        left_--;
        return *data_++;
    }
    uint32_t u32() { return u8() | u8() << 8 | u8() << 16 | static_cast<uint32_t>(u8()) << 24; }
    uint64_t u64() { return u32() | static_cast<uint64_t>(u32()) << 32; }
    uint32_t below(uint32_t n) { return (u8() | u8() << 8) % n; }

    // Numbers that are more often near something than not.
    uint64_t address() {
        switch (u8() % 12) {
            case 0:
                return u64();
            case 1:
                return ~0ull - u8();
            case 2:
                return (1ull << 48) - u8() * 16;
            case 3:
                return kVram - u8() * 16;
            case 4:
                return kRam - u8() * 16;
            case 5:
                return kHole + (u8() - 128) * 64;
            case 6:
                return kData + below(64) * kPage;
            case 7:
            case 8:
                return u8() % 8 * kPage;  // often the same pages: the TLB has them
            default:
                return below(256) * kPage + (u8() % 4 ? 0 : u8());
        }
    }
    uint64_t length() {
        switch (u8() % 6) {
            case 0:
                return u64();
            case 1:
                return (1ull << 32) - u8();
            case 2:
                return u8();
            default:
                return below(64) * kPage + (u8() % 4 ? 0 : u8());
        }
    }

private:
    const uint8_t* data_;
    size_t left_;
};

class Attack {
public:
    Attack(const uint8_t* data, size_t size) : in_(data, size), bus_(kRam, kVram) {
        std::memset(bus_.ram(kHole), kCanary, kHoleSize);
        bus_.add_hole(kHole, kHoleSize);
    }

    std::string run() {
        vttm_model_config config{};
        config.api = VTTM_MODEL_API;
        config.tlb_entries = 1u << in_.u8() % 12;
        config.vram = bus_.vram();
        config.vram_size = kVram;
        config.vram_visible = kVram;
        const vttm_model_ops ops = bus_.ops();
        char err[200];
        model_ = vttm_model_create(&config, &ops, &bus_, err, sizeof(err));
        if (!model_) return std::string("create failed: ") + err;
        build_tables();
        setup();
        while (!in_.empty()) step();
        while (paused_) resume();
        std::string wrong = revive();
        vttm_model_destroy(model_);
        if (!wrong.empty()) return wrong;
        if (bus_.open_mappings()) return "a mapping was left behind";
        if (bus_.bad_unmaps()) return "an unmap did not match its map";
        if (bus_.threads()) return "a worker thread was left behind";
        const uint8_t* hole = bus_.ram(kHole);
        if (!std::all_of(hole, hole + kHoleSize, [](uint8_t b) { return b == kCanary; }))
            return "memory that was not mapped was written";
        return {};
    }

private:
    void wr(uint64_t off, uint64_t v, unsigned size = 4) {
        vttm_model_mmio_write(model_, off, v, size);
    }
    uint64_t rd(uint64_t off, unsigned size = 4) { return vttm_model_mmio_read(model_, off, size); }
    // Registers and memory of the ring of engine @e that the input is at.
    uint32_t eng(unsigned e, uint32_t off) const { return VTTM_RING_BLOCK(e, r_) + off; }
    uint64_t ring_addr(unsigned e) const { return kRing + (e * VTTM_NUM_RINGS + r_) * kPage; }
    void setup_rings(unsigned e) {
        const unsigned now = r_;
        for (r_ = 0; r_ < VTTM_NUM_RINGS; r_++) setup_ring(e);
        r_ = now;
    }

    // What a sane driver would start with: every VA of VMs 0..3 leads to some page. The input
    // then breaks it, bit by bit.
    void build_tables() {
        for (uint64_t t = 0; t < 16; t++) {
            std::array<uint64_t, 512> table;
            for (uint64_t i = 0; i < table.size(); i++) {
                const uint64_t next = kTables + ((t / 4 + 1) * 4 + (i + t) % 4) * kPage;
                const uint64_t leaf =
                    i % 3 ? VTTM_PTE_SYSTEM | (kData + (i * 5 + t) % 64 * kPage) : i * kPage;
                table[i] = VTTM_PTE_VALID | (i % 7 ? VTTM_PTE_WRITE : 0) |
                           (t < 12 ? VTTM_PTE_SYSTEM | next : leaf);
            }
            poke(kTables + t * kPage, table.data(), sizeof(table));
        }
    }

    void setup() {
        for (unsigned e = 0; e < VTTM_NUM_ENGINES; e++) setup_rings(e);
        wr(VTTM_REG_FAULT_RING_BASE_LO, kFaultRing, 8);
        wr(VTTM_REG_FAULT_RING_SIZE, VTTM_FAULT_RING_MIN_SIZE);
        wr(VTTM_REG_FAULT_RING_CTRL, VTTM_FAULT_RING_CTRL_ENABLE);
        for (uint32_t vm = 0; vm < 4; vm++)
            wr(VTTM_REG_VM_ROOT_LO(vm), (kTables + vm * kPage) | VTTM_PTE_VALID | VTTM_PTE_SYSTEM,
               8);
    }

    void setup_ring(unsigned e) {
        wr(eng(e, VTTM_ENG_RING_BASE_LO), ring_addr(e), 8);
        wr(eng(e, VTTM_ENG_RING_SIZE), VTTM_RING_MIN_SIZE);
        wr(eng(e, VTTM_ENG_CTRL), VTTM_ENG_CTRL_ENABLE);
        tail_[e][r_] = 0;
    }

    // RAM is written only while the model stands still: what races is the model, not this program.
    void poke(uint64_t addr, const void* bytes, size_t n) {
        if (!n || addr >= kRam || n > kRam - addr) return;
        if (addr + n > kHole && addr < kHole + kHoleSize) return;
        vttm_model_pause(model_);
        std::memcpy(bus_.ram(addr), bytes, n);
        vttm_model_resume(model_);
    }

    void put(unsigned e, const uint32_t* words, size_t n) {
        if (buffer_) {
            buffer_->insert(buffer_->end(), words, words + n);
            return;
        }
        vttm_model_pause(model_);
        for (size_t i = 0; i < n; i++) {
            std::memcpy(bus_.ram(ring_addr(e) + tail_[e][r_]), &words[i], 4);
            tail_[e][r_] = (tail_[e][r_] + 4) % VTTM_RING_MIN_SIZE;
        }
        vttm_model_resume(model_);
    }

    void put_set_vm(unsigned e, uint32_t vm) {
        const uint32_t words[] = {VTTM_PKT_HDR(VTTM_OP_SET_VM, 0, 2), vm};
        put(e, words, std::size(words));
    }
    void put_fence(unsigned e, uint32_t seq) {
        const uint32_t words[] = {VTTM_PKT_HDR(VTTM_OP_FENCE, VTTM_PKT_FLAG_IRQ, 5), 0x1000, 0, seq,
                                  0};
        put(e, words, std::size(words));
    }

    // A packet with its framing mostly right and its operands often wrong, most times in a job of
    // its own.
    void packet() {
        static constexpr struct {
            uint8_t op, dwords, engine;
        } kKinds[] = {{VTTM_OP_NOP, 1, 2},  {VTTM_OP_SET_VM, 2, 2}, {VTTM_OP_FENCE, 5, 2},
                      {VTTM_OP_COPY, 7, 0}, {VTTM_OP_FILL, 6, 0},   {VTTM_OP_STAMP_WRITE, 12, 1},
                      {VTTM_OP_STAMP_VERIFY, 12, 1},
                      {VTTM_OP_COPY_2D, 9, 0}, {VTTM_OP_FILL_2D, 7, 0}, {VTTM_OP_SCATTER, 6, 0},
                      {VTTM_OP_GATHER, 6, 0},  {VTTM_OP_HASH, 9, 1}, {VTTM_OP_TIMESTAMP, 3, 2},
                      {VTTM_OP_SEM_SIGNAL, 5, 2}, {VTTM_OP_SEM_WAIT, 6, 2},
                      {VTTM_OP_COND_SKIP, 9, 2}, {VTTM_OP_INDIRECT, 4, 2}};
        const auto& k = kKinds[in_.u8() % std::size(kKinds)];
        const unsigned e = buffer_ ? buffer_engine_ : k.engine < 2 ? k.engine : in_.u8() % 2;
        if (k.engine < 2 && k.engine != e) return;
        std::array<uint32_t, 12> w{};
        auto put64 = [&](size_t i, uint64_t v) {
            w[i] = static_cast<uint32_t>(v);
            w[i + 1] = static_cast<uint32_t>(v >> 32);
        };
        const uint8_t frame = in_.u8();
        // Every other packet is sound in itself, so that it is the tables and the TLB that matter.
        const bool sane = frame & 0x40;
        const uint8_t odd = sane ? 128 : in_.u8();
        auto address = [&] { return sane ? near_page() : in_.address(); };
        auto length = [&] { return sane ? (1 + in_.u8() % 8) * kPage : in_.length(); };
        if (frame & 3) put_set_vm(e, frame >> 2 & (sane ? 1 : 3));
        uint32_t flags = in_.u8();
        if (sane)
            flags = k.op < VTTM_OP_COPY ? 0 : VTTM_PKT_SRC(VTTM_SPACE_VRAM);  // the rest: VM, 0
        else if (odd >= 8)
            flags &= k.op == VTTM_OP_SCATTER || k.op == VTTM_OP_GATHER ? 0x3f : 0x0f;
        w[0] = VTTM_PKT_HDR(k.op, flags, k.dwords);
        if (odd == 255) w[0] = in_.u32();
        switch (k.op) {
            case VTTM_OP_SET_VM:
                w[1] = odd < 16 ? in_.u32() : in_.u8() % 4;
                break;
            case VTTM_OP_FENCE:
                w[0] |= VTTM_PKT_HDR(0, VTTM_PKT_FLAG_IRQ, 0);
                put64(1, address());
                put64(3, in_.u8());
                break;
            case VTTM_OP_COPY:
                put64(1, address());
                put64(3, address());
                put64(5, length());
                break;
            case VTTM_OP_FILL:
                put64(1, address());
                put64(3, length());
                w[5] = in_.u32();
                break;
            case VTTM_OP_STAMP_WRITE:
            case VTTM_OP_STAMP_VERIFY:
                put64(1, address());
                w[3] = odd < 32 ? in_.u32() : 1 + in_.u8() % 8;
                w[4] = sane ? 1 : in_.u8();
                w[5] = sane ? 1 : in_.u8();
                put64(6, odd < 16 ? in_.u64() : in_.u8());
                put64(8, 1);
                put64(10, address());
                break;
            case VTTM_OP_COPY_2D:
            case VTTM_OP_FILL_2D: {
                const bool copies = k.op == VTTM_OP_COPY_2D;
                const size_t i = copies ? 6 : 3;  // of the last pitch
                put64(1, address());
                if (copies) put64(3, address());
                if (copies) w[5] = pitch(sane);
                w[i] = pitch(sane);
                w[i + 1] = odd < 16 ? in_.u32() : in_.u8() * 4;
                w[i + 2] = odd < 32 ? in_.u32() : in_.u8();
                break;
            }
            case VTTM_OP_SCATTER:
            case VTTM_OP_GATHER:
                if (sane) flags |= VTTM_PKT_LIST(VTTM_SPACE_SYSTEM);
                w[0] |= VTTM_PKT_HDR(0, flags, 0);
                put64(1, address());
                put64(3, odd < 32 ? in_.address() : kList);
                w[5] = odd < 16 ? in_.u32() : 1 + in_.u8() % 32;
                if (odd >= 32) poke_list(w[5], sane);
                break;
            case VTTM_OP_TIMESTAMP:
            case VTTM_OP_SEM_SIGNAL:
            case VTTM_OP_SEM_WAIT:
            case VTTM_OP_COND_SKIP:
                // Mostly one of a few words, so that what one signals the other waits for.
                put64(1, odd < 64 ? in_.address() : in_.u8() % 4 * 8);
                w[3] = in_.u8() % 4;  // value; 0 for the ring's own sake where there is none
                w[5] = k.op == VTTM_OP_SEM_WAIT ? in_.u8() % 8 : ~0u;  // compare, mask
                w[7] = in_.u8() % 8;                                   // compare
                w[8] = odd < 32 ? in_.u32() : in_.u8() % 16;           // skip
                break;
            case VTTM_OP_INDIRECT:
                // Often one of those that buffer() has written; loops and privileged ones are welcome.
                if (odd >= 32) {
                    w[0] = VTTM_PKT_HDR(k.op, VTTM_PKT_DST(VTTM_SPACE_SYSTEM) | (odd & 16), 4);
                    put64(1, kIb + in_.u8() % 4 * kPage);
                } else {
                    put64(1, in_.address());
                }
                w[3] = odd < 16 ? in_.u32() : in_.u8();
                break;
            case VTTM_OP_HASH:
                put64(1, address());
                put64(3, length());
                put64(5, in_.u8());
                put64(7, sane ? address() : in_.address());
                break;
            default:
                break;
        }
        put(e, w.data(), k.dwords);
        if (frame & 0x30) put_fence(e, frame);
        ring(e, tail_[e][r_]);
    }

    // Some packets into an indirect buffer.
    void buffer() {
        std::vector<uint32_t> words;
        buffer_ = &words;
        buffer_engine_ = in_.u8() % 2;
        for (unsigned n = 1 + in_.u8() % 8; n && !in_.empty(); n--) packet();
        buffer_ = nullptr;
        words.resize(std::min<size_t>(words.size(), kPage / 4));
        const uint64_t at = kIb + in_.u8() % 4 * kPage;
        poke(at, words.data(), words.size() * 4);
        const uint8_t how = in_.u8();
        const uint32_t flags = VTTM_PKT_DST(VTTM_SPACE_SYSTEM) | (how & 16);
        const uint32_t indirect[] = {VTTM_PKT_HDR(VTTM_OP_INDIRECT, flags, 4),
                                     static_cast<uint32_t>(at), 0,
                                     static_cast<uint32_t>(words.size()) + (how % 8 == 7)};
        put(buffer_engine_, indirect, std::size(indirect));
        put_fence(buffer_engine_, how);
        ring(buffer_engine_, tail_[buffer_engine_][r_]);
    }

    uint32_t pitch(bool sane) {
        return sane ? 256 * 4 + in_.u8() * 4 : static_cast<uint32_t>(in_.length());
    }

    // Pieces for SCATTER and GATHER, some of them wrong.
    void poke_list(uint32_t count, bool sane) {
        std::array<vttm_sg_entry, 32> list;
        for (vttm_sg_entry& e : list) {
            e.addr = sane ? near_page() : in_.address();
            e.len = sane ? 1 + in_.u8() * 16 : static_cast<uint32_t>(in_.length());
            e.rsvd = in_.u8() == 255;
        }
        poke(kList, list.data(), std::min<size_t>(count, list.size()) * sizeof(list[0]));
    }

    uint64_t table_entry() {
        const uint8_t kind = in_.u8();
        uint64_t e = VTTM_PTE_VALID | (kind & 1 ? VTTM_PTE_WRITE : 0);
        if (kind < 160)
            e |= VTTM_PTE_SYSTEM | (kTables + in_.u8() % 16 * kPage);  // loops are welcome
        else if (kind < 240)
            e |= (in_.address() & VTTM_PTE_ADDR) | (kind & 2 ? VTTM_PTE_SYSTEM : 0);
        else
            e = in_.u64();
        // Large leaves and guards, right and wrong ones.
        const uint8_t odd = in_.u8();
        if (odd < 48) e |= VTTM_PTE_LARGE;
        if (odd < 24) e &= ~((1ull << VTTM_LEAF_2M_SHIFT) - VTTM_PAGE_SIZE);
        if (odd % 16 == 15) e |= VTTM_PTE_NO_ACCESS;
        return e;
    }

    // Sixteen entries of level 0 that are one leaf of 64 KiB, or nearly so.
    void poke_64k() {
        constexpr uint64_t kPages = 64 / VTTM_LEAF_64K_ENTRIES;
        std::array<uint64_t, VTTM_LEAF_64K_ENTRIES> run;
        const uint8_t how = in_.u8();
        const uint64_t base = kData + how % kPages * sizeof(run) / 8 * kPage;
        const uint64_t flags = VTTM_PTE_VALID | VTTM_PTE_LARGE | (how & 4 ? VTTM_PTE_WRITE : 0) |
                               (how & 8 ? VTTM_PTE_SYSTEM : 0);
        for (uint64_t i = 0; i < run.size(); i++) run[i] = flags | (base + i * kPage);
        if (how & 0x10) run[in_.u8() % run.size()] ^= 1ull << in_.u8() % 64;
        if (how & 0x20)
            for (uint64_t& e : run) e &= ~VTTM_PTE_LARGE;  // split
        const uint64_t table = kTables + (12 + in_.u8() % 4) * kPage;
        poke(table + in_.u8() % 32 * sizeof(run), run.data(), sizeof(run));
    }

    // The address of one of the 16 first pages, or of one that is in another leaf.
    uint64_t near_page() { return in_.u8() % 24 * kPage + (in_.u8() % 8 ? 0 : 2ull << 20); }

    void step() {
        static constexpr uint32_t kOffsets[] = {
            VTTM_REG_IRQ_STATUS,       VTTM_REG_IRQ_ENABLE,       VTTM_REG_FAULT_STATUS,
            VTTM_REG_TLB_INV_START_LO, VTTM_REG_TLB_INV_START_HI, VTTM_REG_TLB_INV_PAGES,
            VTTM_REG_TLB_INV_CMD,      VTTM_REG_VM_ROOT_LO(0),    VTTM_REG_VM_ROOT_HI(1),
            VTTM_REG_FAULT_RING_BASE_LO, VTTM_REG_FAULT_RING_SIZE, VTTM_REG_FAULT_RING_CTRL,
            VTTM_REG_FAULT_RING_GET};
        const uint8_t who = in_.u8();
        const unsigned e = who % 2;
        r_ = who & 0x80 ? who >> 4 & 3 : 0;
        switch (in_.u8() % 16) {
            case 0:
                wr(in_.u32() % (VTTM_REGS_SIZE + 16), in_.u64(), 1u << in_.u8() % 4);
                break;
            case 1:
                rd(in_.u32() % (VTTM_REGS_SIZE + 16), 1u << in_.u8() % 4);
                break;
            case 2:
                wr(kOffsets[in_.u8() % std::size(kOffsets)], in_.u64(), in_.u8() % 2 ? 4 : 8);
                break;
            case 3:
                wr(eng(e, in_.u8() % 18 * 4), in_.u32());
                break;
            case 4:
                if (in_.u8() % 4 == 0) wr(VTTM_REG_VM_ROOT_LO(in_.u8() % 4), table_entry(), 8);
                break;
            case 5:
                setup();
                break;
            case 6: {
                const uint64_t index = in_.u8() % 2 ? in_.u8() % 8 : in_.below(512);
                const uint64_t at = kTables + in_.u8() % 16 * kPage + index * 8;
                const uint64_t entry = table_entry();
                poke(at, &entry, 8);
                break;
            }
            case 7: {
                // A whole table at once, so that ranges of pages are mapped.
                std::array<uint64_t, 512> table;
                const uint64_t first = table_entry(), stride = in_.u8() % 4 * kPage;
                for (size_t i = 0; i < table.size(); i++) table[i] = first + i * stride;
                poke(kTables + in_.u8() % 16 * kPage, table.data(), sizeof(table));
                break;
            }
            case 9:
                if (in_.u8() % 2) {
                    wr(VTTM_REG_TLB_INV_START_LO, near_page(), 8);
                    wr(VTTM_REG_TLB_INV_PAGES, in_.u8() % 40);
                }
                wr(VTTM_REG_TLB_INV_CMD, VTTM_TLB_INV_CMD(in_.u8() % 4u, in_.u8() % 4u));
                break;
            case 11:
                switch (in_.u8() % 4) {
                    case 0:
                        fault_ring();
                        break;
                    case 1:
                        wr(VTTM_REG_VM_MODE(in_.u8() % 4), in_.u8() % 4);
                        answer(e);
                        break;
                    default:
                        poke_64k();
                        break;
                }
                break;
            case 10:
                if (in_.u8() % 4 == 0) control();
                break;
            case 8:
                ring(e, in_.u8() % 8 ? tail_[e][r_] : in_.u32());
                break;
            case 12:
                buffer();
                break;
            default:
                packet();
                break;
        }
    }

    // Moves the fault ring, reads it, or lets it overflow; by right means and by wrong ones.
    void fault_ring() {
        const uint8_t how = in_.u8();
        if (how & 1) wr(VTTM_REG_FAULT_RING_CTRL, 0);
        if (how & 2) wr(VTTM_REG_FAULT_RING_BASE_LO, in_.address(), 8);
        if (how & 4) wr(VTTM_REG_FAULT_RING_SIZE, 1u << in_.u8() % 18);
        if (how & 8) wr(VTTM_REG_FAULT_RING_CTRL, VTTM_FAULT_RING_CTRL_ENABLE);
        const uint32_t put = static_cast<uint32_t>(rd(VTTM_REG_FAULT_RING_PUT));
        wr(VTTM_REG_FAULT_RING_GET, how & 16 ? put : in_.u32());
    }

    // An answer to a stall: mostly the right one's, mostly one that is defined.
    void answer(unsigned e) {
        const uint8_t how = in_.u8();
        uint32_t stall = static_cast<uint32_t>(rd(eng(e, VTTM_ENG_STALL)));
        if (how % 8 == 7) stall += how;
        wr(eng(e, VTTM_ENG_ANSWER), VTTM_ENG_ANSWER_VAL(stall, how / 8u % 4));
    }

    // Rings, gives the engine a moment, and revives it if it has halted.
    void ring(unsigned e, uint32_t tail) {
        if (buffer_) return;
        wr(eng(e, VTTM_ENG_TAIL), tail);
        if (paused_) return;
        for (int i = 0; i < 20; i++) {
            const uint64_t status = rd(eng(e, VTTM_ENG_STATUS));
            if (status & VTTM_ENG_STATUS_IDLE) return;
            if (status & VTTM_ENG_STATUS_STALLED) {
                answer(e);
                if (in_.u8() % 4 == 0) return;  // let it wait
                continue;
            }
            if (status & VTTM_ENG_STATUS_HALTED) {
                wr(eng(e, VTTM_ENG_CTRL), VTTM_ENG_CTRL_RING_RESET);
                setup_ring(e);
                return;
            }
            std::this_thread::yield();
        }
    }

    void control() {
        switch (in_.u8() % 8) {
            case 0:
                vttm_model_reset(model_);
                setup();
                break;
            case 1:
                wr(VTTM_REG_DEV_CTRL, VTTM_DEV_CTRL_RESET);
                setup();  // may come too early and be ignored
                break;
            case 2:
                if (paused_ < 3) {
                    vttm_model_pause(model_);
                    paused_++;
                }
                break;
            case 3:
            case 4:
                if (paused_) resume();
                break;
            case 5:
                vttm_model_stats_json(model_, nullptr, 0);
                break;
            default:
                wr(eng(in_.u8() % 2, VTTM_ENG_CTRL), in_.u8() % 8);
                break;
        }
    }

    void resume() {
        vttm_model_resume(model_);
        paused_--;
    }

    // Whatever happened: after a reset both engines do their work.
    std::string revive() {
        vttm_model_reset(model_);
        if (rd(VTTM_REG_DEV_STATUS) != 0) return "the device is still resetting after a reset";
        for (unsigned e = 0; e < VTTM_NUM_ENGINES; e++) {
            for (r_ = 0; r_ < VTTM_NUM_RINGS; r_++) {
                setup_ring(e);
                put_fence(e, 0x900d + e);
                wr(eng(e, VTTM_ENG_TAIL), tail_[e][r_]);
                const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
                while (rd(eng(e, VTTM_ENG_LAST_FENCE_LO)) != 0x900d + e) {
                    if (std::chrono::steady_clock::now() > end)
                        return "engine " + std::to_string(e) + " does not come back after a reset";
                    std::this_thread::yield();
                }
            }
        }
        return {};
    }

    Input in_;
    FakeBus bus_;
    vttm_model* model_ = nullptr;
    std::vector<uint32_t>* buffer_ = nullptr;  // set: packets go there, not into a ring
    unsigned buffer_engine_ = 0;
    unsigned r_ = 0;
    uint32_t tail_[VTTM_NUM_ENGINES][VTTM_NUM_RINGS] = {};
    unsigned paused_ = 0;
};

}  // namespace

std::string run_model_input(const uint8_t* data, size_t size) { return Attack(data, size).run(); }

}  // namespace vttm::fuzz
