// SPDX-License-Identifier: Apache-2.0
#include "host-backend/cli/trace_recorder.h"

#include <fmt/format.h>

#include <chrono>
#include <utility>

#include "host-backend/cli/output.h"
#include "host-backend/machine/errors.h"

namespace vttm::cli {
namespace {

constexpr std::uint64_t kPiece = 4u << 20;
constexpr unsigned kMaxPieces = 1000;  // of one drain: a guest that never ends is none of ours
constexpr int kTries = 5;              // of a reading of the device's clock, the tightest is kept

std::uint64_t host_ns() {
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                          std::chrono::steady_clock::now().time_since_epoch())
                                          .count());
}

[[noreturn]] void contradicted(const std::filesystem::path& path, const std::string& what) {
    throw machine::Inconclusive({.what = "the trace is not on one clock: " + what,
                                 .where = path,
                                 .todo = "did the machine sleep, or the host's clock jump? run again",
                                 .excerpt = ""});
}

}  // namespace

TraceRecorder::TraceRecorder(machine::Machine& machine, std::filesystem::path path)
    : machine_(machine), path_(std::move(path)), since_(host_ns()) {}

void TraceRecorder::start(std::uint64_t buffer_kib) {
    const nlohmann::json reply =
        machine_.agent().call("trace.start", {{"buffer_kib", buffer_kib}, {"sample_ms", 10}});
    trace_.about["guest_events"] = reply.at("events");
    trace_.about["guest_events_missing"] = reply.at("missing");
    started_ = true;
    sample_host();
}

// The monitor's answer takes its time; the device's clock was read somewhere in it.
void TraceRecorder::sample_host() {
    trace::ClockSample best;
    for (int i = 0; i < kTries; ++i) {
        trace::ClockSample s;
        s.before = host_ns();
        s.there = machine_.stats().at("time_ns").get<std::uint64_t>();
        s.after = host_ns();
        if (best.after == 0 || s.after - s.before < best.after - best.before) best = s;
    }
    host_clock_.push_back(best);
}

void TraceRecorder::drain() {
    for (unsigned i = 0; i < kMaxPieces; ++i) {
        const nlohmann::json reply = machine_.agent().call("trace.read", {{"bytes", kPiece}});
        trace_.guest.add(reply.at("text").get_ref<const std::string&>());
        for (const nlohmann::json& s : reply.at("samples"))
            guest_clock_.push_back({s.at(0).get<std::uint64_t>(), s.at(1).get<std::uint64_t>(),
                                    s.at(2).get<std::uint64_t>()});
        ring_lost_ = reply.at("lost").get<std::uint64_t>();
        trace_.clock_samples_lost = reply.at("samples_lost").get<std::uint64_t>();
        if (!reply.at("more").get<bool>()) return;
    }
    trace_.guest.lost_unknown = true;  // more than anybody would look at
}

void TraceRecorder::end_phase() {
    trace_.host.push_back({phase_, since_, host_ns()});
    since_ = trace_.host.back().end;
}

void TraceRecorder::phase(const std::string& name) {
    if (!started_) return;
    end_phase();
    phase_ = name;
    drain();
    sample_host();
}

void TraceRecorder::finish(bool guest_lives, Progress& progress) {
    if (!started_) return;
    started_ = false;
    end_phase();
    if (guest_lives) {
        machine_.agent().call("trace.stop");
        drain();
        sample_host();
        trace_.device_lost = machine_.device_property("trace-lost").get<std::uint64_t>();
    }
    trace_.about["guest_was_alive"] = guest_lives;
    trace_.guest.finish();
    // The text tells of each gap, but not of one behind its last line.
    trace_.guest.lost = std::max(trace_.guest.lost, ring_lost_);
    trace_.device = trace::read_device_trace(machine_.trace_log());
    try {
        const trace::ClockMap guest(guest_clock_, trace_.device.standstills());
        // The monitor may let one wait; phases are long.
        const trace::ClockMap host(host_clock_, {}, {.max_width_ns = 5'000'000'000});
        order_ = trace::check_order(trace::match_jobs(trace_.guest.events, trace_.device), guest);
        save_output(path_, trace::chrome_json(trace_, guest, host, order_), "--trace=FILE");
        progress.note(fmt::format("trace: {} (device {} records, guest {} events; clocks of guest within {:.1f} us, "
                                  "host {:.1f} us; {} jobs in order)",
                                  path_.string(), trace_.device.records.size(), trace_.guest.events.size(),
                                  static_cast<double>(guest.median_error_ns()) / 1e3,
                                  static_cast<double>(host.median_error_ns()) / 1e3, order_.jobs - order_.violations));
    } catch (const trace::ClockError& e) {
        contradicted(machine_.trace_log(), e.what());
    }
    const std::uint64_t dropped = trace_.device_lost + trace_.device.unknown + trace_.guest.lost +
                                  trace_.guest.unparsed + trace_.guest.too_many + trace_.clock_samples_lost;
    if (dropped || trace_.guest.lost_unknown)
        progress.note(fmt::format("trace: not whole: {} events or records are missing (\"dropped\" in its metadata)",
                                  dropped));
    if (order_.violations)
        contradicted(path_, fmt::format("of {} jobs {} have an effect before its cause, by up to {} ns beyond the error",
                                        order_.jobs, order_.violations, order_.worst_ns));
}

}  // namespace vttm::cli
