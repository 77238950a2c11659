// SPDX-License-Identifier: Apache-2.0
#include "host-backend/trace/device_trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include "protocol/vttm_packets.h"

namespace vttm::trace {

DeviceTrace parse_device_trace(std::string_view bytes) {
    vttm_trace_header header{};
    if (bytes.size() < sizeof(header)) throw std::runtime_error("the device's trace has no header");
    std::memcpy(&header, bytes.data(), sizeof(header));
    if (header.magic != VTTM_TRACE_MAGIC || header.version != VTTM_TRACE_VERSION ||
        header.record_size != sizeof(vttm_trace_record))
        throw std::runtime_error(fmt::format("no trace of a vttm device: magic {:#x}, version {}, records of {} bytes",
                                             header.magic, header.version, header.record_size));
    bytes.remove_prefix(sizeof(header));
    DeviceTrace trace;
    trace.torn_bytes = bytes.size() % sizeof(vttm_trace_record);
    trace.records.reserve(bytes.size() / sizeof(vttm_trace_record));
    for (; bytes.size() >= sizeof(vttm_trace_record); bytes.remove_prefix(sizeof(vttm_trace_record))) {
        vttm_trace_record record;
        std::memcpy(&record, bytes.data(), sizeof(record));
        if (record.kind < VTTM_TRACE_PACKET_BEGIN || record.kind > VTTM_TRACE_RESUME)
            ++trace.unknown;
        else
            trace.records.push_back(record);
    }
    // Each ring's are in order already: what happened at the same time stays as it was written.
    std::stable_sort(trace.records.begin(), trace.records.end(),
                     [](const auto& a, const auto& b) { return a.time_ns < b.time_ns; });
    return trace;
}

DeviceTrace read_device_trace(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) throw std::runtime_error(fmt::format("cannot read {}", path.string()));
    const std::string bytes{std::istreambuf_iterator<char>(in), {}};
    return parse_device_trace(bytes);
}

std::vector<Standstill> DeviceTrace::standstills() const {
    std::vector<Standstill> all;
    unsigned depth = 0;
    std::uint64_t since = 0;
    for (const vttm_trace_record& r : records) {
        if (r.kind == VTTM_TRACE_PAUSE && depth++ == 0) since = r.time_ns;
        if (r.kind == VTTM_TRACE_RESUME && depth && --depth == 0) all.push_back({since, r.time_ns});
    }
    if (depth) all.push_back({since, records.back().time_ns});
    return all;
}

std::string packet_name(std::uint32_t header) {
    switch (VTTM_PKT_OP(header)) {
        case VTTM_OP_NOP: return "NOP";
        case VTTM_OP_SET_VM: return "SET_VM";
        case VTTM_OP_FENCE: return "FENCE";
        case VTTM_OP_TIMESTAMP: return "TIMESTAMP";
        case VTTM_OP_SEM_SIGNAL: return "SEM_SIGNAL";
        case VTTM_OP_SEM_WAIT: return "SEM_WAIT";
        case VTTM_OP_COND_SKIP: return "COND_SKIP";
        case VTTM_OP_INDIRECT: return "INDIRECT";
        case VTTM_OP_COPY: return "COPY";
        case VTTM_OP_FILL: return "FILL";
        case VTTM_OP_COPY_2D: return "COPY_2D";
        case VTTM_OP_FILL_2D: return "FILL_2D";
        case VTTM_OP_SCATTER: return "SCATTER";
        case VTTM_OP_GATHER: return "GATHER";
        case VTTM_OP_STAMP_WRITE: return "STAMP_WRITE";
        case VTTM_OP_STAMP_VERIFY: return "STAMP_VERIFY";
        case VTTM_OP_HASH: return "HASH";
        default: return fmt::format("opcode {:#x}", VTTM_PKT_OP(header));
    }
}

std::string ring_name(unsigned engine, unsigned ring) {
    const char* known[] = {"copy", "stamp"};
    const std::string name = engine < std::size(known) ? known[engine] : fmt::format("engine {}", engine);
    return ring == 0 ? name : fmt::format("{} ring {}", name, ring);
}

}  // namespace vttm::trace
