// SPDX-License-Identifier: Apache-2.0
// The bytes of a saved device, one field after the other, little-endian. Fields lie in named sections,
// each with its length, one within the other. Writer and Reader have the same calls, so one function
// over both, `template <class Io> void io(Io&, State&)`, is the format and the check of it.
//
// What is read was written by nobody that one may trust: a field that cannot be is named in a StateError.
#pragma once

#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace vttm::model {

// Why a device cannot be saved, or what is wrong with what shall be loaded.
struct StateError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

using StateBytes = std::vector<uint8_t>;

class StateWriter {
public:
    void begin(const char* section, const std::string& name = {});
    void end();
    void u32(const char*, uint32_t value, uint32_t = UINT32_MAX) { put(value, 4); }
    void u64(const char*, uint64_t value, uint64_t = UINT64_MAX) { put(value, 8); }
    void flag(const char*, bool value) { put(value, 1); }
    // Its length, and the bytes.
    void blob(const char*, const StateBytes& value, size_t);
    // What holds of each device is checked when it is loaded.
    void require(bool, const char*, const char*) {}

    StateBytes take() { return std::move(bytes_); }

private:
    void put(uint64_t value, unsigned size);

    StateBytes bytes_;
    std::vector<size_t> open_;  // where the lengths of the open sections lie
};

class StateReader {
public:
    // @name: what this is part of, for messages.
    explicit StateReader(std::span<const uint8_t> bytes, std::string name = "the state");

    void begin(const char* section, const std::string& name = {});
    // All of the section was read.
    void end();
    void u32(const char* field, uint32_t& value, uint32_t most = UINT32_MAX);
    void u64(const char* field, uint64_t& value, uint64_t most = UINT64_MAX);
    void flag(const char* field, bool& value);
    void blob(const char* field, StateBytes& value, size_t most);
    void require(bool holds, const char* field, const char* rule) const {
        if (!holds) fail(field, rule);
    }
    [[noreturn]] void fail(const char* field, const std::string& what) const;
    const std::string& name() const { return open_.back().name; }

private:
    struct Section {
        size_t end;
        std::string name;
    };
    uint64_t get(const char* field, unsigned size);
    std::span<const uint8_t> next(const char* field, size_t size);

    std::span<const uint8_t> bytes_;
    size_t pos_ = 0;
    std::vector<Section> open_;
};

}  // namespace vttm::model
