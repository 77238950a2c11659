// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/model_input.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>

#include "protocol/vttm_fault.h"
#include "protocol/vttm_packets.h"
#include "tests/fuzz/arena.h"
#include "tests/fuzz/input.h"

namespace vttm::fuzz {

namespace {

class Attack {
public:
    Attack(Arena& arena, const uint8_t* data, size_t size) : arena_(arena), in_(data, size) {}

    std::string run(bool thorough) {
        arena_.begin([this] { meddle(); });
        while (!in_.empty()) step();
        return arena_.end(thorough);
    }

private:
    void wr(uint64_t off, uint64_t v, unsigned size = 4) { arena_.wr(off, v, size); }
    uint64_t rd(uint64_t off, unsigned size = 4) { return arena_.rd(off, size); }
    void poke(uint64_t addr, const void* bytes, size_t n) { arena_.poke(addr, bytes, n); }
    void put(unsigned e, const uint32_t* words, size_t n) { arena_.put(e, words, n); }

    // Numbers that are more often near something than not.
    uint64_t address() {
        switch (in_.u8() % 12) {
            case 0:
                return in_.u64();
            case 1:
                return ~0ull - in_.u8();
            case 2:
                return (1ull << 48) - in_.u8() * 16;
            case 3:
                return kVram - in_.u8() * 16;
            case 4:
                return kRam - in_.u8() * 16;
            case 5:
                return kHole + (in_.u8() - 128) * 64;
            case 6:
                return kData + in_.below(64) * kPage;
            case 7:
            case 8:
                return in_.u8() % 8 * kPage;  // often the same pages: the TLB has them
            default: {
                const uint64_t page = in_.below(256) * kPage;
                return page + (in_.u8() % 4 ? 0 : in_.u8());
            }
        }
    }
    uint64_t length() {
        switch (in_.u8() % 6) {
            case 0:
                return in_.u64();
            case 1:
                return (1ull << 32) - in_.u8();
            case 2:
                return in_.u8();
            default: {
                const uint64_t pages = in_.below(64) * kPage;
                return pages + (in_.u8() % 4 ? 0 : in_.u8());
            }
        }
    }

    void put_set_vm(unsigned e, uint32_t vm) {
        const uint32_t words[] = {VTTM_PKT_HDR(VTTM_OP_SET_VM, 0, 2), vm};
        put(e, words, std::size(words));
    }
    void put_fence(unsigned e, uint32_t seq) {
        const uint32_t words[] = {VTTM_PKT_HDR(VTTM_OP_FENCE, VTTM_PKT_FLAG_IRQ, 5), kFence, 0, seq,
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
                      {VTTM_OP_STAMP_VERIFY, 12, 1}};
        const auto& k = kKinds[in_.u8() % std::size(kKinds)];
        const unsigned e = k.engine < 2 ? k.engine : in_.u8() % 2;
        std::array<uint32_t, 12> w{};
        auto put64 = [&](size_t i, uint64_t v) {
            w[i] = static_cast<uint32_t>(v);
            w[i + 1] = static_cast<uint32_t>(v >> 32);
        };
        const uint8_t frame = in_.u8();
        // Every other packet is sound in itself, so that it is the tables and the TLB that matter.
        const bool sane = frame & 0x40;
        const uint8_t odd = sane ? 128 : in_.u8();
        auto address = [&] { return sane ? near_page() : this->address(); };
        auto length = [&] { return sane ? (1 + in_.u8() % 8) * kPage : this->length(); };
        if (frame & 3) put_set_vm(e, frame >> 2 & (sane ? 1 : 3));
        uint32_t flags = in_.u8();
        if (sane)
            flags = k.op < VTTM_OP_COPY ? 0 : VTTM_PKT_SRC(VTTM_SPACE_VRAM);  // the rest: VM, 0
        else if (odd >= 8)
            flags &= 0x0f;
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
            default:
                break;
        }
        put(e, w.data(), k.dwords);
        if (frame & 0x30) put_fence(e, frame);
        ring(e, arena_.tail(e));
    }

    uint64_t table_entry() {
        const uint8_t kind = in_.u8();
        uint64_t e = VTTM_PTE_VALID | (kind & 1 ? VTTM_PTE_WRITE : 0);
        if (kind < 160)
            e |= VTTM_PTE_SYSTEM | (kTables + in_.u8() % 16 * kPage);  // loops are welcome
        else if (kind < 240)
            e |= (address() & VTTM_PTE_ADDR) | (kind & 2 ? VTTM_PTE_SYSTEM : 0);
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
    uint64_t near_page() {
        const uint64_t page = in_.u8() % 24 * kPage;
        return page + (in_.u8() % 8 ? 0 : 2ull << 20);
    }

    // A register access of any kind.
    void access() {
        static constexpr uint32_t kOffsets[] = {
            VTTM_REG_IRQ_STATUS,         VTTM_REG_IRQ_ENABLE,       VTTM_REG_FAULT_STATUS,
            VTTM_REG_TLB_INV_START_LO,   VTTM_REG_TLB_INV_START_HI, VTTM_REG_TLB_INV_PAGES,
            VTTM_REG_TLB_INV_CMD,        VTTM_REG_VM_ROOT_LO(0),    VTTM_REG_VM_ROOT_HI(1),
            VTTM_REG_FAULT_RING_BASE_LO, VTTM_REG_FAULT_RING_SIZE,  VTTM_REG_FAULT_RING_CTRL,
            VTTM_REG_FAULT_RING_GET};
        const uint8_t how = in_.u8();
        const unsigned size = 1u << (how >> 2 & 3);
        switch (how % 4) {
            case 0: {
                const uint32_t off = in_.u32() % (VTTM_REGS_SIZE + 16);
                wr(off, in_.u64(), size);
                break;
            }
            case 1:
                rd(in_.u32() % (VTTM_REGS_SIZE + 16), size);
                break;
            case 2: {
                const uint32_t off = kOffsets[in_.u8() % std::size(kOffsets)];
                wr(off, in_.u64(), how & 4 ? 4 : 8);
                break;
            }
            default: {
                const uint32_t off = eng(how >> 4 & 1, in_.u8() & 0x7c);
                wr(off, in_.u32());
                break;
            }
        }
    }

    void poke_entry() {
        const uint64_t index = in_.u8() % 2 ? in_.u8() % 8 : in_.below(512);
        const uint64_t at = kTables + in_.u8() % 16 * kPage + index * 8;
        const uint64_t entry = table_entry();
        poke(at, &entry, 8);
    }

    // A whole table at once, so that ranges of pages are mapped.
    void poke_table() {
        std::array<uint64_t, 512> table;
        const uint64_t first = table_entry(), stride = in_.u8() % 4 * kPage;
        for (size_t i = 0; i < table.size(); i++) table[i] = first + i * stride;
        poke(kTables + in_.u8() % 16 * kPage, table.data(), sizeof(table));
    }

    void invalidate() {
        if (in_.u8() % 2) {
            wr(VTTM_REG_TLB_INV_START_LO, near_page(), 8);
            wr(VTTM_REG_TLB_INV_PAGES, in_.u8() % 40);
        }
        const uint32_t scope = in_.u8() % 4;
        wr(VTTM_REG_TLB_INV_CMD, VTTM_TLB_INV_CMD(scope, in_.u8() % 4u));
    }

    void step() {
        const unsigned e = in_.u8() % 2;
        switch (in_.u8() % 16) {
            case 0:
            case 1:
            case 2:
                access();
                break;
            case 3:
                // The next callbacks find the guest at work, too.
                meddle_in_ = 1 + in_.u8() % 8;
                meddle_steps_ = 1 + in_.u8() % 4;
                break;
            case 4:
                if (in_.u8() % 4 == 0) {
                    const uint32_t vm = in_.u8() % 4;
                    wr(VTTM_REG_VM_ROOT_LO(vm), table_entry(), 8);
                }
                break;
            case 5:
                arena_.setup();
                break;
            case 6:
                poke_entry();
                break;
            case 7:
                poke_table();
                break;
            case 8:
                ring(e, in_.u8() % 8 ? arena_.tail(e) : in_.u32());
                break;
            case 9:
                invalidate();
                break;
            case 10:
                if (in_.u8() % 4 == 0) control();
                break;
            case 11:
                switch (in_.u8() % 4) {
                    case 0:
                        fault_ring();
                        break;
                    case 1: {
                        const uint32_t vm = in_.u8() % 4;
                        wr(VTTM_REG_VM_MODE(vm), in_.u8() % 4);
                        answer(e);
                        break;
                    }
                    default:
                        poke_64k();
                        break;
                }
                break;
            default:
                packet();
                break;
        }
    }

    // What a guest does while an engine works: it need not wait for it.
    void meddle() {
        if (!meddle_steps_ || --meddle_in_) return;
        meddle_steps_--;
        meddle_in_ = 1;
        switch (in_.u8() % 8) {
            case 0:
            case 1:
                access();
                break;
            case 2:
                poke_entry();
                break;
            case 3:
                poke_64k();
                break;
            case 4:
                invalidate();
                break;
            case 5:
                fault_ring();
                break;
            case 6:
                wr(eng(in_.u8() % 2, VTTM_ENG_CTRL), in_.u8() % 4);
                break;
            default:
                if (in_.u8() % 4 == 0) wr(VTTM_REG_DEV_CTRL, VTTM_DEV_CTRL_RESET);
                break;
        }
    }

    // Moves the fault ring, reads it, or lets it overflow; by right means and by wrong ones.
    void fault_ring() {
        const uint8_t how = in_.u8();
        if (how & 1) wr(VTTM_REG_FAULT_RING_CTRL, 0);
        if (how & 2) wr(VTTM_REG_FAULT_RING_BASE_LO, address(), 8);
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

    // Rings, answers the engine if it stalls, and revives it if it has halted.
    void ring(unsigned e, uint32_t tail) {
        wr(eng(e, VTTM_ENG_TAIL), tail);
        if (arena_.paused()) return;
        for (int i = 0; i < 20; i++) {
            const uint64_t status = rd(eng(e, VTTM_ENG_STATUS));
            if (status & VTTM_ENG_STATUS_HALTED) {
                wr(eng(e, VTTM_ENG_CTRL), VTTM_ENG_CTRL_RESET);
                arena_.setup_ring(e);
            }
            if (!(status & VTTM_ENG_STATUS_STALLED)) return;
            answer(e);
            if (in_.u8() % 4 == 0) return;  // let it wait
        }
    }

    void control() {
        switch (in_.u8() % 8) {
            case 0:
                arena_.reset();
                arena_.setup();
                break;
            case 1:
                wr(VTTM_REG_DEV_CTRL, VTTM_DEV_CTRL_RESET);
                arena_.setup();
                break;
            case 2:
                if (pauses_ < 3) {
                    arena_.pause();
                    pauses_++;
                }
                break;
            case 3:
            case 4:
                if (pauses_) {
                    pauses_--;
                    arena_.resume();
                }
                break;
            case 5:
                arena_.stats();
                break;
            case 6:
                arena_.limit_mappings(in_.u8() % 2 ? kPage : 0);
                break;
            default: {
                const unsigned e = in_.u8() % 2;
                wr(eng(e, VTTM_ENG_CTRL), in_.u8() % 4);
                break;
            }
        }
    }

    Arena& arena_;
    Input in_;
    unsigned pauses_ = 0;
    unsigned meddle_in_ = 0;
    unsigned meddle_steps_ = 0;
};

// Number of entries of the TLB: one that is always full, one that is seldom, one that never is.
constexpr uint32_t kTlbs[] = {4, 64, 1 << 16};

Arena& arena(size_t which) {
    static std::array<std::unique_ptr<Arena>, std::size(kTlbs)> arenas;
    if (!arenas[which]) arenas[which] = std::make_unique<Arena>(kTlbs[which]);
    return *arenas[which];
}

}  // namespace

std::string run_model_input(const uint8_t* data, size_t size, bool thorough) {
    const size_t which = size ? data[0] % std::size(kTlbs) : 0;
    return Attack(arena(which), data + !!size, size - !!size).run(thorough);
}

std::string run_model_input_twice(const uint8_t* data, size_t size) {
    Arena& used = arena(std::size(kTlbs) - 1);
    Arena fresh(kTlbs[std::size(kTlbs) - 1]);
    for (Arena* a : {&used, &fresh})
        if (std::string wrong = Attack(*a, data, size).run(true); !wrong.empty()) return wrong;
    if (used.digest() != fresh.digest())
        return "a device that was used and reset does not do what a new one does";
    return {};
}

}  // namespace vttm::fuzz
