// SPDX-License-Identifier: Apache-2.0
// Reads the driver's debugfs file `placement`, piece by piece.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace vttm::guest {

inline constexpr std::array<std::string_view, 7> kPlacementKinds = {
    "vram", "gtt", "system", "shmem", "swapcache", "swap", "none"};

struct PlacementRun {
    std::uint64_t first = 0;  // page index in the buffer
    std::uint64_t count = 0;  // pages
    std::string_view kind;    // one of kPlacementKinds
    std::uint64_t addr = 0;   // bytes
    std::int64_t slot = -1;   // pages from the start of the swap area; -1: none
};

// Text that is not what docs/agent-protocol.md says; what() names the line.
class PlacementError : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

// Runs of a buffer are in order and cover each of its pages once: a page that the driver says
// nothing of could otherwise go unseen.
class PlacementParser {
public:
    struct Sink {
        std::function<void(std::uint32_t tag, std::uint64_t pages)> buffer;
        std::function<void(const PlacementRun&)> run;
    };

    explicit PlacementParser(Sink sink) : sink_(std::move(sink)) {}

    void feed(std::string_view chunk);  // throws PlacementError
    void finish();                      // throws PlacementError if the text ends too early

private:
    void parse_line(std::string_view line);
    void parse_buffer(std::string_view line);
    void parse_run(std::string_view line);
    void end_buffer() const;
    [[noreturn]] void fail(std::string_view line, const char* why) const;

    Sink sink_;
    std::string partial_;
    std::uint64_t line_ = 0;
    bool in_buffer_ = false;
    std::uint32_t tag_ = 0;
    std::uint64_t pages_ = 0;
    std::uint64_t covered_ = 0;
};

}  // namespace vttm::guest
