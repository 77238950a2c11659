// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/indirect_run.h"

#include <algorithm>
#include <iterator>

#include "protocol/vttm_packets.h"

namespace vttm::fuzz {

namespace {

using namespace vttm::model;

constexpr uint64_t kAt = 16 * VTTM_PAGE_SIZE;  // of the buffers, where the golden tables lead, too
constexpr unsigned kMaxPackets = 64;

std::string differs(const char* what, uint64_t got, uint64_t want) {
    return "indirect: " + std::string(what) + " is " + std::to_string(got) + ", wanted " +
           std::to_string(want);
}

}  // namespace

// A buffer of packets that find each other, and where it lies. The end of a page is near.
Range IndirectRun::write_buffer(Input& in) {
    const uint8_t how = in.u8();
    const uint64_t offset = how & 1 ? VTTM_PAGE_SIZE - 64 : how % 8 * 64;
    std::vector<uint32_t> words;
    for (unsigned n = 1 + (how >> 4); n && !in.empty(); n--) {
        const uint8_t kind = in.u8(), value = in.u8();
        switch (kind % 8) {
            case 0:
            case 1:
            case 2: {
                const uint32_t space = kind >> 3 & 3, flag = kind & 0x20 ? VTTM_PKT_FLAG_DWORD : 0;
                const uint32_t packet[] = {
                    VTTM_PKT_HDR(VTTM_OP_COND_SKIP, VTTM_PKT_DST(space) | flag, 9),
                    static_cast<uint32_t>((space == VTTM_SPACE_VM ? 0 : kAt) + value % 64 * 4), 0,
                    value, 0, kind & 0x40 ? 0xffu : 0xffffffffu, kind & 0x40 ? 0u : 0xffffffffu,
                    in.u8() % 8u, in.u8() % 16u};
                words.insert(words.end(), std::begin(packet), std::end(packet));
                break;
            }
            case 3: {
                const uint32_t space = kind >> 3 & 3;
                const uint32_t packet[] = {
                    VTTM_PKT_HDR(VTTM_OP_INDIRECT, VTTM_PKT_DST(space) | (kind & 0x20 ? 0x10 : 0), 4),
                    static_cast<uint32_t>((space == VTTM_SPACE_VM ? 0 : kAt) + value * 4), 0,
                    in.u8() % 32u};
                words.insert(words.end(), std::begin(packet), std::end(packet));
                break;
            }
            case 4:
                words.push_back(VTTM_PKT_HDR(VTTM_OP_SET_VM, 0, 2));
                words.push_back(value % 4);
                break;
            case 5:
                words.push_back(in.u32());
                break;
            default:
                words.push_back(VTTM_PKT_HDR(VTTM_OP_NOP, 0, 1 + value % 4));
                words.resize(words.size() + value % 4, value);
                break;
        }
    }
    const uint32_t space = how & 2 ? VTTM_SPACE_VM : how & 4 ? VTTM_SPACE_VRAM : VTTM_SPACE_SYSTEM;
    for (size_t i = 0; i < words.size(); i++)
        poke_(space != VTTM_SPACE_VRAM, kAt + offset + i * 4, words[i]);
    const size_t odd = how & 8;  // more than was written
    return {space, (space == VTTM_SPACE_VM ? 0 : kAt) + offset, (words.size() + odd) * 4};
}

// @bytes at @addr, aligned to as many.
ReadWord IndirectRun::read(uint32_t space, uint32_t vm, uint64_t addr, unsigned bytes,
                           uint64_t& value) {
    if (space == VTTM_SPACE_VM) {
        const Translation t = mmu_.translate(vm, addr & ~uint64_t{VTTM_PAGE_SIZE - 1}, false);
        if (t.reason) return {t.reason};
        space = t.space;
        addr = t.phys + addr % VTTM_PAGE_SIZE;
    }
    const bool system = space == VTTM_SPACE_SYSTEM;
    if (!system && mmu_.is_poisoned(addr)) return {VTTM_FAULT_POISON};
    const auto both = read_(system, addr & ~7ull);
    if (!both) return {system ? VTTM_FAULT_BUS : VTTM_FAULT_VRAM_RANGE};
    value = bytes == 8 ? *both : *both >> addr % 8 * 8 & 0xffffffff;
    return {VTTM_FAULT_NONE, static_cast<uint32_t>(value)};
}

ReadWord IndirectRun::word(const Buffer& b, uint32_t index) {
    uint64_t value = 0;
    return read(b.space, b.vm, b.addr + uint64_t{index} * 4, 4, value);
}

void IndirectRun::enter(const Range& range, bool unprivileged) {
    stack_.enter(range, unprivileged);
    want_.push_back(
        {range.space, range.addr, static_cast<uint32_t>(range.len / 4), 0, ctx_.vm});
}

std::string IndirectRun::cond_skip(const Packet& packet, uint32_t behind, bool& over) {
    const auto* w = packet.words.data();
    const uint32_t flags = w[0] >> 16 & 0xff, space = flags & 3;
    const unsigned bytes = flags & VTTM_PKT_FLAG_DWORD ? 4 : 8;
    const uint64_t addr = w[1] | uint64_t{w[2]} << 32;
    uint64_t memory = 0;
    vttm_fault_reason reason = VTTM_FAULT_NONE;
    if (addr % bytes || w[7] > VTTM_CMP_LAST || space > VTTM_SPACE_SYSTEM)
        reason = VTTM_FAULT_BAD_PACKET;
    else if (space == VTTM_SPACE_VM && addr >> 48)
        reason = VTTM_FAULT_VA_RANGE;
    else if (space == VTTM_SPACE_VRAM && addr >= vram_size_)
        reason = VTTM_FAULT_VRAM_RANGE;
    else
        reason = read(space, ctx_.vm, addr, bytes, memory).reason;
    const uint64_t mask = w[5] | uint64_t{w[6]} << 32, value = w[3] | uint64_t{w[4]} << 32;
    const uint32_t skip = reference_compares(w[7], memory & mask, value) ? w[8] : 0;

    Fault fault = sync_.begin(packet);
    Executor::Step s;
    if (!fault) {
        s = sync_.step();
        fault = s.fault;
    }
    if (fault.reason != reason) return differs("reason of COND_SKIP", fault.reason, reason);
    over = reason || skip > behind;
    if (reason) return {};
    if (!s.done || s.skip != skip) return differs("skip", s.skip, skip);
    if (over) return {};  // the ring refuses it
    stack_.skip(skip);
    want_.back().pos += skip;
    return {};
}

std::string IndirectRun::step(bool& over) {
    Buffer& b = want_.back();
    Packet packet;
    uint32_t behind = 0;
    const Fault fault = stack_.fetch(cls_, packet, behind);
    const Fetched want = reference_fetch(cls_, b.dwords - b.pos,
                                         [&](uint32_t i) { return word(b, b.pos + i); });
    over = want.reason;
    if (fault.reason != want.reason) return differs("reason", fault.reason, want.reason);
    if (over) return {};
    const uint32_t n = static_cast<uint32_t>(want.words.size());
    if (packet.dwords != n || !std::equal(want.words.begin(), want.words.end(), packet.words.begin()))
        return "indirect: another packet was fetched";
    if (packet.bus_addr != b.addr + uint64_t{b.pos} * 4)
        return differs("address", packet.bus_addr, b.addr + uint64_t{b.pos} * 4);
    b.pos += n;
    if (behind != b.dwords - b.pos) return differs("rest", behind, b.dwords - b.pos);
    if (flags_ok(packet.words[0]) != reference_flags_ok(packet.words[0])) return "indirect: flags";
    if (!flags_ok(packet.words[0])) return {};

    if (packet.op() == VTTM_OP_SET_VM && packet.words[1] < VTTM_MAX_VMS) {
        ctx_.vm = packet.words[1];
    } else if (packet.op() == VTTM_OP_COND_SKIP) {
        if (std::string wrong = cond_skip(packet, behind, over); !wrong.empty()) return wrong;
    } else if (packet.op() == VTTM_OP_INDIRECT) {
        const Range range{packet.words[0] >> 16 & 3,
                          packet.words[1] | uint64_t{packet.words[2]} << 32,
                          uint64_t{packet.words[3]} * 4};
        if (range.len && range.len / 4 <= VTTM_IB_MAX_DWORDS && range.addr % 4 == 0 &&
            stack_.depth() < VTTM_IB_MAX_DEPTH && !check_range(ctx_.bus, range))
            enter(range, packet.words[0] >> 16 & VTTM_PKT_FLAG_UNPRIVILEGED);
    }
    stack_.leave_finished();
    while (!want_.empty() && want_.back().pos == want_.back().dwords) want_.pop_back();
    if (stack_.depth() != want_.size()) return differs("depth", stack_.depth(), want_.size());
    return {};
}

std::string IndirectRun::run(Input& in, bool& clean) {
    const uint8_t how = in.u8();
    cls_ = how & 1 ? VTTM_CLASS_COPY : VTTM_CLASS_STAMP;
    ctx_.vm = how % 32 == 31 ? kNoVm : how >> 1 & 1;
    const Range first = write_buffer(in);
    if (how & 4) write_buffer(in);
    if (how & 8) write_buffer(in);
    clean = true;
    if (!first.len || check_range(ctx_.bus, first)) return {};
    enter(first, how & 0x10);
    bool over = false;
    std::string wrong;
    for (unsigned i = 0; i < kMaxPackets && !want_.empty() && !over && wrong.empty(); i++)
        wrong = step(over);
    clean = !over;  // a fetch that failed may have looked further ahead than to what failed
    return wrong;
}

}  // namespace vttm::fuzz
