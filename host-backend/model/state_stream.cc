// SPDX-License-Identifier: Apache-2.0
#include "host-backend/model/state_stream.h"

#include <algorithm>
#include <cstring>

namespace vttm::model {

namespace {

constexpr size_t kTag = 8;  // bytes of a section's name, padded with zeroes

void put_at(StateBytes& bytes, size_t at, uint64_t value, unsigned size) {
    for (unsigned i = 0; i < size; i++) bytes[at + i] = static_cast<uint8_t>(value >> 8 * i);
}

}  // namespace

// --- Writer --------------------------------------------------------------------------------------

void StateWriter::put(uint64_t value, unsigned size) {
    bytes_.resize(bytes_.size() + size);
    put_at(bytes_, bytes_.size() - size, value, size);
}

void StateWriter::begin(const char* section, const std::string&) {
    const size_t at = bytes_.size();
    bytes_.resize(at + kTag);
    std::copy_n(section, std::min(std::strlen(section), kTag), bytes_.begin() + at);
    open_.push_back(bytes_.size());
    put(0, 4);
}

void StateWriter::end() {
    const size_t at = open_.back();
    open_.pop_back();
    put_at(bytes_, at, bytes_.size() - at - 4, 4);
}

void StateWriter::blob(const char*, const StateBytes& value, size_t) {
    put(value.size(), 4);
    bytes_.insert(bytes_.end(), value.begin(), value.end());
}

// --- Reader --------------------------------------------------------------------------------------

StateReader::StateReader(std::span<const uint8_t> bytes, std::string name)
    : bytes_(bytes), open_{{bytes.size(), std::move(name)}} {}

void StateReader::fail(const char* field, const std::string& what) const {
    throw StateError(name() + ": '" + field + "' " + what);
}

std::span<const uint8_t> StateReader::next(const char* field, size_t size) {
    if (size > open_.back().end - pos_)
        fail(field, "is not all there: " + std::to_string(size) + " bytes are wanted and " +
                        std::to_string(open_.back().end - pos_) + " left");
    pos_ += size;
    return bytes_.subspan(pos_ - size, size);
}

uint64_t StateReader::get(const char* field, unsigned size) {
    uint64_t value = 0;
    const auto bytes = next(field, size);
    for (unsigned i = 0; i < size; i++) value |= uint64_t{bytes[i]} << 8 * i;
    return value;
}

void StateReader::begin(const char* section, const std::string& name) {
    char tag[kTag] = {};
    std::copy_n(section, std::min(std::strlen(section), kTag), tag);
    const auto found = next(section, kTag);
    if (std::memcmp(found.data(), tag, kTag))
        fail(section, "is not the section that comes next");
    const uint64_t size = get(section, 4);
    if (size > open_.back().end - pos_)
        fail(section, "says that it has " + std::to_string(size) + " bytes, and " +
                          std::to_string(open_.back().end - pos_) + " are left");
    open_.push_back({pos_ + size, this->name() + ", " + (name.empty() ? section : name)});
}

void StateReader::end() {
    if (pos_ != open_.back().end)
        throw StateError(name() + ": " + std::to_string(open_.back().end - pos_) +
                         " bytes lie behind the last field");
    if (open_.size() > 1) open_.pop_back();
}

void StateReader::u32(const char* field, uint32_t& value, uint32_t most) {
    const auto read = static_cast<uint32_t>(get(field, 4));
    if (read > most)
        fail(field, "is " + std::to_string(read) + ": at most " + std::to_string(most) +
                        " can be");
    value = read;
}

void StateReader::u64(const char* field, uint64_t& value, uint64_t most) {
    const uint64_t read = get(field, 8);
    if (read > most)
        fail(field, "is " + std::to_string(read) + ": at most " + std::to_string(most) +
                        " can be");
    value = read;
}

void StateReader::flag(const char* field, bool& value) {
    const uint64_t read = get(field, 1);
    if (read > 1) fail(field, "is " + std::to_string(read) + ": it is 0 or 1");
    value = read;
}

void StateReader::blob(const char* field, StateBytes& value, size_t most) {
    uint32_t size = 0;
    u32(field, size, static_cast<uint32_t>(most));
    const auto bytes = next(field, size);
    value.assign(bytes.begin(), bytes.end());
}

}  // namespace vttm::model
