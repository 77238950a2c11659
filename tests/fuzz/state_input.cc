// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/state_input.h"

#include <chrono>
#include <cstring>

#include "protocol/vttm_fault.h"
#include "protocol/vttm_packets.h"
#include "protocol/vttm_pte.h"
#include "tests/fuzz/input.h"

namespace vttm::fuzz {

namespace {

using model::StateBytes;

constexpr uint64_t kRam = 1 << 20, kVram = 4 << 20;
constexpr uint64_t kFence = 0x1000, kRing = 0x8000, kIb = 0x10000, kList = 0x12000;
constexpr uint64_t kTables = 0x20000, kData = 0x40000;
constexpr uint32_t kMissing = 4;  // of the pages that VM 0 maps from 0 on
constexpr uint32_t kVa = kMissing * 4096;

// Packets may be as long as they like.
constexpr std::chrono::microseconds kPatience{500};

// Time stands still: a state is the same whenever it is saved.
uint64_t no_time() { return 1000; }

constexpr uint32_t block(unsigned e, unsigned r, uint32_t off) {
    return VTTM_RING_BLOCK(e, r) + off;
}
constexpr uint64_t ring_addr(unsigned e, unsigned r) { return kRing + (r * 2 + e) * 0x1000; }

StateBytes without_checksum(StateBytes bytes) {
    bytes.resize(bytes.size() - model::kStateChecksum);
    return bytes;
}

}  // namespace

StateTarget::StateTarget() : bus_(kRam, kVram, kRam - 0x10000, 0x10000) {
    vttm_model_config config{};
    config.api = VTTM_MODEL_API;
    config.tlb_entries = 64;
    config.vram = bus_.vram.at();
    config.vram_size = kVram;
    config.vram_visible = kVram;
    device_ = std::make_unique<model::Device>(config, bus_.ops(true), &bus_, model::Clock(no_time));
    device_->pause();
    for (uint32_t off = 0; off < VTTM_REGS_SIZE; off += 4) {
        const uint64_t bad = device_->mmio_read(VTTM_REG_BAD_ACCESS, 4);
        device_->mmio_read(off, 4);
        if (device_->mmio_read(VTTM_REG_BAD_ACCESS, 4) == bad && off != VTTM_REG_TIMESTAMP_LO &&
            off != VTTM_REG_TIMESTAMP_HI)
            offsets_.push_back(off);
    }
    device_->reset();
    clean_ = registers();

    auto* entries = reinterpret_cast<uint64_t*>(bus_.ram.at(kTables));
    const uint64_t table = VTTM_PTE_VALID | VTTM_PTE_SYSTEM;
    for (uint64_t level = 0; level < 3; level++)
        entries[level * 512] = (kTables + (level + 1) * kPage) | table;
    for (uint64_t i = 0; i < 16; i++)
        if (i != kMissing) entries[3 * 512 + i] = (kData + i * kPage) | table | VTTM_PTE_WRITE;
    for (uint64_t i = 0; i < 512; i++) {
        const vttm_sg_entry piece{0x8000 + i * 16, 16, 0};
        std::memcpy(bus_.ram.at(kList + i * sizeof(piece)), &piece, sizeof(piece));
    }

    add_base();
    set_up();
    add_base();

    // Every packet that takes long, in the middle of it.
    const uint32_t m = VTTM_PKT_DST(VTTM_SPACE_VM), list = VTTM_PKT_LIST(VTTM_SPACE_SYSTEM);
    const uint32_t below = kVa - 0x1800;
    put(0, 0, {VTTM_PKT_HDR(VTTM_OP_FILL, m, 6), below, 0, 0x3000, 0, 7});
    put(0, 1, {VTTM_PKT_HDR(VTTM_OP_COPY_2D, m, 9), below, 0, 0x8000, 0, 300, 400, 256, 40});
    put(0, 2, {VTTM_PKT_HDR(VTTM_OP_SCATTER, m, 6), 0x6000, 0, kVa - 160, 0, 400});
    put(0, 3, {VTTM_PKT_HDR(VTTM_OP_GATHER, m | list, 6), kVa - 160, 0, kList, 0, 400});
    put(1, 0,
        {VTTM_PKT_HDR(VTTM_OP_STAMP_WRITE, m, 12), below & ~0xfffu, 0, 5, 1, 1, 0, 0, 1, 0, 0, 0});
    put(1, 1,
        {VTTM_PKT_HDR(VTTM_OP_STAMP_VERIFY, m, 12), below & ~0xfffu, 0, 5, 1, 2, 3, 0, 1, 0, 64,
         0});
    put(1, 2, {VTTM_PKT_HDR(VTTM_OP_HASH, m, 9), below + 5, 0, 0x3000, 0, 9, 0, 64, 0});
    put(1, 3, {VTTM_PKT_HDR(VTTM_OP_SEM_WAIT, m, 6), 0x5000, 0, 77, 0, VTTM_CMP_EQ});
    work(std::chrono::seconds(20));
    add_base();

    // Results that have nowhere to go; a skip, in a buffer within a buffer; a ring that halts, one
    // that has failed, and an answer that is not obeyed yet.
    set_up();
    const uint32_t inner[] = {VTTM_PKT_HDR(VTTM_OP_COND_SKIP, m, 9),
                              kVa,
                              0,
                              0,
                              0,
                              0,
                              0,
                              VTTM_CMP_EQ,
                              2,
                              VTTM_PKT_HDR(VTTM_OP_NOP, 0, 1),
                              VTTM_PKT_HDR(VTTM_OP_NOP, 0, 1)};
    const uint32_t outer[] = {
        VTTM_PKT_HDR(VTTM_OP_INDIRECT, VTTM_PKT_DST(VTTM_SPACE_SYSTEM) | VTTM_PKT_FLAG_UNPRIVILEGED,
                     4),
        kIb + 0x100, 0, 11, VTTM_PKT_HDR(VTTM_OP_NOP, 0, 1)};
    std::memcpy(bus_.ram.at(kIb + 0x100), inner, sizeof(inner));
    std::memcpy(bus_.ram.at(kIb), outer, sizeof(outer));
    put(0, 0, {VTTM_PKT_HDR(VTTM_OP_INDIRECT, VTTM_PKT_DST(VTTM_SPACE_SYSTEM), 4), kIb, 0, 5});
    put(0, 1, {0xdeadbeef});
    put(0, 2, {VTTM_PKT_HDR(VTTM_OP_FILL, VTTM_PKT_DST(VTTM_SPACE_VRAM), 6), kVram, 0, 64, 0, 1});
    put(0, 3, {VTTM_PKT_HDR(VTTM_OP_COPY, m, 7), 0x6003, 0, kVa - 77, 0, 0x200, 0});
    put(1, 0, {VTTM_PKT_HDR(VTTM_OP_STAMP_VERIFY, m, 12), 0, 0, 3, 1, 2, 3, 0, 1, 0, kVa, 0});
    put(1, 1, {VTTM_PKT_HDR(VTTM_OP_HASH, m, 9), 5, 0, 0x300, 0, 9, 0, kVa, 0});
    put(1, 2, {VTTM_PKT_HDR(VTTM_OP_INDIRECT, m, 4), kVa, 0, 5});
    work(std::chrono::seconds(20));
    wr(block(0, 3, VTTM_ENG_ANSWER), VTTM_ENG_ANSWER_VAL(1, VTTM_ENG_ANSWER_FAIL));
    device_->vram_balloon().set_target(2 << 20);
    wr(VTTM_REG_VRAM_LIMIT_LO, 2 << 20, 8);
    add_base();
    bus_.check_and_clear();
    bus_.ram.keep();
    bus_.vram.keep();
}

void StateTarget::put(unsigned e, unsigned r, std::initializer_list<uint32_t> words) {
    std::vector<uint32_t> all{VTTM_PKT_HDR(VTTM_OP_SET_VM, 0, 2), 0};
    all.insert(all.end(), words);
    std::memcpy(bus_.ram.at(ring_addr(e, r)), all.data(), all.size() * 4);
    wr(block(e, r, VTTM_ENG_TAIL), all.size() * 4);
}

// One engine after the other: the bus is not made for two.
void StateTarget::work(std::chrono::microseconds each) {
    for (unsigned e = 0; e < VTTM_NUM_ENGINES; e++) {
        device_->engine(e).resume();
        device_->engine(e).wait_at_rest(std::chrono::steady_clock::now() + each);
        device_->engine(e).pause();
    }
}

void StateTarget::set_up() {
    device_->reset();
    for (unsigned e = 0; e < VTTM_NUM_ENGINES; e++)
        for (unsigned r = 0; r < VTTM_NUM_RINGS; r++) {
            wr(block(e, r, VTTM_ENG_RING_BASE_LO), ring_addr(e, r), 8);
            wr(block(e, r, VTTM_ENG_RING_SIZE), VTTM_RING_MIN_SIZE);
            wr(block(e, r, VTTM_ENG_PRIORITY), r);
            wr(block(e, r, VTTM_ENG_CTRL), VTTM_ENG_CTRL_ENABLE);
        }
    wr(VTTM_REG_FAULT_RING_BASE_LO, 0x18000, 8);
    wr(VTTM_REG_FAULT_RING_SIZE, VTTM_FAULT_RING_MIN_SIZE);
    wr(VTTM_REG_FAULT_RING_CTRL, VTTM_FAULT_RING_CTRL_ENABLE);
    wr(VTTM_REG_VM_ROOT_LO(0), kTables | VTTM_PTE_VALID | VTTM_PTE_SYSTEM, 8);
    wr(VTTM_REG_VM_MODE(0), VTTM_VM_MODE_RETRY);
}

void StateTarget::add_base() { bases_.push_back(device_->save()); }

uint64_t StateTarget::registers() {
    uint64_t hash = 0;
    for (uint32_t off : offsets_) hash = mix(hash, device_->mmio_read(off, 4));
    return hash;
}

std::string StateTarget::load(const StateBytes& bytes, std::string& refusal, bool thorough) {
    const StateBytes before = device_->save();
    refusal.clear();
    try {
        device_->restore(bytes);
    } catch (const model::StateError& e) {
        refusal = e.what();
        return device_->save() == before ? "" : "a state was refused, and something has changed";
    }
    if (without_checksum(device_->save()) != without_checksum(bytes))
        return "a state was taken, and is another one when it is saved again";
    return prove(thorough);
}

// The engines go on with what they were given, for a while; then the device is one as ever.
std::string StateTarget::prove(bool thorough) {
    if (thorough) work(kPatience);
    for (unsigned r = 0; r < VTTM_NUM_RINGS; r++)
        for (unsigned e = 0; e < VTTM_NUM_ENGINES; e++) {
            const auto stall = device_->mmio_read(block(e, r, VTTM_ENG_STALL), 4);
            wr(block(e, r, VTTM_ENG_ANSWER),
               VTTM_ENG_ANSWER_VAL(stall, r % 2 ? VTTM_ENG_ANSWER_FAIL : VTTM_ENG_ANSWER_RETRY));
        }
    if (thorough) work(kPatience);
    device_->vram_balloon().set_target(kVram);
    device_->reset();
    device_->set_vram_visible(kVram);
    if (registers() != clean_) return "the registers are not what they are after power-on";
    const std::string wrong = bus_.check_and_clear();
    bus_.ram.restore();
    bus_.vram.restore();
    return wrong;
}

std::string run_state_input(const uint8_t* data, size_t size) {
    static StateTarget target;
    Input in(data, size);
    StateBytes bytes = target.bases()[in.u8() % target.bases().size()];
    while (!in.empty()) {
        const uint32_t at = in.u8() | uint32_t{in.u8()} << 8;
        bytes[at % bytes.size()] = in.u8();
    }
    model::seal_state(bytes);
    std::string refusal;
    return target.load(bytes, refusal);
}

}  // namespace vttm::fuzz
