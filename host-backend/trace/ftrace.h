// SPDX-License-Identifier: Apache-2.0
// The text of the guest's trace_pipe. The guest is not trusted: what is no event is counted, never guessed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace vttm::trace {

struct GuestEvent {
    std::uint64_t time_ns = 0;  // of the guest's clock; the kernel prints whole microseconds
    unsigned cpu = 0;
    unsigned pid = 0;  // of the thread
    std::string comm;
    std::string name;
    std::string fields;  // "a=1 b=2", as the event prints it
};

// What is printed is the time cut off to this.
inline constexpr std::uint64_t kGuestTimeUnit = 1000;

class GuestTrace {
public:
    // More than this in a line, or more events than this in all: dropped and counted.
    static constexpr std::size_t kMaxLine = 4096;
    static constexpr std::size_t kMaxEvents = 4'000'000;

    // The next lines; the last one may go on in the next piece.
    void add(std::string_view text);
    // Nothing more will come.
    void finish();

    std::vector<GuestEvent> events;
    std::uint64_t lost = 0;      // events that the kernel says it has lost
    bool lost_unknown = false;   // ... and there were times at which it did not say how many
    std::uint64_t unparsed = 0;  // lines that are no event
    std::uint64_t too_many = 0;  // events beyond the limit

private:
    void line(std::string_view line);

    std::string partial_;
    bool skipping_ = false;  // the rest of a line that is too long
};

// One line of the trace, nothing if it is no event.
std::optional<GuestEvent> parse_event(std::string_view line);

// The number behind "name=" in the event's fields. Nothing if there is none.
std::optional<std::uint64_t> field_number(std::string_view fields, std::string_view name);
// The word behind it; empty if there is none.
std::string_view field_text(std::string_view fields, std::string_view name);

}  // namespace vttm::trace
