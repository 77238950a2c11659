// SPDX-License-Identifier: Apache-2.0
// What the kernel does meanwhile, as its trace events tell it, in a trace instance of its own: GPU
// scheduler, fences, TTM, reclaim, disk. The host reads it piece by piece and puts it on one clock with the
// device's trace (docs/trace.md).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "guest-driver/libvttm/agent/system_files.h"
#include "guest-driver/libvttm/fd.h"

namespace vttm::guest {

class EventTrace {
public:
    // Makes the instance, with so much room per CPU, and starts. Throws Error if this kernel cannot.
    EventTrace(const SystemFiles& files, std::uint64_t buffer_kib);
    ~EventTrace();
    EventTrace(const EventTrace&) = delete;
    EventTrace& operator=(const EventTrace&) = delete;

    // Names of what is traced, and of what this kernel does not have.
    const std::vector<std::string>& events() const { return events_; }
    const std::vector<std::string>& missing() const { return missing_; }

    struct Piece {
        std::string text;   // whole lines, each byte of which is printable ASCII
        bool more = false;  // there is more to read now
    };
    // Takes the oldest lines out of the ring, about this many bytes.
    Piece read(std::size_t bytes);

    // Nothing more is traced; what is in the ring can still be read.
    void stop();

    // Of all CPUs so far: events that no read() will bring.
    std::uint64_t lost() const;

private:
    void enable(const char* event);

    const SystemFiles& files_;
    Fd pipe_;
    std::string partial_;
    std::vector<std::string> events_;
    std::vector<std::string> missing_;
};

// Of the text of a CPU's `stats`: events lost for whatever reason. Throws Error (EPROTO) for other text.
std::uint64_t lost_events(std::string_view stats);

}  // namespace vttm::guest
