// SPDX-License-Identifier: Apache-2.0
// counters: what the kernel counted.
#include <array>
#include <utility>

#include "guest-driver/libvttm/agent/hog_cgroup.h"
#include "guest-driver/libvttm/agent/op.h"

namespace vttm::guest {
namespace {

constexpr std::string_view kBackupStats = "/sys/kernel/debug/ttm/backup_stats";
constexpr std::string_view kSwapBackupStats = "/sys/kernel/debug/swap_backup/stats";
// Written to, it folds the per-CPU parts into what /proc/vmstat shows: balances must be exact.
constexpr std::string_view kStatRefresh = "/proc/sys/vm/stat_refresh";

Reply counters(Context& context, const Request&, Events&) {
    const SystemFiles& files = context.files;
    Reply reply;
    files.try_write(kStatRefresh, "1");  // a kernel without it: the values may lag a little
    reply.members["vmstat"] = parse_name_value(files.read("/proc/vmstat"));
    reply.members["meminfo"] = parse_meminfo(files.read("/proc/meminfo"));
    reply.members["swaps"] = parse_swaps_used(files.read("/proc/swaps"));
    reply.members["buddyinfo"] = parse_buddyinfo(files.read("/proc/buddyinfo"));
    for (const auto& [group, path] :
         {std::pair{"backup", kBackupStats}, std::pair{"swap_backup", kSwapBackupStats}}) {
        nlohmann::json& stats = reply.members[group] = nlohmann::json::object();
        if (files.exists(path)) {
            stats = parse_name_value(files.read(path));
        }
    }
    nlohmann::json& driver = reply.members["vttm"] = nlohmann::json::object();
    if (const std::string directory = find_driver_debugfs(files); !directory.empty()) {
        driver = parse_name_value(files.read(directory + "/vttm_stats"));
    }
    reply.members["memcg"] = HogCgroup(files).counters();
    return reply;
}

constexpr std::array kOps = {Op{"counters", counters}};

}  // namespace

std::span<const Op> counter_ops() { return kOps; }

}  // namespace vttm::guest
