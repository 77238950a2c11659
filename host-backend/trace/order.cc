// SPDX-License-Identifier: Apache-2.0
#include "host-backend/trace/order.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <string_view>

#include "protocol/vttm_packets.h"
#include "protocol/vttm_regs.h"

namespace vttm::trace {
namespace {

// The scheduler's name of an engine (vttm_drv.c).
std::optional<unsigned> engine_of(std::string_view ring) {
    if (ring == "vttm-copy") return 0;
    if (ring == "vttm-stamp") return 1;
    return std::nullopt;
}

// Which engine a context of the driver's fences belongs to. The fences themselves do not say; but the
// scheduler names the engine, and then the same thread makes the fence.
class Contexts {
public:
    void see(const GuestEvent& e) {
        if (e.name == "drm_sched_job_run") {
            running_[e.pid] = engine_of(field_text(e.fields, "ring"));
        } else if (e.name == "dma_fence_init" && field_text(e.fields, "driver") == "vttm") {
            const auto context = field_number(e.fields, "context");
            const auto run = running_.find(e.pid);
            if (context && run != running_.end() && run->second) engines_.try_emplace(*context, *run->second);
        }
    }
    std::optional<unsigned> engine(std::uint64_t context) const {
        const auto it = engines_.find(context);
        return it == engines_.end() ? std::nullopt : std::optional(it->second);
    }

private:
    std::map<unsigned, std::optional<unsigned>> running_;  // by thread
    std::map<std::uint64_t, unsigned> engines_;
};

struct DeviceJob {
    std::uint64_t doorbell = 0, begin = 0, fence = 0, irq = 0;
};

// By engine and number of the fence. One that is written again (after a reset) counts as what it was last.
std::map<std::pair<unsigned, std::uint64_t>, DeviceJob> device_jobs(const DeviceTrace& device) {
    std::map<std::pair<unsigned, std::uint64_t>, DeviceJob> jobs;
    struct Ring {
        std::uint64_t begin = 0, doorbell = 0;
        DeviceJob* fenced = nullptr;  // its interrupt has not come
    };
    std::map<unsigned, Ring> rings;  // ring 0 of each engine is the driver's
    for (const vttm_trace_record& r : device.records) {
        if (r.kind == VTTM_TRACE_IRQ) {
            for (auto& [engine, ring] : rings)
                if (ring.fenced && r.value == VTTM_MSIX_ENGINE(engine)) {
                    ring.fenced->irq = r.time_ns;
                    ring.fenced = nullptr;
                }
            continue;
        }
        if (r.kind == VTTM_TRACE_RESET && r.engine == VTTM_TRACE_NONE)
            for (auto& [engine, ring] : rings) ring.begin = 0;
        if (r.engine == VTTM_TRACE_NONE || r.ring != 0) continue;
        Ring& ring = rings[r.engine];
        if (r.kind == VTTM_TRACE_TAIL) ring.doorbell = r.time_ns;
        if (r.kind == VTTM_TRACE_RESET) ring.begin = 0;
        if (r.kind == VTTM_TRACE_PACKET_BEGIN && ring.begin == 0) ring.begin = r.time_ns;
        if (r.kind == VTTM_TRACE_FENCE) {
            DeviceJob& job = jobs[{r.engine, r.value}];
            job = {.doorbell = ring.doorbell, .begin = ring.begin, .fence = r.time_ns};
            ring.fenced = &job;
            ring.begin = 0;
        }
    }
    return jobs;
}

}  // namespace

std::vector<Job> match_jobs(const std::vector<GuestEvent>& guest, const DeviceTrace& device) {
    const auto device_side = device_jobs(device);
    std::vector<Job> jobs;
    std::map<std::pair<std::uint64_t, std::uint64_t>, std::size_t> at;  // context, number
    Contexts contexts;
    for (const GuestEvent& e : guest) {
        contexts.see(e);
        const bool made = e.name == "dma_fence_init";
        if (!made && e.name != "dma_fence_signaled") continue;
        const auto context = field_number(e.fields, "context");
        const auto number = field_number(e.fields, "seqno");
        if (!context || !number) continue;
        if (made) {
            // The scheduler has fences of its own, which are made earlier and signaled later.
            const auto engine = contexts.engine(*context);
            if (!engine || field_text(e.fields, "driver") != "vttm") continue;
            at[{*context, *number}] = jobs.size();
            jobs.push_back({.engine = *engine, .context = *context, .number = *number, .made = e.time_ns});
        } else if (const auto job = at.find({*context, *number}); job != at.end()) {
            jobs[job->second].signaled = e.time_ns;
        }
    }
    for (Job& job : jobs) {
        const auto it = device_side.find({job.engine, job.number});
        if (it == device_side.end()) continue;
        job.doorbell = it->second.doorbell;
        job.begin = it->second.begin;
        job.fence = it->second.fence;
        job.irq = it->second.irq;
    }
    std::erase_if(jobs, [](const Job& job) { return !job.fence || !job.signaled || !job.begin; });
    return jobs;
}

Order check_order(const std::vector<Job>& jobs, const ClockMap& clocks) {
    Order order;
    order.slack_begin_ns = order.slack_signal_ns = std::numeric_limits<std::int64_t>::max();
    for (const Job& job : jobs) {
        const auto made = clocks.map(job.made);
        const auto signaled = clocks.map(job.signaled);
        if (!made || !signaled) {
            ++order.unmapped;
            continue;
        }
        ++order.jobs;
        const auto before = static_cast<std::int64_t>(job.begin - made->ns);
        const auto after = static_cast<std::int64_t>(signaled->ns - job.fence);
        order.slack_begin_ns = std::min(order.slack_begin_ns, before);
        order.slack_signal_ns = std::min(order.slack_signal_ns, after);
        // The kernel cuts its times off, so an event may be later than it says by one unit.
        const std::int64_t beyond =
            std::max(-before - static_cast<std::int64_t>(made->error),
                     -after - static_cast<std::int64_t>(signaled->error + kGuestTimeUnit));
        if (beyond <= 0) continue;
        ++order.violations;
        order.worst_ns = std::max(order.worst_ns, beyond);
    }
    if (!order.jobs) order.slack_begin_ns = order.slack_signal_ns = 0;
    return order;
}

}  // namespace vttm::trace
