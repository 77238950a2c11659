// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/arena.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "host-backend/model/state.h"
#include "protocol/vttm_fault.h"
#include "protocol/vttm_packets.h"

namespace vttm::fuzz {

namespace {

constexpr uint64_t kFirstData = 0x30000;  // RAM from here on, and VRAM, hold a pattern
constexpr uint64_t kProofPages = 8;
constexpr uint64_t kResult = kScratch + VTTM_NUM_RINGS * kProofPages * kPage;
constexpr std::chrono::seconds kRestLimit{20};

// Device time goes on by one with each look: nothing in an input depends on the real one.
std::atomic<uint64_t> device_time{0};
std::atomic<Arena*> at_work{nullptr};

constexpr uint64_t scratch(Lane l) { return kScratch + l.r * kProofPages * kPage; }
constexpr uint32_t proof_pages(bool thorough) { return thorough ? kProofPages : 1; }
constexpr uint64_t result(Lane l) { return kResult + l.r * sizeof(vttm_stamp_result); }

vttm_model_config config_of(FuzzBus& bus, uint32_t tlb_entries) {
    vttm_model_config config{};
    config.api = VTTM_MODEL_API;
    config.tlb_entries = tlb_entries;
    config.vram = bus.vram.at();
    config.vram_size = kVram;
    config.vram_visible = kVram;
    return config;
}

uint32_t lo(uint64_t v) { return static_cast<uint32_t>(v); }
uint32_t hi(uint64_t v) { return static_cast<uint32_t>(v >> 32); }

}  // namespace

Arena::Arena(uint32_t tlb_entries)
    : bus_(kRam, kVram, kHole, kHoleSize),
      device_(config_of(bus_, tlb_entries), bus_.ops(true), &bus_, model::Clock(&Arena::next_time)) {
    for (unsigned e = 0; e < VTTM_NUM_ENGINES; e++) device_.engine(e).pause();
    build_memory();
    for (uint32_t off = 0; off < VTTM_REGS_SIZE; off += 4) {
        const uint64_t bad = rd(VTTM_REG_BAD_ACCESS);
        rd(off);
        if (rd(VTTM_REG_BAD_ACCESS) != bad || off == VTTM_REG_TIMESTAMP_LO ||
            off == VTTM_REG_TIMESTAMP_HI)
            continue;
        offsets_.push_back(off);
    }
    device_.reset();
    clean_registers_ = registers();
    bus_.hook = [this] { called_back(); };
    bus_.vram_end = [this] {
        note_vram_limit();
        return vram_end_;
    };
}

// What a sane driver would start with: every VA of VMs 0..3 leads to some page. The input then
// breaks it, bit by bit.
void Arena::build_memory() {
    for (uint64_t t = 0; t < 16; t++) {
        std::array<uint64_t, 512> table;
        for (uint64_t i = 0; i < table.size(); i++) {
            const uint64_t next = kTables + ((t / 4 + 1) * 4 + (i + t) % 4) * kPage;
            const uint64_t leaf =
                i % 3 ? VTTM_PTE_SYSTEM | (kData + (i * 5 + t) % 64 * kPage) : i * kPage;
            table[i] = VTTM_PTE_VALID | (i % 7 ? VTTM_PTE_WRITE : 0) |
                       (t < 12 ? VTTM_PTE_SYSTEM | next : leaf);
        }
        std::memcpy(bus_.ram.at(kTables + t * kPage), table.data(), sizeof(table));
    }
    const auto pattern = [](WatchedMemory& memory, uint64_t from, uint64_t salt) {
        auto* words = reinterpret_cast<uint64_t*>(memory.at());
        for (uint64_t i = from / 8; i < memory.size() / 8; i++) words[i] = mix(salt, i);
    };
    pattern(bus_.ram, kFirstData, 1);
    pattern(bus_.vram, 0, 2);
    bus_.ram.keep();
    bus_.vram.keep();
}

// --- Registers and memory --------------------------------------------------------------------

void Arena::wr(uint64_t off, uint64_t v, unsigned size) {
    note_vram_limit();
    device_.mmio_write(off, v, size);
    note_vram_limit();
    if (!in_hook_) settle();
}

uint64_t Arena::rd(uint64_t off, unsigned size) {
    const uint64_t v = device_.mmio_read(off, size);
    seen_ = mix(seen_, v);
    return v;
}

void Arena::settle() {
    if (paused_) return;
    for (bool any = true; any;) {
        any = false;
        for (unsigned e = 0; e < VTTM_NUM_ENGINES; e++) {
            if (!device_.engine(e).has_work()) continue;
            work(e);
            any = true;
        }
    }
}

// The turn of engine @e, until it has nothing to do.
void Arena::work(unsigned e) {
    model::Engine& engine = device_.engine(e);
    engine_ = e;
    callbacks_ = turns_ = 0;
    vram_end_ = 0;
    note_vram_limit();
    at_work = this;
    engine.resume();
    if (!engine.wait_at_rest(std::chrono::steady_clock::now() + kRestLimit)) {
        std::fputs("model fuzz: an engine does not come to rest\n", stderr);
        std::abort();  // nothing could be ended in order
    }
    engine.pause();
    at_work = nullptr;
}

// Not every packet calls back: but all engines look at the clock.
uint64_t Arena::next_time() {
    Arena* a = at_work;
    if (a && !a->in_hook_ && ++a->turns_ == kPatienceTurns) a->lose_patience();
    return device_time.fetch_add(1, std::memory_order_relaxed);
}

void Arena::called_back() {
    if (in_hook_) return;
    in_hook_ = true;
    if (++callbacks_ == kPatience)
        lose_patience();
    else if (hook_)
        hook_();
    in_hook_ = false;
}

// What a hook gives up may still be written by the packet under way.
void Arena::note_vram_limit() {
    vram_end_ = std::max(vram_end_, device_.vram_balloon().limit());
}

void Arena::lose_patience() {
    device_.mmio_write(reg({engine_, 0}, VTTM_ENG_CTRL),
                       VTTM_ENG_CTRL_RESET | VTTM_ENG_CTRL_ENABLE, 4);
    for (unsigned r = 0; r < VTTM_NUM_RINGS; r++) tail_[index({engine_, r})] = 0;
}

void Arena::setup() {
    paused_++;
    for (unsigned i = 0; i < kLanes; i++) setup_ring(lane(i));
    wr(VTTM_REG_FAULT_RING_BASE_LO, kFaultRing, 8);
    wr(VTTM_REG_FAULT_RING_SIZE, VTTM_FAULT_RING_MIN_SIZE);
    wr(VTTM_REG_FAULT_RING_CTRL, VTTM_FAULT_RING_CTRL_ENABLE);
    for (uint32_t vm = 0; vm < kVms; vm++)
        wr(VTTM_REG_VM_ROOT_LO(vm), (kTables + vm * kPage) | VTTM_PTE_VALID | VTTM_PTE_SYSTEM, 8);
    paused_--;
    if (!in_hook_) settle();
}

void Arena::setup_ring(Lane l) {
    wr(reg(l, VTTM_ENG_RING_BASE_LO), ring_addr(l), 8);
    wr(reg(l, VTTM_ENG_RING_SIZE), VTTM_RING_MIN_SIZE);
    wr(reg(l, VTTM_ENG_CTRL), VTTM_ENG_CTRL_ENABLE);
    tail_[index(l)] = 0;
}

void Arena::put(Lane l, const uint32_t* words, size_t n) {
    uint32_t& tail = tail_[index(l)];
    for (size_t i = 0; i < n; i++) {
        poke(ring_addr(l) + tail, &words[i], 4);
        tail = (tail + 4) % VTTM_RING_MIN_SIZE;
    }
}

void Arena::poke(uint64_t addr, const void* bytes, size_t n) {
    if (!n || !bus_.is_ram(addr, n)) return;
    bus_.ram.touch(addr, n);
    std::memcpy(bus_.ram.at(addr), bytes, n);
}

void Arena::poke_vram(uint64_t offset, const void* bytes, size_t n) {
    if (!n || offset > kVram || n > kVram - offset) return;
    bus_.vram.touch(offset, n);
    std::memcpy(bus_.vram.at(offset), bytes, n);
}

void Arena::reset() {
    device_.reset();
    settle();
}

void Arena::set_fault_plan(const std::string& text) {
    device_.set_fault_plan(text);
    faults_ = true;
    settle();
}

void Arena::pause() {
    device_.pause();
    paused_++;
}

void Arena::resume() {
    paused_--;
    device_.resume();
    settle();
}

// --- Begin and end ----------------------------------------------------------------------------

void Arena::begin(std::function<void()> hook) {
    device_time = 0;
    seen_ = 0;
    setup();
    hook_ = std::move(hook);
}

uint64_t Arena::registers() const {
    uint64_t hash = 0;
    for (uint32_t off : offsets_) hash = mix(hash, device_.mmio_read(off, 4));
    return hash;
}

// Whatever state the input has led to: it can be saved and loaded, and is the same then. The device is paused, as each
// look at our clock is a tick, and no engine may take one meanwhile.
std::string Arena::move() {
    const auto same = [](const model::StateBytes& a, const model::StateBytes& b) {
        return a.size() == b.size() && std::equal(a.begin(), a.end() - model::kStateChecksum, b.begin());
    };
    try {
        const uint64_t now = device_time;
        const model::StateBytes bytes = device_.save();
        device_time = now;
        device_.restore(bytes);
        device_time = now;
        // A load may take ticks, to check packets under way, and the clock is behind by these then. With as many taken back
        // it goes on where it was, as it has to for the next input.
        uint64_t time = 0;
        std::memcpy(&time, device_.save().data() + model::kStateTime, sizeof(time));
        device_time = time;
        device_.restore(bytes);
        device_time = now;
        if (!same(device_.save(), bytes)) return "a loaded device is not the one that was saved";
        return {};
    } catch (const model::StateError& e) {
        return e.what();
    }
}

std::string Arena::end(bool thorough) {
    hook_ = nullptr;
    while (paused_) resume();
    if (faults_) set_fault_plan("");  // a device that was removed is there again
    device_.pause();
    std::string moved = move();
    device_.resume();
    // What is late is nothing that can be saved.
    if (std::exchange(faults_, false) && moved.starts_with("a fault that the host ordered is still"))
        moved.clear();
    set_vram_target(kVram);  // the host's: a reset leaves it
    reset();
    digest_ = mix(seen_, bus_.events());
    if (thorough) digest_ = mix(mix(digest_, bus_.ram.digest()), bus_.vram.digest());
    std::string wrong = bus_.check_and_clear();
    if (wrong.empty()) wrong = moved;
    bus_.ram.restore();
    bus_.vram.restore();
    if (wrong.empty() && registers() != clean_registers_)
        wrong = "the registers are not what they are after power-on";
    if (wrong.empty()) wrong = revive(thorough);
    reset();
    bus_.check_and_clear();
    bus_.ram.restore();
    bus_.vram.restore();
    return wrong;
}

// Whatever happened: after a reset all rings do their work, by the tables that there are now.
std::string Arena::revive(bool thorough) {
    std::string wrong;
    inputs_++;
    setup();
    for (uint32_t vm = 0; vm < kVms && wrong.empty(); vm++)
        if (thorough || vm == inputs_ % kVms) wrong = prove_rings(vm, thorough);
    if (wrong.empty() && rd(VTTM_REG_STALE_COUNT))
        wrong = "a translation of before the reset was used";
    if (wrong.empty() && rd(VTTM_REG_BAD_ACCESS)) wrong = "a sound access was refused";
    if (wrong.empty()) wrong = bus_.check_and_clear();
    if (wrong.empty() && thorough) {
        bus_.ram.restore();
        bus_.vram.restore();
        if (!bus_.ram.is_golden()) wrong = "RAM was written without a mapping for it";
        if (!bus_.vram.is_golden()) wrong = "VRAM was written and vram_dirty did not tell";
    }
    return wrong;
}

// All rings at once. Engine 0 copies the first pages of @vm, engine 1 verifies them: in each ring, or
// only in one of each engine and one page, as that takes its time.
std::string Arena::prove_rings(uint32_t vm, bool thorough) {
    const unsigned one = static_cast<unsigned>(inputs_ / kVms % VTTM_NUM_RINGS);
    std::string wrong;
    paused_++;
    for (unsigned i = 0; i < kLanes; i++) {
        put_proof(lane(i), vm, thorough, thorough || lane(i).r == one);
        wr(reg(lane(i), VTTM_ENG_TAIL), tail(lane(i)));
    }
    paused_--;
    settle();
    for (unsigned i = 0; i < kLanes && wrong.empty(); i++)
        wrong = check_proof(lane(i), vm, thorough, thorough || lane(i).r == one);
    return wrong;
}

uint32_t Arena::proof_seq(Lane l, uint32_t vm) { return 0x900d0000 + vm * kLanes + index(l); }

void Arena::put_proof(Lane l, uint32_t vm, bool thorough, bool works) {
    const uint32_t va = thorough ? 0 : static_cast<uint32_t>(inputs_ / kVms % kProofPages * kPage);
    const uint32_t set_vm[] = {VTTM_PKT_HDR(VTTM_OP_SET_VM, 0, 2), vm};
    const uint32_t copy[] = {VTTM_PKT_HDR(VTTM_OP_COPY, VTTM_PKT_DST(VTTM_SPACE_SYSTEM), 7),
                             lo(scratch(l)), hi(scratch(l)), 0, 0, lo(kProofPages * kPage), 0};
    const uint32_t verify[] = {VTTM_PKT_HDR(VTTM_OP_STAMP_VERIFY,
                                            VTTM_PKT_SRC(VTTM_SPACE_SYSTEM), 12),
                               va, 0, proof_pages(thorough), 1, 1, 0, 0, 1, 0, lo(result(l)),
                               hi(result(l))};
    const uint32_t fence[] = {VTTM_PKT_HDR(VTTM_OP_FENCE, VTTM_PKT_FLAG_IRQ, 5), lo(fence_addr(l)),
                              hi(fence_addr(l)), proof_seq(l, vm), 0};
    put(l, set_vm, std::size(set_vm));
    if (works && l.e == VTTM_ENGINE_COPY) put(l, copy, std::size(copy));
    if (works && l.e == VTTM_ENGINE_STAMP) put(l, verify, std::size(verify));
    put(l, fence, std::size(fence));
}

std::string Arena::check_proof(Lane l, uint32_t vm, bool thorough, bool works) {
    const std::string who =
        "after a reset ring " + std::to_string(l.r) + " of engine " + std::to_string(l.e);
    const uint32_t seq = proof_seq(l, vm);
    vttm_fence_value value;
    std::memcpy(&value, bus_.ram.at(fence_addr(l)), sizeof(value));
    if (value.seq != seq || rd(reg(l, VTTM_ENG_LAST_FENCE_LO), 8) != seq)
        return who + " does not come back";
    if (value.status) return who + " fails with reason " + std::to_string(value.status);
    if (!works) return {};
    if (l.e == VTTM_ENGINE_COPY) return check_copy(l, vm);
    vttm_stamp_result verified;
    std::memcpy(&verified, bus_.ram.at(result(l)), sizeof(verified));
    return verified.checked == proof_pages(thorough) ? "" : who + " does not verify all pages";
}

// What was copied is what the tables lead to.
std::string Arena::check_copy(Lane l, uint32_t vm) const {
    for (uint64_t i = 0; i < kProofPages; i++) {
        uint64_t entry = kTables + vm * kPage;
        for (unsigned level = 0; level < VTTM_PT_LEVELS; level++) {
            const uint64_t index = level + 1 < VTTM_PT_LEVELS ? 0 : i;
            std::memcpy(&entry, bus_.ram.at((entry & VTTM_PTE_ADDR) + index * 8), 8);
        }
        const WatchedMemory& memory = entry & VTTM_PTE_SYSTEM ? bus_.ram : bus_.vram;
        if (std::memcmp(bus_.ram.at(scratch(l) + i * kPage), memory.at(entry & VTTM_PTE_ADDR),
                        kPage))
            return "after a reset ring " + std::to_string(l.r) + " copies page " +
                   std::to_string(i) + " of VM " + std::to_string(vm) + " wrongly";
    }
    return {};
}

}  // namespace vttm::fuzz
