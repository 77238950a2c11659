// SPDX-License-Identifier: Apache-2.0
// hello, backup.set, sync, poweroff.
#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <thread>

#include "guest-driver/libvttm/agent/op.h"

namespace vttm::guest {
namespace {

constexpr const char* kAgentVersion = "0.1.0";
constexpr std::string_view kBackup = "/sys/module/ttm/parameters/backup";
constexpr std::string_view kRestore = "/sys/module/ttm/parameters/restore";
constexpr std::int64_t kPageBytes = 4096;
constexpr std::uint64_t kSyncDefaultMs = 60'000;
constexpr std::uint64_t kSyncMaxMs = 600'000;

Reply hello(Context& context, const Request&, Events&) {
    Reply reply;
    utsname kernel = {};
    ::uname(&kernel);
    reply.members["agent"] = kAgentVersion;
    reply.members["kernel"] = kernel.release;
    const auto meminfo = parse_meminfo(context.files.read("/proc/meminfo"));
    const auto total = meminfo.find("MemTotal");
    reply.members["mem_total_kib"] = total == meminfo.end() ? 0 : total->second;
    const auto backup = context.files.try_read_line(kBackup);
    reply.members["backup"] = backup ? nlohmann::json(*backup) : nlohmann::json();
    try {
        const GpuInfo info = context.gpu().info();
        reply.members["abi"] = fmt::format("{}.{}", info.abi >> 16, info.abi & 0xffffu);
        reply.members["vram_bytes"] = info.vram_bytes;
        reply.members["gtt_bytes"] = info.gtt_bytes;
    } catch (const Error& error) {
        for (const char* name : {"abi", "vram_bytes", "gtt_bytes"}) {
            reply.members[name] = nullptr;
        }
        reply.members["device_error"] = error.what();
    }
    return reply;
}

// Writes a parameter of ttm.ko and returns what the kernel then reads back.
std::string set_parameter(const SystemFiles& files, std::string_view path, const std::string& value) {
    files.write(path, value);
    const std::string now = files.try_read_line(path).value_or("");
    if (now != value) {
        throw Error(EIO, fmt::format("{} is '{}' after '{}' was written", path, now, value));
    }
    return now;
}

Reply backup_set(Context& context, const Request& request, Events&) {
    const std::vector<std::string> modes = {"copy", "insert", "swapcache"};
    const std::vector<std::string> ways_back = {"auto", "copy"};
    const std::string& mode = modes[request.choice("mode", modes)];
    Reply reply;
    reply.members["mode"] = set_parameter(context.files, kBackup, mode);
    if (request.has("restore")) {
        const std::string& restore = ways_back[request.choice("restore", ways_back)];
        reply.members["restore"] = set_parameter(context.files, kRestore, restore);
    }
    return reply;
}

std::int64_t pages_under_writeback(const SystemFiles& files) {
    const auto vmstat = parse_name_value(files.read("/proc/vmstat"));
    const auto it = vmstat.find("nr_writeback");
    return it == vmstat.end() ? 0 : it->second;
}

Reply sync_all(Context& context, const Request& request, Events&) {
    using Clock = std::chrono::steady_clock;
    const std::uint64_t limit = request.number("timeout_ms", 0, kSyncMaxMs, kSyncDefaultMs);
    const Clock::time_point deadline = Clock::now() + std::chrono::milliseconds(limit);
    ::sync();
    std::int64_t writeback = pages_under_writeback(context.files);
    while (writeback != 0 && Clock::now() < deadline) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        writeback = pages_under_writeback(context.files);
    }
    if (writeback != 0) {
        throw Error(ETIME,
                    fmt::format("{} pages still under writeback after {} ms", writeback, limit));
    }
    Reply reply;
    reply.members["swapped_pages"] =
        parse_swaps_used(context.files.read("/proc/swaps")) / kPageBytes;
    return reply;
}

Reply power_off(Context& context, const Request&, Events&) {
    Reply reply;
    reply.then = context.machine.power_off;
    return reply;
}

constexpr std::array kOps = {
    Op{"hello", hello},
    Op{"backup.set", backup_set},
    Op{"sync", sync_all},
    Op{"poweroff", power_off},
};

}  // namespace

std::span<const Op> system_ops() { return kOps; }

}  // namespace vttm::guest
