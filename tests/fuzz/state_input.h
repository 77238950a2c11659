// SPDX-License-Identifier: Apache-2.0
// Saved states that were tampered with: what a device must make of them.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "host-backend/model/device.h"
#include "host-backend/model/state.h"
#include "tests/fuzz/fuzz_bus.h"

namespace vttm::fuzz {

class StateTarget {
public:
    StateTarget();

    // Sound states: rings that stall in every kind of packet, wait, are halted, ...
    const std::vector<model::StateBytes>& bases() const { return bases_; }
    // Loads @bytes. What the device did wrong, or an empty string; @refusal: what it said of the
    // bytes, empty if it took them. What it takes it must save again to the last bit; what it
    // refuses must have changed nothing; and after all it works. @thorough: the engines go on with
    // what they took.
    std::string load(const model::StateBytes& bytes, std::string& refusal, bool thorough = true);

private:
    void wr(uint64_t off, uint64_t v, unsigned size = 4) { device_->mmio_write(off, v, size); }
    void put(unsigned e, unsigned r, std::initializer_list<uint32_t> words);
    void work(std::chrono::microseconds each);
    void set_up();
    void add_base();
    uint64_t registers();
    std::string prove(bool thorough);

    FuzzBus bus_;
    std::unique_ptr<model::Device> device_;
    std::vector<model::StateBytes> bases_;
    std::vector<uint32_t> offsets_;  // of registers
    uint64_t clean_ = 0;
};

// @data: a byte that chooses a base, then edits of 3 bytes each (offset, value); the checksum is
// made right.
std::string run_state_input(const uint8_t* data, size_t size);

}  // namespace vttm::fuzz
