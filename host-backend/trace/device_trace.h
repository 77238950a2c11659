// SPDX-License-Identifier: Apache-2.0
// The device's trace log (protocol/vttm_trace.h), read and put in order.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "host-backend/trace/clock_map.h"
#include "protocol/vttm_trace.h"

namespace vttm::trace {

struct DeviceTrace {
    std::vector<vttm_trace_record> records;  // by time
    std::uint64_t torn_bytes = 0;            // of a last record that is not whole
    std::uint64_t unknown = 0;               // records of a kind that this program does not know: dropped

    // While the engines were stopped. One that has not ended lasts to the end of the trace.
    std::vector<Standstill> standstills() const;
};

// Throws std::runtime_error if these bytes are no such log.
DeviceTrace parse_device_trace(std::string_view bytes);
DeviceTrace read_device_trace(const std::filesystem::path& path);

// "COPY"; "opcode 0x7f" for one that is not known.
std::string packet_name(std::uint32_t header);
// "stamp", "stamp ring 2"; "engine 7" for one that is not known.
std::string ring_name(unsigned engine, unsigned ring);

}  // namespace vttm::trace
