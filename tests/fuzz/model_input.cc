// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/model_input.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>

#include "protocol/vttm_fault.h"
#include "tests/fuzz/arena.h"
#include "tests/fuzz/fault_input.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/packet_input.h"

namespace vttm::fuzz {

namespace {

class Attack {
public:
    Attack(Arena& arena, const uint8_t* data, size_t size)
        : arena_(arena), in_(data, size), packets_(arena, in_) {}

    std::string run(bool thorough) {
        arena_.begin([this] { meddle(); });
        while (!in_.empty()) step();
        return arena_.end(thorough);
    }

private:
    void wr(uint64_t off, uint64_t v, unsigned size = 4) { arena_.wr(off, v, size); }
    uint64_t rd(uint64_t off, unsigned size = 4) { return arena_.rd(off, size); }
    void poke(uint64_t addr, const void* bytes, size_t n) { arena_.poke(addr, bytes, n); }
    // The ring of engine @e that the input is at.
    Lane at(unsigned e) const { return {e, ring_}; }

    // Most times in a job of its own.
    void send(const PacketInput::Job& job) {
        const Lane l = at(job.engine);
        arena_.put(l, job.words.data(), job.words.size());
        ring(l, arena_.tail(l));
    }

    uint64_t table_entry() {
        const uint8_t kind = in_.u8();
        uint64_t e = VTTM_PTE_VALID | (kind & 1 ? VTTM_PTE_WRITE : 0);
        if (kind < 160)
            e |= VTTM_PTE_SYSTEM | (kTables + in_.u8() % 16 * kPage);  // loops are welcome
        else if (kind < 240)
            e |= (packets_.address() & VTTM_PTE_ADDR) | (kind & 2 ? VTTM_PTE_SYSTEM : 0);
        else
            e = in_.u64();
        // Large leaves, guards and holes, right and wrong ones.
        const uint8_t odd = in_.u8();
        if (odd < 48) e |= VTTM_PTE_LARGE;
        if (odd < 24) e &= ~((1ull << VTTM_LEAF_2M_SHIFT) - VTTM_PAGE_SIZE);
        if (odd % 16 == 15) e |= VTTM_PTE_NO_ACCESS;
        if (odd % 16 == 14) e &= ~uint64_t{VTTM_PTE_VALID};
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

    // A register access of any kind.
    void access() {
        static constexpr uint32_t kOffsets[] = {
            VTTM_REG_IRQ_STATUS,         VTTM_REG_IRQ_ENABLE,       VTTM_REG_FAULT_STATUS,
            VTTM_REG_TLB_INV_START_LO,   VTTM_REG_TLB_INV_START_HI, VTTM_REG_TLB_INV_PAGES,
            VTTM_REG_TLB_INV_CMD,        VTTM_REG_VM_ROOT_LO(0),    VTTM_REG_VM_ROOT_HI(1),
            VTTM_REG_FAULT_RING_BASE_LO, VTTM_REG_FAULT_RING_SIZE,  VTTM_REG_FAULT_RING_CTRL,
            VTTM_REG_FAULT_RING_GET,     VTTM_REG_VRAM_LIMIT_LO};
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
                const uint32_t off = reg(at(how >> 4 & 1), in_.u8() & 0x7c);
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
            wr(VTTM_REG_TLB_INV_START_LO, packets_.near_page(), 8);
            wr(VTTM_REG_TLB_INV_PAGES, in_.u8() % 40);
        }
        const uint32_t scope = in_.u8() % 4;
        wr(VTTM_REG_TLB_INV_CMD, VTTM_TLB_INV_CMD(scope, in_.u8() % 4u));
    }

    void step() {
        const uint8_t who = in_.u8();
        const unsigned e = who % 2;
        ring_ = who & 0x80 ? who >> 4 & 3 : 0;
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
                ring(at(e), in_.u8() % 8 ? arena_.tail(at(e)) : in_.u32());
                break;
            case 9:
                invalidate();
                break;
            case 10:
                if (in_.u8() % 4 == 0) control();
                break;
            case 11:
                switch (in_.u8() % 8) {
                    case 0:
                        fault_ring();
                        break;
                    case 1: {
                        const uint32_t vm = in_.u8();
                        wr(VTTM_REG_VM_MODE(vm % 4), vm & 8 ? VTTM_VM_MODE_RETRY : in_.u8() % 4);
                        answer(at(e));
                        break;
                    }
                    case 2:
                        wr(reg(at(e), VTTM_ENG_PRIORITY), in_.u8() % (VTTM_PRIORITY_MAX + 2u));
                        break;
                    case 3:
                    case 5:
                        balloon();
                        break;
                    case 4:
                        signal();
                        break;
                    case 6:
                        arena_.set_fault_plan(fault_plan(in_, 3, kVram));
                        break;
                    default:
                        poke_64k();
                        break;
                }
                break;
            case 12:
                send(packets_.buffer());
                break;
            default:
                send(packets_.packet());
                break;
        }
    }

    // What a guest does while an engine works: it need not wait for it.
    void meddle() {
        if (!meddle_steps_ || --meddle_in_) return;
        meddle_steps_--;
        meddle_in_ = 1;
        const uint8_t what = in_.u8();
        if (what & 0x80) ring_ = what >> 4 & 3;
        switch (what % 12) {
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
                reset_ring();
                break;
            case 7:
            case 8:
                send(packets_.packet());  // in another ring, too
                break;
            case 9:
                signal();
                break;
            case 10:
                balloon();
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
        if (how & 2) wr(VTTM_REG_FAULT_RING_BASE_LO, packets_.address(), 8);
        if (how & 4) wr(VTTM_REG_FAULT_RING_SIZE, 1u << in_.u8() % 18);
        if (how & 8) wr(VTTM_REG_FAULT_RING_CTRL, VTTM_FAULT_RING_CTRL_ENABLE);
        const uint32_t put = static_cast<uint32_t>(rd(VTTM_REG_FAULT_RING_PUT));
        wr(VTTM_REG_FAULT_RING_GET, how & 16 ? put : in_.u32());
    }

    void reset_ring() {
        const Lane l = at(in_.u8() % 2);
        wr(reg(l, VTTM_ENG_CTRL), in_.u8() % 8);
    }

    // The host takes VRAM, or gives it back; the guest may obey.
    void balloon() {
        const uint8_t how = in_.u8();
        const uint64_t bytes = how % 3 * uint64_t{VTTM_VRAM_LIMIT_UNIT} + (how >= 0xf0 ? kPage : 0);
        if (how & 8) arena_.set_vram_target(bytes);
        if (how & 16) wr(VTTM_REG_VRAM_LIMIT_LO, bytes, how & 32 ? 4 : 8);
    }

    // What a ring may wait for comes from a CPU, and the ring looks.
    void signal() {
        const uint8_t how = in_.u8();
        const uint64_t value = in_.u8() % 4;
        if (how & 4)
            arena_.poke(kWords + how % 4 * 8, &value, 8);
        else
            arena_.poke_vram(how % 4 * 8, &value, 8);
        for (unsigned i = 0; i < kLanes; i++)
            if (how & 8 || i == (how >> 4) % kLanes) look(lane(i));
    }
    void look(Lane l) { wr(reg(l, VTTM_ENG_TAIL), rd(reg(l, VTTM_ENG_TAIL))); }

    // An answer to a stall: mostly the right one's, mostly one that is defined.
    void answer(Lane l) {
        const uint8_t how = in_.u8();
        uint32_t stall = static_cast<uint32_t>(rd(reg(l, VTTM_ENG_STALL)));
        if (how % 8 == 7) stall += how;
        wr(reg(l, VTTM_ENG_ANSWER), VTTM_ENG_ANSWER_VAL(stall, how / 8u % 4));
    }

    // Rings, answers the ring if it stalls, and revives it if it has halted, or waits for long.
    void ring(Lane l, uint32_t tail) {
        wr(reg(l, VTTM_ENG_TAIL), tail);
        if (arena_.paused()) return;
        for (int i = 0; i < 20; i++) {
            const uint64_t status = rd(reg(l, VTTM_ENG_STATUS));
            if (status & VTTM_ENG_STATUS_HALTED) revive(l);
            if (status & VTTM_ENG_STATUS_WAITING && in_.u8() % 8 == 0) revive(l);
            if (!(rd(reg(l, VTTM_ENG_CTRL)) & VTTM_ENG_CTRL_ENABLE) && in_.u8() % 2) revive(l);
            if (!(status & VTTM_ENG_STATUS_STALLED)) return;
            answer(l);
            if (in_.u8() % 4 == 0) return;  // let it wait
        }
    }
    void revive(Lane l) {
        wr(reg(l, VTTM_ENG_CTRL), VTTM_ENG_CTRL_RING_RESET);
        arena_.setup_ring(l);
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
                // To odd ends of words, too.
                static constexpr uint64_t kLimits[] = {0, kPage, 64, 10};
                arena_.limit_mappings(kLimits[in_.u8() % std::size(kLimits)]);
                break;
            default:
                reset_ring();
                break;
        }
    }

    Arena& arena_;
    Input in_;
    PacketInput packets_;
    unsigned ring_ = 0;  // that the input is at
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
        if (std::string wrong = Attack(*a, data + !!size, size - !!size).run(true); !wrong.empty())
            return wrong;
    if (used.digest() != fresh.digest())
        return "a device that was used and reset does not do what a new one does";
    return {};
}

}  // namespace vttm::fuzz
