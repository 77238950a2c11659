// SPDX-License-Identifier: Apache-2.0
#include "guest-driver/libvttm/agent/allocation_trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <optional>
#include <string>

#include "guest-driver/libvttm/error.h"

namespace vttm::guest {
namespace {

constexpr std::string_view kInstances = "/sys/kernel/tracing/instances";
constexpr std::string_view kInstance = "/sys/kernel/tracing/instances/vttm-allocations";
constexpr std::string_view kSwitch = "/sys/kernel/tracing/instances/vttm-allocations/events/kmem/mm_page_alloc/enable";
constexpr std::string_view kHeading = "entries-in-buffer/entries-written: ";
constexpr std::string_view kEvent = ": mm_page_alloc: ";
constexpr std::uint64_t kPageBytes = 4096;
// One entry in the ring, with what it loses at the end of each page.
constexpr std::uint64_t kEventBytes = 64;

std::string inside(std::string_view name) { return fmt::format("{}/{}", kInstance, name); }

// The number that follows `name` in the line.
std::uint64_t number_after(std::string_view line, std::string_view name, int base) {
    const std::size_t at = line.find(name);
    std::uint64_t value = 0;
    if (at == line.npos ||
        std::from_chars(line.data() + at + name.size(), line.data() + line.size(), value, base).ec != std::errc{}) {
        throw Error(EPROTO, fmt::format("no {} in the trace's \"{}\"", name, line));
    }
    return value;
}

[[noreturn]] void lost(const std::string& what) {
    throw Error(EOVERFLOW, fmt::format("the trace of allocations is not whole: {}", what));
}

std::vector<PageRun> joined(std::vector<PageRun> runs) {
    std::sort(runs.begin(), runs.end(), [](const PageRun& a, const PageRun& b) { return a.addr < b.addr; });
    std::vector<PageRun> out;
    for (const PageRun& run : runs) {
        const std::uint64_t end = out.empty() ? 0 : out.back().addr + out.back().pages * kPageBytes;
        if (out.empty() || run.addr > end) {
            out.push_back(run);
        } else {
            // A page may be allocated, freed and allocated again.
            const std::uint64_t last = std::max(end, run.addr + run.pages * kPageBytes);
            out.back().pages = (last - out.back().addr) / kPageBytes;
        }
    }
    return out;
}

}  // namespace

std::vector<PageRun> parse_allocations(std::string_view trace) {
    std::optional<std::uint64_t> entries;
    std::uint64_t seen = 0;
    std::vector<PageRun> runs;
    while (!trace.empty()) {
        const std::string_view line = trace.substr(0, trace.find('\n'));
        trace.remove_prefix(std::min(line.size() + 1, trace.size()));
        if (line.find(kHeading) != line.npos) {
            entries = number_after(line, kHeading, 10);
            const std::uint64_t written = number_after(line, fmt::format("{}{}/", kHeading, *entries), 10);
            if (*entries != written) {
                lost(fmt::format("{} of {} events are left", *entries, written));
            }
        }
        if (line.empty() || line.starts_with('#')) {
            continue;
        }
        if (line.find(kEvent) == line.npos) {
            lost(fmt::format("it says \"{}\"", line));
        }
        ++seen;
        const std::uint64_t pfn = number_after(line, " pfn=0x", 16);
        if (pfn != 0) {  // 0: there was no memory
            runs.push_back({pfn * kPageBytes, 1ull << number_after(line, " order=", 10)});
        }
    }
    if (!entries) {
        throw Error(EPROTO, "the trace has no heading");
    }
    if (seen != *entries) {
        lost(fmt::format("{} of {} events were read", seen, *entries));
    }
    return joined(std::move(runs));
}

void check_ring(std::string_view stats) {
    for (const std::string_view name : {"\noverrun: ", "\ncommit overrun: ", "\ndropped events: "}) {
        if (const std::uint64_t events = number_after(stats, name, 10); events != 0) {
            lost(fmt::format("{}{}", name.substr(1), events));
        }
    }
}

AllocationTrace::AllocationTrace(const SystemFiles& files, std::uint64_t events) : files_(files) {
    if (!files.exists(kInstances)) {
        throw Error(ENOTSUP, "this kernel has no tracefs, or it is not mounted");
    }
    std::error_code error;
    if (!std::filesystem::create_directory(files.path(kInstance), error)) {
        throw Error(error ? error.value() : EEXIST, fmt::format("make {}", kInstance));
    }
    try {
        files.write(inside("buffer_size_kb"), std::to_string(std::max<std::uint64_t>(events * kEventBytes / 1024, 4)));
    } catch (const Error&) {
        std::filesystem::remove(files.path(kInstance), error);
        throw;
    }
}

AllocationTrace::~AllocationTrace() {
    files_.try_write(kSwitch, "0");
    std::error_code error;
    std::filesystem::remove(files_.path(kInstance), error);
}

void AllocationTrace::start() {
    files_.write(inside("trace"), "\n");
    files_.write(kSwitch, "1");
}

std::vector<PageRun> AllocationTrace::stop() {
    files_.write(kSwitch, "0");
    for (const std::string& cpu : files_.list(inside("per_cpu"))) {
        check_ring(files_.read(inside("per_cpu/" + cpu + "/stats")));
    }
    return parse_allocations(files_.read(inside("trace")));
}

}  // namespace vttm::guest
