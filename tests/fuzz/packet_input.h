// SPDX-License-Identifier: Apache-2.0
// Packets out of an input's bytes: framing mostly right, operands often wrong.
#pragma once

#include <cstdint>
#include <vector>

#include "tests/fuzz/arena.h"
#include "tests/fuzz/input.h"

namespace vttm::fuzz {

class PacketInput {
public:
    // Lists and buffers that packets are about go to the memory of @arena.
    PacketInput(Arena& arena, Input& in) : arena_(arena), in_(in) {}

    struct Job {
        unsigned engine = 0;
        std::vector<uint32_t> words;
    };
    // A packet, often with a SET_VM before it and a FENCE behind it. @engine: that is to run it; < 0: any.
    Job packet(int engine = -1);
    // Writes an indirect buffer; the packet that runs it.
    Job buffer();

    // Numbers that are more often near something than not.
    uint64_t address();
    uint64_t length();
    // The address of one of the 16 first pages, or of one that is in another leaf.
    uint64_t near_page();

private:
    // Where a buffer may be: so the packets of one find those of another, or its own.
    struct Place {
        uint32_t space;
        uint64_t addr;
        bool vram;
        uint64_t phys;
    };
    Place place();

    void copy_operands(uint32_t op, uint32_t* w);
    void list_operands(uint32_t* w);
    void sync_operands(uint32_t op, uint32_t* w);
    void indirect_operands(uint32_t* w);
    void stamp_operands(uint32_t op, uint32_t* w);
    uint32_t pitch();
    uint64_t any_address() { return sane_ ? near_page() : address(); }
    uint64_t any_length() { return sane_ ? (1 + in_.u8() % 8) * kPage : length(); }

    Arena& arena_;
    Input& in_;
    // Of the packet that is being made: its operands are right, so that it is the tables and the TLB
    // that matter; else how odd they are: the less, the odder.
    bool sane_ = false;
    uint8_t odd_ = 0;
};

}  // namespace vttm::fuzz
