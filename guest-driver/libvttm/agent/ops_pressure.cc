// SPDX-License-Identifier: Apache-2.0
// pressure.*, shrinker.scan.
#include <fmt/format.h>

#include <array>
#include <charconv>
#include <optional>

#include "guest-driver/libvttm/agent/allocation_trace.h"
#include "guest-driver/libvttm/agent/hog_cgroup.h"
#include "guest-driver/libvttm/agent/op.h"
#include "guest-driver/libvttm/agent/stopwatch.h"

namespace vttm::guest {
namespace {

constexpr std::uint64_t kMaxMib = 1u << 20;
constexpr std::uint64_t kDefaultStepMib = 16;
constexpr std::uint64_t kOtherAllocations = 4096;  // of the whole guest, during one scan

Reply hog(Context& context, const Request& request, Events& events) {
    const std::uint64_t mib = request.number("mib", 0, kMaxMib);
    const std::uint64_t step = request.number("step_mib", 1, kMaxMib, kDefaultStepMib);
    const bool touch = request.flag("touch", false);
    const HogCgroup cgroup(context.files);
    std::string directory;
    try {
        cgroup.prepare();
        directory = cgroup.directory();
    } catch (const Error&) {
        // Without cgroup v2 the hog presses on the whole guest all the same; `memcg` tells.
    }
    std::uint64_t goal = 0;
    const HogChild::Progress progress = [&](std::uint64_t held) { events.progress(held, goal); };
    HogState state;
    goal = context.hog.held_mib() + mib;
    state = context.hog.grow(mib, step, directory, progress);
    if (touch && !state.killed) {
        state = context.hog.touch(progress);
    }
    Reply reply;
    reply.members["held_mib"] = state.held_mib;
    reply.members["killed"] = state.killed;
    reply.members["memcg"] = !directory.empty();
    return reply;
}

Reply release(Context& context, const Request&, Events&) {
    Reply reply;
    reply.members["released_mib"] = context.hog.release();
    return reply;
}

Reply reclaim(Context& context, const Request& request, Events&) {
    const std::uint64_t mib = request.number("mib", 1, kMaxMib);
    Reply reply;
    reply.members["reclaimed"] =
        HogCgroup(context.files).reclaim(mib, request.flag("memcg", false));
    return reply;
}

Reply memcg(Context& context, const Request& request, Events&) {
    const std::uint64_t mib = request.number("limit_mib", 0, kMaxMib);
    const HogCgroup cgroup(context.files);
    cgroup.prepare();
    cgroup.limit(mib);
    Reply reply;
    reply.members["limit_mib"] = mib;
    return reply;
}

// The file's lines are "<cgroup inode> <objects on node 0> ...".
std::int64_t shrinkable(const SystemFiles& files, const std::string& directory) {
    std::int64_t pages = 0;
    const std::string text = files.read(directory + "/count");
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = std::min(text.find('\n', at), text.size());
        std::size_t blank = text.find(' ', at);
        while (blank < end) {
            std::int64_t count = 0;
            std::from_chars(text.data() + blank + 1, text.data() + end, count);
            pages += count;
            blank = text.find(' ', blank + 1);
        }
        at = end + 1;
    }
    return pages;
}

Reply scan(Context& context, const Request& request, Events&) {
    const std::uint64_t pages = request.number("pages", 1, kMaxMib * 256);
    const SystemFiles& files = context.files;
    const std::string directory = find_shrinker_debugfs(files);
    if (directory.empty()) {
        throw Error(ENODEV, "no shrinker of vttm in /sys/kernel/debug/shrinker");
    }
    const std::int64_t before = shrinkable(files, directory);
    std::optional<AllocationTrace> trace;
    if (request.flag("trace", false)) {
        // A copy takes a page for a page, and the nodes of the page cache.
        trace.emplace(files, 2 * pages + kOtherAllocations);
        trace->start();
    }
    const Stopwatch watch;
    // memory cgroup inode (0: none), NUMA node, objects
    files.write(directory + "/scan", fmt::format("0 0 {}\n", pages));
    Reply reply;
    reply.members["ns"] = watch.ns();
    if (trace) {
        nlohmann::json& allocated = reply.members["allocated"] = nlohmann::json::array();
        for (const PageRun& run : trace->stop()) {
            allocated.push_back({run.addr, run.pages});
        }
    }
    reply.members["freed"] = std::max<std::int64_t>(before - shrinkable(files, directory), 0);
    return reply;
}

constexpr std::array kOps = {
    Op{"pressure.hog", hog},     Op{"pressure.release", release}, Op{"pressure.reclaim", reclaim},
    Op{"pressure.memcg", memcg}, Op{"shrinker.scan", scan},
};

}  // namespace

std::span<const Op> pressure_ops() { return kOps; }

}  // namespace vttm::guest
