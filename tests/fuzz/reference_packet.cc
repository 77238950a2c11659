// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/reference_packet.h"

#include <iterator>

namespace vttm::fuzz {

namespace {

constexpr Frame kFrames[] = {
    {0x00, 1, 1, 1, 1024, 0xff}, {0x01, 1, 1, 2, 2, 0},        {0x02, 1, 1, 5, 5, 0x10},
    {0x10, 1, 0, 7, 7, 0x0f},    {0x11, 1, 0, 6, 6, 0x0f},     {0x20, 0, 1, 12, 12, 0x0f},
    {0x21, 0, 1, 12, 12, 0x0f},  {0x03, 1, 1, 3, 3, 0x03},     {0x04, 1, 1, 5, 5, 0x13},
    {0x05, 1, 1, 6, 6, 0x03},    {0x06, 1, 1, 9, 9, 0x13},     {0x07, 1, 1, 4, 4, 0x13},
    {0x12, 1, 0, 9, 9, 0x0f},    {0x13, 1, 0, 7, 7, 0x0f},     {0x14, 1, 0, 6, 6, 0x3f},
    {0x15, 1, 0, 6, 6, 0x3f},    {0x22, 0, 1, 9, 9, 0x0f},
};

}  // namespace

const Frame& reference_frame(unsigned number) { return kFrames[number % std::size(kFrames)]; }

Fetched reference_fetch(vttm_engine_class cls, uint32_t there,
                        const std::function<ReadWord(uint32_t)>& read) {
    Fetched packet;
    const ReadWord header = read(0);
    if ((packet.reason = header.reason)) return packet;
    const uint32_t n = header.word & 0xffff;
    bool known = false;
    for (const Frame& f : kFrames)
        known |= f.op == header.word >> 24 && (cls == VTTM_CLASS_COPY ? f.copy : f.stamp) &&
                 n >= f.min && n <= f.max;
    if (!known || n > there) {
        packet.reason = VTTM_FAULT_BAD_FRAMING;
        return packet;
    }
    packet.words.push_back(header.word);
    for (uint32_t i = 1; i < n; i++) {
        const ReadWord w = read(i);
        if ((packet.reason = w.reason)) return packet;
        packet.words.push_back(w.word);
    }
    return packet;
}

bool reference_flags_ok(uint32_t header) {
    for (const Frame& f : kFrames)
        if (f.op == header >> 24) return !((header >> 16 & 0xff) & ~f.flags);
    return false;
}

bool reference_compares(uint32_t how, uint64_t memory, uint64_t value) {
    const bool equal = memory == value, less = memory < value;
    const bool table[] = {equal, !equal, !less, !less && !equal, less || equal, less,
                          static_cast<int64_t>(memory - value) >= 0};
    return how < std::size(table) && table[how];
}

}  // namespace vttm::fuzz
