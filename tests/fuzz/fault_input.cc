// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/fault_input.h"

#include "host-backend/model/fault_plan.h"

namespace vttm::fuzz {

namespace {

using model::FaultKind;

std::string key(const char* name, uint64_t value) {
    return std::string(", \"") + name + "\": " + std::to_string(value);
}
std::string key(const char* name, const char* value) {
    return std::string(", \"") + name + "\": \"" + value + '"';
}

// Where in a packet's bytes, or anywhere.
std::string place(Input& in) {
    const uint8_t how = in.u8();
    return how & 1 ? key("byte", uint64_t{how} << (how & 2 ? 8 : 2)) : "";
}

std::string delay(Input& in) {
    const uint8_t how = in.u8();
    return how & 1 ? key("us", 1 + how) : key("packets", 1 + how % 4);
}

std::string rule(Input& in, uint64_t vram_size) {
    static constexpr const char* kEngines[] = {"copy", "stamp"};
    static constexpr const char* kVectors[] = {"engine", "error", "vram"};
    static constexpr const char* kAccesses[] = {"data", "ring", "fence"};
    const auto kind = static_cast<FaultKind>(in.u8() % model::kFaultKinds);
    const uint8_t who = in.u8();
    std::string text = std::string("{\"kind\": \"") + name_of(kind) + '"';
    if (kind == FaultKind::vram_poison) {
        const uint64_t page = in.u8() & 0x80 ? in.u8() % (vram_size / 4096) : in.u8() % 16;
        return text + key("offset", page * 4096) + key("pages", 1 + who % 2 * (page < 16)) + "}";
    }
    text += key("engine", kEngines[who & 1]);
    if (kind == FaultKind::bandwidth) return text + key("mib_per_second", 1) + "}";
    if (who & 2) text += key("ring", who >> 2 & 3);
    text += key("nth", 1 + (who >> 4 & 3));
    if (who & 0x40) text += ", \"probability\": 0.5";
    // Storms of resets are bounded, as an input has to come to its end.
    if (kind != FaultKind::surprise_removal) text += key("count", who & 0x80 ? 1 : 3);
    switch (kind) {
        case FaultKind::engine_hang:
            text += key("chunks", in.u8() % 3);
            break;
        case FaultKind::irq_lost:
            text += key("vector", kVectors[in.u8() % 2]);
            break;
        case FaultKind::irq_spurious:
            text += key("vector", kVectors[in.u8() % 3]);
            break;
        case FaultKind::fence_late:
            text += delay(in);
            break;
        case FaultKind::fence_early:
        case FaultKind::latency:
            text += key("us", 5);
            break;
        case FaultKind::bit_flip:
            text += key("access", in.u8() % 2 ? "read" : "write") + place(in);
            break;
        case FaultKind::write_dropped:
            text += place(in) + key("bytes", 1 + in.below(4096));
            break;
        case FaultKind::write_reordered:
            text += place(in) + key("bytes", 1 + in.below(4096)) + key("packets", 1 + in.u8() % 4);
            break;
        case FaultKind::dma_error:
            text += key("access", kAccesses[in.u8() % 3]);
            break;
        default:
            break;
    }
    return text + "}";
}

}  // namespace

std::string fault_plan(Input& in, unsigned most, uint64_t vram_size) {
    const uint8_t seed = in.u8();
    std::string rules;
    for (unsigned n = seed % (most + 1); n; n--)
        rules += (rules.empty() ? "" : ", ") + rule(in, vram_size);
    return "{\"seed\": " + std::to_string(seed) + ", \"faults\": [" + rules + "]}";
}

}  // namespace vttm::fuzz
