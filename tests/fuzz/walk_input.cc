// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/walk_input.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>

#include "host-backend/model/executor.h"
#include "host-backend/model/fault_lane.h"
#include "host-backend/model/ring.h"
#include "tests/fuzz/fuzz_bus.h"
#include "tests/fuzz/indirect_run.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/reference_packet.h"
#include "tests/fuzz/reference_walk.h"

namespace vttm::fuzz {

namespace {

using namespace vttm::model;

constexpr uint64_t kBytes = 4 << 20;  // of RAM, and of VRAM
constexpr uint64_t kHole = 0x80000;   // 64 KiB that are not there
constexpr uint64_t kHoleSize = 0x10000;
constexpr uint64_t kTables = 8;  // pages 0 to 7 of RAM, and of VRAM; the others are data
constexpr uint32_t kVms = 3;
constexpr int kMaxSteps = 3;

class Bench final : private StaleSink {
public:
    Bench() { keep_golden(); }

    std::string run(const uint8_t* data, size_t size, bool thorough);

private:
    void stale_used(uint64_t, uint32_t, uint64_t, uint64_t) override {}
    void keep_golden();
    void begin();
    std::string end(bool thorough);
    std::string step(Input& in);
    std::string translate(Input& in);
    std::string fetch(Input& in);
    Executor* executor_of(uint32_t op);
    std::string execute(Input& in, const Packet& packet);
    void poke(bool system, uint64_t addr, uint64_t word);
    void poke_table(Input& in);
    void invalidate(Input& in);
    void set_root(Input& in);
    void poison(Input& in);
    std::string indirect(Input& in);
    uint64_t entry(Input& in);
    uint64_t address(Input& in);
    Packet sane_packet(Input& in, vttm_engine_class cls);
    std::optional<uint64_t> read(bool system, uint64_t addr) const;

    FuzzBus memory_{kBytes, kBytes, kHole, kHoleSize};
    const vttm_model_ops ops_ = memory_.ops(true);
    const Bus bus_{ops_, &memory_, memory_.vram.at(), kBytes};
    VmRoots roots_;
    Clock clock_;
    // So large that nothing is evicted: the reference has no limit.
    Mmu mmu_{bus_, 1 << 16};
    Walker walker_{bus_, roots_};
    WitnessLog witness_{bus_};
    ExecContext ctx_{bus_, roots_, clock_, mmu_, witness_, *this, 0, kNoVm};
    std::unique_ptr<Executor> copy_ = make_copy_executor(ctx_);
    std::unique_ptr<Executor> stamp_ = make_stamp_executor(ctx_);
    std::unique_ptr<Executor> hash_ = make_hash_executor(ctx_);
    std::unique_ptr<Executor> sync_ = make_sync_executor(ctx_);
    std::unique_ptr<ReferenceMmu> reference_;
    std::unique_ptr<FaultRecord> record_;
    std::unique_ptr<FaultLane> lane_;
    bool compare_ = true;  // the executors translate, too: from then on the reference is behind
};

std::optional<uint64_t> Bench::read(bool system, uint64_t addr) const {
    if (system ? !memory_.is_ram(addr, 8) : addr > kBytes - 8) return std::nullopt;
    uint64_t word;
    std::memcpy(&word, (system ? memory_.ram : memory_.vram).at(addr), 8);
    return word;
}

void Bench::poke(bool system, uint64_t addr, uint64_t word) {
    if (!read(system, addr)) return;
    WatchedMemory& memory = system ? memory_.ram : memory_.vram;
    memory.touch(addr, 8);
    std::memcpy(memory.at(addr), &word, 8);
}

// Page n of the first eight is a table; 0 and 1 are of level 3, and so on. Every table is reached
// by index 0 of one above.
void Bench::keep_golden() {
    for (uint64_t t = 0; t < kTables; t++) {
        const uint64_t next = t < 6 ? (t + 2) * kPage : 16 * kPage;
        const uint64_t flags = VTTM_PTE_VALID | VTTM_PTE_WRITE | VTTM_PTE_SYSTEM;
        poke(true, t * kPage, next | flags);
    }
    memory_.ram.restore();  // forgets what is dirty ...
    for (uint64_t t = 0; t < kTables; t++) {
        const uint64_t next = t < 6 ? (t + 2) * kPage : 16 * kPage;
        const uint64_t word = next | VTTM_PTE_VALID | VTTM_PTE_WRITE | VTTM_PTE_SYSTEM;
        std::memcpy(memory_.ram.at(t * kPage), &word, 8);
    }
    memory_.ram.keep();
    memory_.vram.keep();
}

void Bench::begin() {
    reference_ = std::make_unique<ReferenceMmu>(
        [this](bool system, uint64_t addr) { return read(system, addr); }, kBytes);
    compare_ = true;
    for (uint32_t vm = 0; vm < 2; vm++) {
        const uint64_t root = vm * kPage | VTTM_PTE_VALID | VTTM_PTE_SYSTEM;
        roots_.set(vm, root);
        reference_->set_root(vm, root);
    }
}

std::string Bench::end(bool thorough) {
    walker_.release();
    witness_.flush();
    mmu_.invalidate(TlbInvalidation());
    roots_.reset();
    faults_ = nullptr;
    lane_.reset();
    record_.reset();
    std::string wrong = memory_.check_and_clear();
    memory_.ram.restore();
    memory_.vram.restore();
    if (thorough && wrong.empty() && !(memory_.ram.is_golden() && memory_.vram.is_golden()))
        wrong = "memory was written and nobody told";
    return wrong;
}

uint64_t Bench::address(Input& in) {
    static constexpr uint64_t kNear[] = {0, kHole, kBytes, 1ull << 48, 1ull << 52, 0};
    const uint8_t how = in.u8();
    if (how < 160) return (how & 31) * kPage;
    if (how < 240) return kNear[how % std::size(kNear)] + (in.u8() - 128) * (how & 1 ? kPage : 8);
    return in.u64();
}

uint64_t Bench::entry(Input& in) {
    const uint8_t flags = in.u8();
    const uint8_t how = in.u8();
    if (how == 255) return in.u64();
    uint64_t at;
    if (how < 128)
        at = how % kTables * kPage;
    else if (how < 160)
        at = (how & 1) * (2ull << 20);
    else
        at = address(in);
    uint64_t e = (at & VTTM_PTE_ADDR) | (flags & VTTM_PTE_FLAGS);
    if (flags & 0x20) e |= VTTM_PTE_VALID;
    if (flags & 0xc0) e &= ~uint64_t{VTTM_PTE_LARGE | VTTM_PTE_NO_ACCESS};  // most are plain
    return e;
}

void Bench::poke_table(Input& in) {
    static constexpr uint64_t kIndexes[] = {0, 1, 2, 15, 16, 17, 32, 511};
    const uint8_t where = in.u8();
    const bool system = !(where & 0x40);
    const uint64_t at = where % kTables * kPage + kIndexes[where >> 3 & 7] * 8;
    const uint64_t e = entry(in);
    if (where & 0x80) {
        // The sixteen entries of a leaf of 64 KiB, or nearly.
        const uint8_t odd = in.u8();
        for (uint64_t i = 0; i < 16; i++) {
            uint64_t word = (e & ~0xf000ull) + i * kPage;
            if (odd < 16 && i == odd) word ^= 1ull << in.u8() % 64;
            poke(system, (at & ~127ull) + i * 8, word);
        }
    } else {
        poke(system, at, e);
    }
}

void Bench::set_root(Input& in) {
    const uint32_t vm = in.u8() % kVms;
    const uint64_t root = entry(in);
    roots_.set(vm, root);
    reference_->set_root(vm, root);
}

// Pages of VRAM that cannot be read, tables among them; or no more of that.
void Bench::poison(Input& in) {
    const uint8_t pages = in.u8();
    std::set<uint64_t> bad;
    FaultPlan plan;
    for (uint64_t i = 0; i < kTables; i++) {
        if (!(pages >> i & 1)) continue;
        // Tables, and one page where buffers are.
        FaultRule rule;
        rule.kind = FaultKind::vram_poison;
        rule.offset = (i ? i : 16) * kPage;
        rule.pages = 1;
        bad.insert(rule.offset);
        plan.rules.push_back(rule);
    }
    faults_ = nullptr;
    lane_.reset();
    record_.reset();
    reference_->poison(bad);
    if (bad.empty()) return;
    record_ = std::make_unique<FaultRecord>(std::move(plan), clock_);
    lane_ = std::make_unique<FaultLane>(*record_, 0, 0);
    faults_ = lane_.get();
}

std::string Bench::indirect(Input& in) {
    walker_.release();
    if (!compare_) {
        // Executors have translated, too: both begin anew.
        mmu_.invalidate(TlbInvalidation());
        reference_->invalidate(TlbInvalidation());
    }
    const auto poke_word = [this](bool system, uint64_t addr, uint32_t word) {
        WatchedMemory& memory = system ? memory_.ram : memory_.vram;
        memory.touch(addr, 4);
        std::memcpy(memory.at(addr), &word, 4);
    };
    return IndirectRun(ctx_, *sync_, *reference_,
                       [this](bool system, uint64_t addr) { return read(system, addr); }, poke_word,
                       kBytes)
        .run(in, compare_);
}

uint64_t va_of(uint8_t how) {
    return (how & 7) * kPage + (how & 8 ? 15 * kPage : 0) + (how & 16 ? 2ull << 20 : 0) +
           (how & 32 ? 1ull << 30 : 0) + (how & 64 ? 1ull << 39 : 0) + (how & 128 ? 64 : 0);
}

void Bench::invalidate(Input& in) {
    TlbInvalidation inv;
    inv.scope = in.u8() % 4;
    inv.vm = in.u8() % (kVms + 1);
    if (inv.vm == kVms) inv.vm = 0xffff;
    inv.start = va_of(in.u8());
    inv.pages = in.u8();
    if (inv.pages > 200) inv.pages = 1ull << inv.pages % 32;
    mmu_.invalidate(inv);
    reference_->invalidate(inv);
}

std::string Bench::translate(Input& in) {
    const uint8_t how = in.u8();
    const uint32_t vm = how % 64 == 63 ? kNoVm : how % kVms;
    const bool write = how & 0x40;
    const uint64_t va = va_of(in.u8());
    const Translation got = mmu_.translate(walker_, vm, va, write, faults_);
    if (how & 0x80) walker_.release();
    if (!compare_) return {};
    const Translation want = reference_->translate(vm, va, write);
    if (got.reason == want.reason && got.stale == want.stale && got.space == want.space &&
        got.phys == want.phys && got.bytes == want.bytes && got.poisoned == want.poisoned)
        return {};
    return "VM " + std::to_string(vm) + " va " + std::to_string(va) + ": reason " +
           std::to_string(got.reason) + "/" + std::to_string(want.reason) + " stale " +
           std::to_string(got.stale) + "/" + std::to_string(want.stale) + " phys " +
           std::to_string(got.phys) + "/" + std::to_string(want.phys) + " bytes " +
           std::to_string(got.bytes) + "/" + std::to_string(want.bytes) + " (got/wanted)";
}

// A ring anywhere with anything in it.
std::string Bench::fetch(Input& in) {
    const uint8_t how = in.u8();
    const vttm_engine_class cls = how & 1 ? VTTM_CLASS_COPY : VTTM_CLASS_STAMP;
    RingState ring;
    ring.base = how & 2 ? 0x40000 : address(in) & ~(kPage - 1);
    ring.size = how & 4 ? VTTM_RING_MIN_SIZE : in.u32() >> in.u8() % 32;
    ring.head = how & 8 ? VTTM_RING_MIN_SIZE - 4 * in.u8() % 64 : in.u32() >> in.u8() % 32;
    const uint32_t words = in.u8() % 16;
    for (uint32_t i = 0; i < words && ring.size; i++) {
        const uint64_t at = ring.base + (ring.head + i * 4) % ring.size;
        uint32_t word = in.u32();
        if (i == 0 && how & 16) {
            const Frame& f = reference_frame(word >> 24);
            word = VTTM_PKT_HDR(f.op, word >> 16 & 0xff, how & 128 ? f.min : words);
        }
        if (!memory_.is_ram(at, 4)) continue;
        memory_.ram.touch(at, 4);
        std::memcpy(memory_.ram.at(at), &word, 4);
    }
    ring.tail = how & 32 ? in.u32() >> in.u8() % 32 : ring.head + words * 4;
    if (how & 64 && ring.size) ring.tail %= ring.size, ring.head %= ring.size;

    Packet packet;
    uint32_t next = 0xdead;
    const Fault fault = fetch_packet(bus_, ring, cls, packet, next);

    // As the protocol has it.
    vttm_fault_reason want = VTTM_FAULT_NONE;
    Fetched reference;
    const bool power = ring.size && !(ring.size & (ring.size - 1));
    if (!power || ring.size < 4096 || ring.size > 1 << 20 || ring.head >= ring.size ||
        ring.tail >= ring.size || ring.head % 4 || ring.tail % 4) {
        want = VTTM_FAULT_BAD_FRAMING;
    } else if (ring.base + (ring.size - 1) < ring.base) {
        want = VTTM_FAULT_BUS;
    } else {
        const uint32_t there = (ring.tail + ring.size - ring.head) % ring.size / 4;
        reference = reference_fetch(cls, there, [&](uint32_t i) -> ReadWord {
            const uint64_t at = ring.base + (ring.head + i * 4) % ring.size;
            if (!memory_.is_ram(at, 4)) return {VTTM_FAULT_BUS};
            ReadWord w;
            std::memcpy(&w.word, memory_.ram.at(at), 4);
            return w;
        });
        want = reference.reason;
    }
    if (fault.reason != want)
        return "fetch: reason " + std::to_string(fault.reason) + ", wanted " + std::to_string(want);
    if (want) return {};
    const uint32_t n = static_cast<uint32_t>(reference.words.size());
    if (!std::equal(reference.words.begin(), reference.words.end(), packet.words.begin()))
        return "fetch: a word is not that of the ring";
    if (packet.dwords != n || next != (ring.head + n * 4) % ring.size ||
        packet.bus_addr != ring.base + ring.head)
        return "fetch: wrong length or place";
    const bool flags = reference_flags_ok(packet.words[0]);
    if (flags_ok(packet.words[0]) != flags) return "fetch: flags";
    if (flags && executor_of(packet.op())) return execute(in, packet);
    return {};
}

// A packet that gets far.
Packet Bench::sane_packet(Input& in, vttm_engine_class cls) {
    Packet p;
    p.words.fill(0);
    const uint8_t how = in.u8();
    const auto put64 = [&](size_t i, uint64_t v) {
        p.words[i] = static_cast<uint32_t>(v);
        p.words[i + 1] = static_cast<uint32_t>(v >> 32);
    };
    const uint32_t flags = how & 0x80 ? in.u8() & 15u : 0;
    const uint64_t dst = va_of(in.u8()), src = va_of(in.u8()) + (how & 0x40 ? 8 * kPage : 0);
    const uint64_t len = 1 + in.below(3 * kPage);
    put64(1, dst);
    const uint8_t kind = in.u8();
    if (kind % 4 == 3) {
        static constexpr uint32_t kSync[] = {VTTM_OP_TIMESTAMP, VTTM_OP_SEM_SIGNAL,
                                             VTTM_OP_SEM_WAIT, VTTM_OP_COND_SKIP};
        const uint32_t op = kSync[how % 4];
        const uint32_t dwords = op == VTTM_OP_COND_SKIP ? 9 : 3 + how % 4 + (how % 4 != 0);
        p.words[0] = VTTM_PKT_HDR(op, flags & (op % 2 ? 3u : 0x13u), dwords);
        put64(1, (dst & ~7ull) + in.u8() % 8 * (how & 0x10 ? 1u : 8u));
        for (uint32_t i = 3; i < dwords; i++) p.words[i] = in.u8() % 8;
    } else if (cls == VTTM_CLASS_STAMP && kind % 4 == 2) {
        p.words[0] = VTTM_PKT_HDR(VTTM_OP_HASH, flags, 9);
        put64(3, len);
        put64(7, src & ~15ull);
    } else if (cls == VTTM_CLASS_STAMP) {
        p.words[0] = VTTM_PKT_HDR(how & 1 ? VTTM_OP_STAMP_WRITE : VTTM_OP_STAMP_VERIFY, flags, 12);
        put64(1, dst & ~(kPage - 1));
        p.words[3] = 1 + how % 16 / 4;
        p.words[4] = p.words[5] = 1;
        put64(10, src & ~15ull);
    } else if (kind % 4 == 2) {
        const uint32_t count = 1 + in.u8() % 4;
        const uint64_t list = (kTables + in.u8() % 4) * kPage;
        for (uint64_t i = 0; i < count; i++) {
            poke(true, list + i * 16, va_of(in.u8()));
            poke(true, list + i * 16 + 8, 1 + in.below(2 * kPage));
        }
        p.words[0] = VTTM_PKT_HDR(how & 1 ? VTTM_OP_SCATTER : VTTM_OP_GATHER,
                                  flags | VTTM_PKT_LIST(VTTM_SPACE_SYSTEM), 6);
        put64(3, list);
        p.words[5] = count;
    } else if (kind % 4 == 1) {
        const uint32_t pitch = 4 + in.u8() * 64u, width = 4 + in.u8() * 16u;
        p.words[0] = how & 1 ? VTTM_PKT_HDR(VTTM_OP_COPY_2D, flags, 9)
                             : VTTM_PKT_HDR(VTTM_OP_FILL_2D, flags, 7);
        uint32_t* rest = &p.words[3];
        if (how & 1) {
            put64(3, src);
            rest[2] = width + pitch;
            rest += 3;
        }
        rest[0] = width + (how & 2 ? pitch : 0);
        rest[1] = width;
        rest[2] = 1 + how % 16 / 4;
    } else if (how & 1) {
        p.words[0] = VTTM_PKT_HDR(VTTM_OP_COPY, flags, 7);
        put64(3, src);
        put64(5, len);
    } else {
        p.words[0] = VTTM_PKT_HDR(VTTM_OP_FILL, flags, 6);
        put64(3, (len + 3) & ~3ull);
    }
    p.dwords = VTTM_PKT_DWORDS(p.words[0]);
    return p;
}

// None: what the ring does itself.
Executor* Bench::executor_of(uint32_t op) {
    switch (op) {
        case VTTM_OP_NOP:
        case VTTM_OP_SET_VM:
        case VTTM_OP_FENCE:
        case VTTM_OP_INDIRECT:
            return nullptr;
        case VTTM_OP_HASH:
            return hash_.get();
        case VTTM_OP_STAMP_WRITE:
        case VTTM_OP_STAMP_VERIFY:
            return stamp_.get();
        default:
            return op < VTTM_OP_COPY ? sync_.get() : copy_.get();
    }
}

std::string Bench::execute(Input& in, const Packet& packet) {
    const uint8_t vm = in.u8();
    ctx_.vm = vm == 255 ? kNoVm : vm % kVms;
    Executor& executor = *executor_of(packet.op());
    compare_ = false;
    walker_.release();
    if (executor.begin(packet)) return {};
    for (int i = 0; i < kMaxSteps; i++) {
        const Executor::Step s = executor.step();
        if (s.bytes > kChunkBytes) return "execute: a step is too long";
        if (s.fault || s.done) break;
    }
    return {};
}

std::string Bench::step(Input& in) {
    const uint8_t op = in.u8();
    switch (op % 16) {
        case 0:
        case 1:
        case 2:
        case 3:
        case 4:
            poke_table(in);
            return {};
        case 5:
            invalidate(in);
            return {};
        case 6:
            set_root(in);
            return {};
        case 7:
        case 8:
            return fetch(in);
        case 9: {
            const vttm_engine_class cls = op & 16 ? VTTM_CLASS_COPY : VTTM_CLASS_STAMP;
            const Packet packet = sane_packet(in, cls);
            return execute(in, packet);
        }
        case 10:
            return indirect(in);
        case 11:
            poison(in);
            return {};
        default:
            return translate(in);
    }
}

std::string Bench::run(const uint8_t* data, size_t size, bool thorough) {
    Input in(data, size);
    std::string wrong;
    begin();
    while (wrong.empty() && !in.empty()) wrong = step(in);
    const std::string left = end(thorough);
    return wrong.empty() ? left : wrong;
}

}  // namespace

std::string run_walk_input(const uint8_t* data, size_t size, bool thorough) {
    static Bench bench;
    return bench.run(data, size, thorough);
}

}  // namespace vttm::fuzz
