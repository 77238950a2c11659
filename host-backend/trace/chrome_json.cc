// SPDX-License-Identifier: Apache-2.0
#include "host-backend/trace/chrome_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <string_view>
#include <utility>

#include "protocol/vttm_regs.h"

namespace vttm::trace {
namespace {

using nlohmann::ordered_json;

// The three "processes"; the threads are their tracks.
constexpr unsigned kGpu = 1, kGuest = 2, kHost = 3;
constexpr unsigned kIrqTrack = 1, kDeviceTrack = 2;
constexpr unsigned kIdle = 10'000'000;  // the guest's thread 0 of a CPU: above any pid

// Two tracks for each ring, its jobs and its packets: one inside the other would do, were it not for packets
// that a reset cuts off.
unsigned jobs_track(unsigned engine, unsigned ring) { return 100 + (engine * 16 + ring % 16) * 2; }
unsigned packets_track(unsigned engine, unsigned ring) { return jobs_track(engine, ring) + 1; }

class Writer {
public:
    Writer() { text_ = "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n"; }

    void track(unsigned pid, unsigned tid, const std::string& name, unsigned order) {
        if (!named_.insert({pid, tid}).second) return;
        put({{"ph", "M"}, {"pid", pid}, {"tid", tid}, {"name", "thread_name"}, {"args", {{"name", name}}}});
        put({{"ph", "M"}, {"pid", pid}, {"tid", tid}, {"name", "thread_sort_index"}, {"args", {{"sort_index", order}}}});
    }
    void process(unsigned pid, const char* name) {
        put({{"ph", "M"}, {"pid", pid}, {"tid", 0}, {"name", "process_name"}, {"args", {{"name", name}}}});
        put({{"ph", "M"}, {"pid", pid}, {"tid", 0}, {"name", "process_sort_index"}, {"args", {{"sort_index", pid}}}});
    }
    void slice(unsigned pid, unsigned tid, const std::string& name, const char* category,
               std::uint64_t begin, std::uint64_t end, ordered_json args) {
        put({{"ph", "X"}, {"pid", pid}, {"tid", tid}, {"ts", micros(begin)}, {"dur", micros(end - begin)},
             {"cat", category}, {"name", name}, {"args", std::move(args)}});
    }
    void instant(unsigned pid, unsigned tid, const std::string& name, const char* category,
                 std::uint64_t at, ordered_json args) {
        put({{"ph", "i"}, {"s", "t"}, {"pid", pid}, {"tid", tid}, {"ts", micros(at)},
             {"cat", category}, {"name", name}, {"args", std::move(args)}});
    }
    std::string finish(const ordered_json& metadata) {
        text_ += "\n],\"metadata\":" + dump(metadata) + "}\n";
        return std::move(text_);
    }

private:
    // Names come from the guest: what is no UTF-8 is replaced.
    static std::string dump(const ordered_json& j) {
        return j.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
    }
    // A double holds ns as fractions of µs exactly enough for 50 days.
    static double micros(std::uint64_t ns) { return static_cast<double>(ns) / 1000; }
    void put(const ordered_json& event) {
        if (!first_) text_ += ",\n";
        first_ = false;
        text_ += dump(event);
    }

    std::string text_;
    std::set<std::pair<unsigned, unsigned>> named_;
    bool first_ = true;
};

// Packets, and jobs: what lies between two fences.
class Rings {
public:
    explicit Rings(Writer& out) : out_(out) {}

    void add(const vttm_trace_record& r) {
        Ring& ring = rings_[{r.engine, r.ring}];
        if (ring.name.empty()) {
            ring.name = ring_name(r.engine, r.ring);
            ring.jobs = jobs_track(r.engine, r.ring);
            ring.packets = packets_track(r.engine, r.ring);
            out_.track(kGpu, ring.jobs, ring.name + ": jobs", ring.jobs);
            out_.track(kGpu, ring.packets, ring.name + ": packets", ring.packets);
        }
        switch (r.kind) {
            case VTTM_TRACE_PACKET_BEGIN:
                cut(ring, r.time_ns);
                ring.open = true;
                ring.packet = r;
                if (!ring.in_job) ring.job_begin = r.time_ns;
                ring.in_job = true;
                break;
            case VTTM_TRACE_PACKET_END:
                if (ring.open) packet(ring, r.time_ns, nullptr);
                if (ring.fenced) job(ring, r.time_ns);
                break;
            case VTTM_TRACE_FENCE:
                ring.fenced = true;
                ring.fence = r.value;
                out_.instant(kGpu, ring.packets, fmt::format("fence {}", r.value), "fence", r.time_ns,
                             {{"fence", r.value}, {"address", fmt::format("{:#x}", r.addr)}});
                break;
            case VTTM_TRACE_FAULT:
                out_.instant(kGpu, ring.packets, fmt::format("fault {}", VTTM_FAULT_INFO_REASON(r.value)), "fault",
                             r.time_ns,
                             {{"reason", VTTM_FAULT_INFO_REASON(r.value)}, {"vm", VTTM_FAULT_INFO_VM(r.value)},
                              {"write", (r.value & VTTM_FAULT_INFO_WRITE) != 0}, {"address", fmt::format("{:#x}", r.addr)}});
                break;
            case VTTM_TRACE_RESET:
                out_.instant(kGpu, ring.packets, "reset", "reset", r.time_ns, {{"rings", r.value}});
                reset(r.engine, r.value, r.time_ns);
                break;
            case VTTM_TRACE_TAIL:
                out_.instant(kGpu, ring.jobs, "doorbell", "doorbell", r.time_ns, {{"tail", r.value}});
                break;
            default:
                break;
        }
    }
    void reset_all(std::uint64_t at) {
        for (auto& [key, ring] : rings_) note_reset(ring, at);
    }
    // What is under way at the end of the trace.
    void finish(std::uint64_t at) {
        for (auto& [key, ring] : rings_) {
            if (ring.open) packet(ring, at, "not finished");
            if (ring.in_job) job(ring, at);
        }
    }

private:
    struct Ring {
        std::string name;
        unsigned jobs = 0, packets = 0;
        bool open = false;
        vttm_trace_record packet{};
        bool in_job = false, fenced = false;
        std::uint64_t job_begin = 0, fence = 0;
        std::uint64_t reset = 0;  // when one was asked for; 0: since the last packet none
    };

    void packet(Ring& ring, std::uint64_t end, const char* cut) {
        ordered_json args = {{"header", fmt::format("{:#010x}", ring.packet.value)},
                             {"address", fmt::format("{:#x}", ring.packet.addr)}};
        if (cut) args["cut"] = cut;
        out_.slice(kGpu, ring.packets, packet_name(static_cast<std::uint32_t>(ring.packet.value)), "packet",
                   ring.packet.time_ns, end, std::move(args));
        ring.open = false;
        ring.reset = 0;
    }
    void job(Ring& ring, std::uint64_t end) {
        const std::string name = ring.fenced ? fmt::format("job {}", ring.fence) : "job without a fence";
        out_.slice(kGpu, ring.jobs, name, "job", ring.job_begin, end,
                   ring.fenced ? ordered_json{{"fence", ring.fence}} : ordered_json::object());
        ring.in_job = ring.fenced = false;
    }
    // A packet that has no end was ended by a reset, which is told when it is asked for.
    void cut(Ring& ring, std::uint64_t next) {
        const std::uint64_t end = ring.reset ? std::min(ring.reset, next) : next;
        if (ring.open) packet(ring, end, ring.reset ? "reset" : "its end is missing");
        if (ring.in_job && ring.reset) job(ring, end);
        ring.reset = 0;
    }
    static void note_reset(Ring& ring, std::uint64_t at) {
        if (ring.open || ring.in_job) ring.reset = at;
    }
    void reset(unsigned engine, std::uint64_t rings, std::uint64_t at) {
        for (auto& [key, ring] : rings_)
            if (key.first == engine && key.second < 64 && rings >> key.second & 1) note_reset(ring, at);
    }

    Writer& out_;
    std::map<std::pair<unsigned, unsigned>, Ring> rings_;
};

void write_device(Writer& out, const DeviceTrace& device) {
    constexpr const char* kVectors[] = {"error", "copy", "stamp", "vram"};
    out.process(kGpu, "GPU");
    out.track(kGpu, kIrqTrack, "interrupts", kIrqTrack);
    out.track(kGpu, kDeviceTrack, "device", kDeviceTrack);
    Rings rings(out);
    for (const vttm_trace_record& r : device.records) {
        if (r.kind == VTTM_TRACE_IRQ)
            out.instant(kGpu, kIrqTrack,
                        fmt::format("irq {}", r.value < std::size(kVectors) ? kVectors[r.value] : "?"), "irq",
                        r.time_ns, {{"vector", r.value}});
        else if (r.kind == VTTM_TRACE_RESET && r.engine == VTTM_TRACE_NONE) {
            out.instant(kGpu, kDeviceTrack, "device reset", "reset", r.time_ns, ordered_json::object());
            rings.reset_all(r.time_ns);
        } else if (r.engine != VTTM_TRACE_NONE) {
            rings.add(r);
        }
    }
    if (!device.records.empty()) rings.finish(device.records.back().time_ns);
    for (const Standstill& s : device.standstills())
        out.slice(kGpu, kDeviceTrack, "stopped by the host", "pause", s.begin, s.end, ordered_json::object());
}

// Begins and ends that make one slice.
constexpr std::pair<std::string_view, std::string_view> kPairs[] = {
    {"mm_vmscan_direct_reclaim_begin", "direct reclaim"},
    {"mm_vmscan_direct_reclaim_end", "direct reclaim"},
    {"mm_shrink_slab_start", "shrink slab"},
    {"mm_shrink_slab_end", "shrink slab"},
};

std::uint64_t write_guest(Writer& out, const GuestTrace& guest, const ClockMap& clock) {
    out.process(kGuest, "guest");
    std::uint64_t outside = 0;
    struct Open {
        std::uint64_t begin;
        std::string fields;
    };
    std::map<std::pair<unsigned, std::string_view>, Open> open;
    for (const GuestEvent& e : guest.events) {
        const auto at = clock.map(e.time_ns);
        if (!at) {
            ++outside;
            continue;
        }
        const unsigned tid = e.pid ? e.pid : kIdle + e.cpu;
        out.track(kGuest, tid, e.pid ? e.comm : fmt::format("idle of CPU {}", e.cpu), tid);
        ordered_json args = {{"cpu", e.cpu}, {"fields", e.fields}, {"error_ns", at->error + kGuestTimeUnit}};
        if (const auto number = field_number(e.fields, "seqno")) args["fence"] = *number;
        std::string_view pair;
        for (const auto& [name, slice] : kPairs)
            if (e.name == name) pair = slice;
        if (pair.empty()) {
            out.instant(kGuest, tid, e.name, "guest", at->ns, std::move(args));
        } else if (!e.name.ends_with("_end")) {
            open[{tid, pair}] = {at->ns, e.fields};
        } else if (const auto begun = open.find({tid, pair}); begun != open.end()) {
            args["begin"] = begun->second.fields;
            out.slice(kGuest, tid, std::string(pair), "guest", begun->second.begin,
                      std::max(at->ns, begun->second.begin), std::move(args));
            open.erase(begun);
        }
    }
    return outside;
}

std::uint64_t write_host(Writer& out, const std::vector<HostPhase>& phases, const ClockMap& clock) {
    out.process(kHost, "host");
    out.track(kHost, 1, "phases", 1);
    std::uint64_t outside = 0;
    for (const HostPhase& p : phases) {
        auto begin = clock.map(p.begin);
        const auto end = clock.map(p.end);
        // The first one, the boot, begins before the device's clock does; so it begins with that.
        if (!begin && end && &p == &phases.front()) begin = ClockMap::Time{0, end->error};
        if (begin && end && begin->ns <= end->ns)
            out.slice(kHost, 1, p.name, "host", begin->ns, end->ns, {{"error_ns", begin->error}});
        else
            ++outside;
    }
    return outside;
}

ordered_json about_clock(const ClockMap& clock) {
    return {{"samples", clock.used()},
            {"samples_unused", clock.unused()},
            {"standstills", clock.steps()},
            {"rate_ppm", clock.rate_ppm()},
            {"error_ns_median", clock.median_error_ns()},
            {"error_ns_max", clock.max_error_ns()}};
}

}  // namespace

std::string chrome_json(const Trace& trace, const ClockMap& guest, const ClockMap& host,
                        const Order& order) {
    Writer out;
    write_device(out, trace.device);
    const std::uint64_t guest_outside = write_guest(out, trace.guest, guest);
    const std::uint64_t host_outside = write_host(out, trace.host, host);
    ordered_json about = trace.about;
    about["clock"] = "ns of the device (VTTM_REG_TIMESTAMP_LO)";
    about["clock_guest"] = about_clock(guest);
    about["clock_guest"]["unit_ns"] = kGuestTimeUnit;
    about["clock_guest"]["samples_lost"] = trace.clock_samples_lost;
    about["clock_host"] = about_clock(host);
    about["dropped"] = {{"device_records", trace.device_lost},
                        {"device_unknown", trace.device.unknown},
                        {"device_torn_bytes", trace.device.torn_bytes},
                        {"guest_lost", trace.guest.lost},
                        {"guest_lost_unknown", trace.guest.lost_unknown},
                        {"guest_unparsed", trace.guest.unparsed},
                        {"guest_too_many", trace.guest.too_many},
                        {"guest_outside_of_clock", guest_outside},
                        {"host_outside_of_clock", host_outside}};
    about["order"] = {{"jobs", order.jobs},
                      {"violations", order.violations},
                      {"worst_ns", order.worst_ns},
                      {"made_to_begin_ns_min", order.slack_begin_ns},
                      {"fence_to_signaled_ns_min", order.slack_signal_ns}};
    return out.finish({{"vttm", std::move(about)}});
}

}  // namespace vttm::trace
