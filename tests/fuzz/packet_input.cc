// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/packet_input.h"

#include <algorithm>
#include <array>

#include "protocol/vttm_packets.h"

namespace vttm::fuzz {

namespace {

constexpr uint64_t kList = 0x15000;     // of pieces
constexpr uint64_t kBuffers = 0x16000;  // 4 indirect buffers, a page each
constexpr uint32_t kSystem = VTTM_PKT_DST(VTTM_SPACE_SYSTEM);

void put64(uint32_t* w, uint64_t v) {
    w[0] = static_cast<uint32_t>(v);
    w[1] = static_cast<uint32_t>(v >> 32);
}

struct Kind {
    uint8_t op, dwords, engine;  // engine 2: any
};
constexpr Kind kKinds[] = {
    {VTTM_OP_NOP, 1, 2},         {VTTM_OP_SET_VM, 2, 2},       {VTTM_OP_FENCE, 5, 2},
    {VTTM_OP_COPY, 7, 0},        {VTTM_OP_FILL, 6, 0},         {VTTM_OP_STAMP_WRITE, 12, 1},
    {VTTM_OP_STAMP_VERIFY, 12, 1}, {VTTM_OP_COPY_2D, 9, 0},    {VTTM_OP_FILL_2D, 7, 0},
    {VTTM_OP_SCATTER, 6, 0},     {VTTM_OP_GATHER, 6, 0},       {VTTM_OP_HASH, 9, 1},
    {VTTM_OP_TIMESTAMP, 3, 2},   {VTTM_OP_SEM_SIGNAL, 5, 2},   {VTTM_OP_SEM_WAIT, 6, 2},
    {VTTM_OP_COND_SKIP, 9, 2},   {VTTM_OP_INDIRECT, 4, 2}};

}  // namespace

uint64_t PacketInput::address() {
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

uint64_t PacketInput::length() {
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

uint64_t PacketInput::near_page() {
    const uint64_t page = in_.u8() % 24 * kPage;
    return page + (in_.u8() % 8 ? 0 : 2ull << 20);
}

PacketInput::Place PacketInput::place() {
    const uint8_t how = in_.u8();
    const uint64_t page = how >> 4 & 3;
    switch (how % 8) {
        case 0:
            return {VTTM_SPACE_VRAM, page * kPage, true, page * kPage};
        case 1:
            return {VTTM_SPACE_VM, page * 3 * kPage, true, page * 3 * kPage};
        case 2:
        case 3: {
            // Where Arena's tables lead VM 0 to (or 1), as long as nobody has changed them.
            const uint64_t vm = how >> 3 & 1, va = page * 3 + 1;
            return {VTTM_SPACE_VM, va * kPage, false, kData + (va * 5 + 12 + vm) % 64 * kPage};
        }
        default:
            return {VTTM_SPACE_SYSTEM, kBuffers + page * kPage, false, kBuffers + page * kPage};
    }
}

PacketInput::Job PacketInput::packet(int engine) {
    const Kind& k = kKinds[in_.u8() % std::size(kKinds)];
    Job job;
    job.engine = engine >= 0    ? static_cast<unsigned>(engine)
                 : k.engine < 2 ? k.engine
                                : in_.u8() % 2u;
    // One of the other class now and then only: it ends the buffer.
    if (k.engine < 2 && k.engine != job.engine && in_.u8() % 16) return job;

    std::array<uint32_t, 12> w{};
    const uint8_t frame = in_.u8();
    sane_ = frame & 0x40;
    odd_ = sane_ ? 128 : in_.u8();
    if (frame & 3) {
        const uint32_t set_vm[] = {VTTM_PKT_HDR(VTTM_OP_SET_VM, 0, 2),
                                   frame >> 2 & (sane_ ? 1u : 3u)};
        job.words.insert(job.words.end(), std::begin(set_vm), std::end(set_vm));
    }
    // Of a sane one the only or second space is VRAM or, as user space must have it, VM; the first is VM.
    uint32_t flags = in_.u8();
    const bool lists = k.op == VTTM_OP_SCATTER || k.op == VTTM_OP_GATHER;
    if (sane_)
        flags = k.op < VTTM_OP_COPY || flags & 1 ? 0 : VTTM_PKT_SRC(VTTM_SPACE_VRAM);
    else if (odd_ >= 8)
        flags &= lists ? 0x3f : 0x0f;
    w[0] = VTTM_PKT_HDR(k.op, flags, k.dwords);
    if (odd_ == 255) w[0] = in_.u32();
    switch (k.op) {
        case VTTM_OP_SET_VM:
            w[1] = odd_ < 16 ? in_.u32() : in_.u8() % 4;
            break;
        case VTTM_OP_FENCE:
            w[0] |= VTTM_PKT_HDR(0, VTTM_PKT_FLAG_IRQ, 0);
            put64(&w[1], any_address());
            put64(&w[3], in_.u8());
            break;
        case VTTM_OP_COPY:
        case VTTM_OP_FILL:
        case VTTM_OP_COPY_2D:
        case VTTM_OP_FILL_2D:
            copy_operands(k.op, w.data());
            break;
        case VTTM_OP_SCATTER:
        case VTTM_OP_GATHER:
            list_operands(w.data());
            break;
        case VTTM_OP_STAMP_WRITE:
        case VTTM_OP_STAMP_VERIFY:
        case VTTM_OP_HASH:
            stamp_operands(k.op, w.data());
            break;
        case VTTM_OP_TIMESTAMP:
        case VTTM_OP_SEM_SIGNAL:
        case VTTM_OP_SEM_WAIT:
        case VTTM_OP_COND_SKIP:
            sync_operands(k.op, w.data());
            break;
        case VTTM_OP_INDIRECT:
            indirect_operands(w.data());
            break;
        default:
            break;
    }
    job.words.insert(job.words.end(), w.begin(), w.begin() + k.dwords);
    if (frame & 0x30) {
        const uint32_t fence[] = {VTTM_PKT_HDR(VTTM_OP_FENCE, VTTM_PKT_FLAG_IRQ, 5),
                                  static_cast<uint32_t>(kFence), 0, frame, 0};
        job.words.insert(job.words.end(), std::begin(fence), std::end(fence));
    }
    return job;
}

uint32_t PacketInput::pitch() {
    return sane_ ? 1024 + in_.u8() * 4u : static_cast<uint32_t>(length());
}

void PacketInput::copy_operands(uint32_t op, uint32_t* w) {
    put64(w + 1, any_address());
    switch (op) {
        case VTTM_OP_COPY:
            put64(w + 3, any_address());
            put64(w + 5, any_length());
            break;
        case VTTM_OP_FILL:
            put64(w + 3, any_length());
            w[5] = in_.u32();
            break;
        default: {
            const bool copies = op == VTTM_OP_COPY_2D;
            if (copies) {
                put64(w + 3, any_address());
                w[5] = pitch();
            }
            uint32_t* rest = w + (copies ? 6 : 3);
            rest[0] = sane_ && copies && in_.u8() % 2 ? w[5] : pitch();  // windows of one surface
            rest[1] = odd_ < 16 ? in_.u32() : in_.u8() * 4u;
            rest[2] = odd_ < 32 ? in_.u32() : in_.u8();
            break;
        }
    }
}

// SCATTER, GATHER and their pieces, some of them wrong.
void PacketInput::list_operands(uint32_t* w) {
    put64(w + 1, any_address());
    if (!sane_ && odd_ < 32) {
        put64(w + 3, address());
        w[5] = odd_ < 16 ? in_.u32() : in_.u8();
        return;
    }
    w[5] = 1 + in_.u8() % 32;
    std::array<vttm_sg_entry, 32> list{};
    for (uint32_t i = 0; i < w[5]; i++) {
        list[i].addr = any_address() + (sane_ ? in_.u8() * 16u : 0);
        list[i].len = sane_ ? 1 + in_.u8() * 16u : static_cast<uint32_t>(length());
        if (!sane_) list[i].rsvd = in_.u8() == 255;
    }
    const size_t bytes = w[5] * sizeof(list[0]);
    const uint8_t where = in_.u8();
    w[0] &= ~VTTM_PKT_HDR(0, VTTM_PKT_LIST(3u), 0);
    if (where % 4) {
        arena_.poke(kList, list.data(), bytes);
        put64(w + 3, kList);
        w[0] |= VTTM_PKT_HDR(0, VTTM_PKT_LIST(VTTM_SPACE_SYSTEM), 0);
    } else {
        // By the tables: VRAM's page 0, and the last pieces may lie in another page.
        const uint64_t at = where & 0x80 ? 0 : kPage - 256;
        arena_.poke_vram(at, list.data(), bytes);
        put64(w + 3, at);
    }
}

// TIMESTAMP, SEM_SIGNAL, SEM_WAIT, COND_SKIP: mostly about one of a few words, so that what one signals
// the other waits for.
void PacketInput::sync_operands(uint32_t op, uint32_t* w) {
    const bool has_value = op != VTTM_OP_TIMESTAMP;
    const uint8_t where = in_.u8();
    if (odd_ < 32) {
        put64(w + 1, address());
    } else {
        const bool by_tables = where & 0x10;
        w[0] = VTTM_PKT_HDR(op, by_tables ? 0 : kSystem, VTTM_PKT_DWORDS(w[0]));
        put64(w + 1, (by_tables ? 0 : kWords) + where % 4 * 8);
        if (where & 0x40 && (op == VTTM_OP_SEM_SIGNAL || op == VTTM_OP_COND_SKIP))
            w[0] |= VTTM_PKT_HDR(0, VTTM_PKT_FLAG_ADD, 0);  // or VTTM_PKT_FLAG_DWORD
    }
    if (has_value) put64(w + 3, odd_ < 16 ? in_.u64() : in_.u8() % 4);
    if (op == VTTM_OP_SEM_WAIT) w[5] = in_.u8() % (VTTM_CMP_LAST + 2u);
    if (op == VTTM_OP_COND_SKIP) {
        put64(w + 5, odd_ < 64 ? in_.u64() : ~0ull);
        w[7] = in_.u8() % (VTTM_CMP_LAST + 2u);
        w[8] = odd_ < 16 ? in_.u32() : in_.u8() % 16;
    }
}

// Of a buffer that buffer() may have written; loops and what needs privileges are welcome.
void PacketInput::indirect_operands(uint32_t* w) {
    if (odd_ < 32) {
        put64(w + 1, address());
        w[3] = odd_ < 16 ? in_.u32() : in_.u8();
        return;
    }
    const Place at = place();
    const uint8_t how = in_.u8();
    const uint32_t flags = VTTM_PKT_DST(at.space) | (how & VTTM_PKT_FLAG_UNPRIVILEGED);
    w[0] = VTTM_PKT_HDR(VTTM_OP_INDIRECT, flags, VTTM_PKT_DWORDS(w[0]));
    put64(w + 1, at.addr + (how & 0x60 ? 0 : how % 4 * 4u));
    w[3] = 1 + in_.u8() % (how & 0x80 ? 250 : 25);
}

void PacketInput::stamp_operands(uint32_t op, uint32_t* w) {
    put64(w + 1, any_address());
    if (op == VTTM_OP_HASH) {
        put64(w + 3, any_length());
        put64(w + 5, in_.u8());
        put64(w + 7, any_address());
        return;
    }
    w[3] = odd_ < 32 ? in_.u32() : 1 + in_.u8() % 8;
    w[4] = sane_ ? 1 : in_.u8();
    w[5] = sane_ ? 1 : in_.u8();
    put64(w + 6, odd_ < 16 ? in_.u64() : in_.u8());
    put64(w + 8, 1);
    put64(w + 10, any_address());
}

PacketInput::Job PacketInput::buffer() {
    Job job;
    std::vector<uint32_t> words;
    const uint8_t how = in_.u8();
    job.engine = how & 1;
    for (unsigned n = 1 + (how >> 1) % 8; n && !in_.empty(); n--) {
        const Job part = packet(static_cast<int>(job.engine));
        words.insert(words.end(), part.words.begin(), part.words.end());
    }
    words.resize(std::clamp<size_t>(words.size(), 1, kPage / 4));
    const Place at = place();
    if (at.vram)
        arena_.poke_vram(at.phys, words.data(), words.size() * 4);
    else
        arena_.poke(at.phys, words.data(), words.size() * 4);
    const uint32_t flags = VTTM_PKT_DST(at.space) | (how & VTTM_PKT_FLAG_UNPRIVILEGED);
    const uint32_t odd = how >= 0xe0;  // one more than was written
    job.words = {VTTM_PKT_HDR(VTTM_OP_SET_VM, 0, 2),
                 how >> 5 & 1u,
                 VTTM_PKT_HDR(VTTM_OP_INDIRECT, flags, 4),
                 static_cast<uint32_t>(at.addr),
                 0,
                 static_cast<uint32_t>(words.size()) + odd,
                 VTTM_PKT_HDR(VTTM_OP_FENCE, VTTM_PKT_FLAG_IRQ, 5),
                 static_cast<uint32_t>(kFence),
                 0,
                 how,
                 0};
    return job;
}

}  // namespace vttm::fuzz
