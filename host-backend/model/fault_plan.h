// SPDX-License-Identifier: Apache-2.0
// Faults on demand: what the host asked for. docs/faults.md describes the text (JSON).
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace vttm::model {

enum class FaultKind : uint8_t {
    engine_hang,
    irq_lost,
    irq_spurious,
    fence_late,
    fence_early,
    fence_never,
    bit_flip,
    write_dropped,
    write_reordered,
    dma_error,
    vram_poison,
    latency,
    bandwidth,
    surprise_removal,
    device_reset,
};
inline constexpr unsigned kFaultKinds = 15;

// As the plan writes it.
const char* name_of(FaultKind kind);

// What of several like things a rule is about.
enum FaultTarget : uint8_t {
    kTargetNone = 0,
    kTargetEngineIrq,  // irq_*: the vector of the engine
    kTargetErrorIrq,   // irq_*: vector 0
    kTargetVramIrq,    // irq_spurious: that of the VRAM balloon
    kTargetData,       // dma_error: what a packet reads or writes
    kTargetRing,       // dma_error: the fetch of a packet
    kTargetFence,      // dma_error: the write of a FENCE
    kTargetRead,       // bit_flip: what a packet reads; else what it writes
};

struct FaultRule {
    FaultKind kind = FaultKind::engine_hang;
    std::optional<unsigned> engine;  // none: at once (surprise_removal, device_reset), vram_poison
    std::optional<unsigned> ring;    // none: each ring, and each counts by itself
    uint64_t nth = 1;                // the first event that may be hit
    double probability = 1;          // of each event from then on
    uint64_t count = 1;              // most hits; 0: no end
    FaultTarget target = kTargetNone;
    std::chrono::microseconds us{0};
    uint64_t packets = 0;          // by how many packets an effect is overtaken
    std::optional<uint64_t> byte;  // of the bytes that the packet writes or reads; none: drawn
    uint64_t bytes = 0;
    std::optional<unsigned> bit;  // none: drawn
    uint64_t bytes_per_second = 0;
    uint64_t chunks = 0;  // engine_hang: so many are done first
    uint64_t offset = 0;  // of VRAM
    uint64_t pages = 0;
};

struct FaultPlan {
    uint64_t seed = 0;
    std::vector<FaultRule> rules;
};

// What is wrong with a plan, where, and what would be right.
struct FaultPlanError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// Throws FaultPlanError. Nothing but blanks is an empty plan.
FaultPlan parse_fault_plan(std::string_view text, uint64_t vram_size);

}  // namespace vttm::model
