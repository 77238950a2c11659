// SPDX-License-Identifier: Apache-2.0
// Runs indirect buffers by the model's IbStack and its COND_SKIP, beside a plain reading of the protocol:
// both must be at the same packet, as deep, with as much behind it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "host-backend/model/indirect.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/reference_packet.h"
#include "tests/fuzz/reference_walk.h"

namespace vttm::fuzz {

class IndirectRun {
public:
    using Poke = std::function<void(bool system, uint64_t addr, uint32_t word)>;
    // @mmu has translated what that of @ctx has.
    IndirectRun(model::ExecContext& ctx, model::Executor& sync, ReferenceMmu& mmu, ReadMemory read,
                Poke poke, uint64_t vram_size)
        : ctx_(ctx),
          sync_(sync),
          mmu_(mmu),
          read_(std::move(read)),
          poke_(std::move(poke)),
          vram_size_(vram_size),
          stack_(ctx) {}

    // What the two differ in. @clean: and both have translated the same still.
    std::string run(Input& in, bool& clean);

private:
    struct Buffer {
        uint32_t space;
        uint64_t addr;
        uint32_t dwords, pos;  // in dwords
        uint32_t vm;
    };
    model::Range write_buffer(Input& in);
    ReadWord word(const Buffer& b, uint32_t index);
    ReadWord read(uint32_t space, uint32_t vm, uint64_t addr, unsigned bytes, uint64_t& value);
    std::string step(bool& over);
    std::string cond_skip(const model::Packet& packet, uint32_t behind, bool& over);
    void enter(const model::Range& range, bool unprivileged);

    model::ExecContext& ctx_;
    model::Executor& sync_;
    ReferenceMmu& mmu_;
    ReadMemory read_;
    Poke poke_;
    uint64_t vram_size_;
    model::IbStack stack_;
    std::vector<Buffer> want_;
    vttm_engine_class cls_ = VTTM_CLASS_COPY;
};

}  // namespace vttm::fuzz
