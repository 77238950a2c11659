// SPDX-License-Identifier: Apache-2.0
// trace.start, trace.read, trace.stop.
#include <array>

#include "guest-driver/libvttm/agent/op.h"

namespace vttm::guest {
namespace {

constexpr std::uint64_t kMaxRead = 8u << 20;

Reply start(Context& context, const Request& request, Events&) {
    const std::uint64_t kib = request.number("buffer_kib", 64, 1u << 20, 4096);
    const std::chrono::milliseconds period(request.number("sample_ms", 1, 10'000, 10));
    context.trace.reset();
    context.device_clock.reset();
    auto clock = std::make_unique<DeviceClock>(context.files, period);
    auto trace = std::make_unique<EventTrace>(context.files, kib);
    Reply reply;
    reply.members["events"] = trace->events();
    reply.members["missing"] = trace->missing();
    context.device_clock = std::move(clock);
    context.trace = std::move(trace);
    return reply;
}

void need_trace(const Context& context) {
    if (!context.trace || !context.device_clock) {
        throw RequestError("nothing is traced: trace.start comes first", ENODATA);
    }
}

Reply read(Context& context, const Request& request, Events&) {
    const std::uint64_t bytes = request.number("bytes", 4096, kMaxRead, kMaxRead);
    need_trace(context);
    EventTrace::Piece piece = context.trace->read(bytes);
    Reply reply;
    nlohmann::json& samples = reply.members["samples"] = nlohmann::json::array();
    // After the text, so that its events lie between samples.
    for (const ClockSample& s : context.device_clock->take()) {
        samples.push_back({s.before, s.device, s.after});
    }
    reply.members["text"] = std::move(piece.text);
    reply.members["more"] = piece.more;
    reply.members["lost"] = context.trace->lost();
    reply.members["samples_lost"] = context.device_clock->lost();
    return reply;
}

Reply stop(Context& context, const Request&, Events&) {
    need_trace(context);
    context.trace->stop();
    return {};
}

constexpr std::array kOps = {
    Op{"trace.start", start},
    Op{"trace.read", read},
    Op{"trace.stop", stop},
};

}  // namespace

std::span<const Op> trace_ops() { return kOps; }

}  // namespace vttm::guest
