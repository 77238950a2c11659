// SPDX-License-Identifier: Apache-2.0
// The bytes of a fuzzer's input, one after the other; zeroes when they are used up.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vttm::fuzz {

class Input {
public:
    Input(const uint8_t* data, size_t size) : data_(data), left_(size) {}
    bool empty() const { return !left_; }
    uint8_t u8() {
        if (!left_) return 0;
        left_--;
        return *data_++;
    }
    // Little-endian, whatever order the compiler calls in.
    uint32_t u32() {
        uint32_t v = 0;
        for (unsigned shift = 0; shift < 32; shift += 8) v |= uint32_t{u8()} << shift;
        return v;
    }
    uint64_t u64() {
        const uint64_t low = u32();
        return low | uint64_t{u32()} << 32;
    }
    uint32_t below(uint32_t n) {
        const uint32_t low = u8();
        return (low | uint32_t{u8()} << 8) % n;
    }

private:
    const uint8_t* data_;
    size_t left_;
};

}  // namespace vttm::fuzz
