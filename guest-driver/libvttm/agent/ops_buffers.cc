// SPDX-License-Identifier: Apache-2.0
// buffers.create, buffers.fill, buffers.verify, buffers.resident, buffers.free.
#include <fmt/format.h>

#include <array>
#include <limits>

#include "guest-driver/libvttm/agent/op.h"
#include "guest-driver/libvttm/agent/stopwatch.h"

namespace vttm::guest {
namespace {

constexpr std::uint64_t kMax32 = std::numeric_limits<std::uint32_t>::max();
constexpr std::array<const char*, VTTM_STAMP_NUM_CLASSES> kClassNames = {
    "good", "zero", "stale", "foreign", "torn", "bitflip", "garbage"};

Actor actor(const Request& request) {
    return request.choice("by", {"device", "cpu"}) == 0 ? Actor::kDevice : Actor::kCpu;
}

std::uint32_t generation(const Request& request) {
    return static_cast<std::uint32_t>(request.number("generation", 1, kMax32));
}

BufferSet::Progress reporter(Events& events) {
    return [&events](std::uint64_t done, std::uint64_t total) { events.progress(done, total); };
}

BufferRequest buffer_request(const nlohmann::json& value) {
    if (!value.is_object()) {
        throw RequestError("'buffers' must be a list of objects");
    }
    const Request members(value);
    BufferRequest buffer;
    buffer.id = static_cast<std::uint32_t>(members.number("id", 1, kMax32));
    buffer.bytes = members.number("bytes", 1, std::numeric_limits<std::int64_t>::max());
    buffer.domain = static_cast<Domain>(members.choice("domain", {"vram", "gtt"}));
    buffer.caching = static_cast<Caching>(members.choice("caching", {"wb", "wc", "uc"}));
    return buffer;
}

Reply create(Context& context, const Request& request, Events&) {
    std::vector<BufferRequest> buffers;
    for (const nlohmann::json& value : request.list("buffers")) {
        buffers.push_back(buffer_request(value));
    }
    Reply reply;
    reply.members["pages"] = context.buffers().create(buffers);
    reply.members["created"] = buffers.size();
    return reply;
}

Reply fill(Context& context, const Request& request, Events& events) {
    const FillRequest what{request.ids(), generation(request), request.key("key"), actor(request)};
    const Stopwatch watch;
    Reply reply;
    reply.members["pages"] = context.buffers().fill(what, reporter(events));
    reply.members["ns"] = watch.ns();
    return reply;
}

nlohmann::json bad_page(const BadPage& page) {
    nlohmann::json value = {
        {"buffer", page.buffer}, {"page", page.page}, {"class", kClassNames[page.stamp_class]}};
    if (page.found) {
        value["found"] = {{"buffer", page.found->buffer},
                          {"page", page.found->page},
                          {"generation", page.found->generation}};
    }
    return value;
}

Reply verify(Context& context, const Request& request, Events& events) {
    const VerifyRequest what{request.ids(), generation(request), request.key("key"), actor(request),
                             request.flag("locate", false)};
    const Stopwatch watch;
    const VerifyResult result = context.buffers().verify(what, reporter(events));
    Reply reply;
    reply.members["ns"] = watch.ns();
    reply.members["pages"] = result.pages;
    reply.members["good"] = result.good;
    nlohmann::json by_class = nlohmann::json::object();
    for (std::size_t c = VTTM_STAMP_ZERO; c < kClassNames.size(); ++c) {
        by_class[kClassNames[c]] = result.by_class[c];
    }
    reply.members["by_class"] = std::move(by_class);
    nlohmann::json bad = nlohmann::json::array();
    for (const BadPage& page : result.bad) {
        bad.push_back(bad_page(page));
    }
    reply.members["bad"] = std::move(bad);
    reply.members["unlisted"] = result.unlisted;
    nlohmann::json bad_buffers = nlohmann::json::array();
    for (const BadBuffer& buffer : result.bad_buffers) {
        bad_buffers.push_back({{"buffer", buffer.buffer},
                               {"bad", buffer.bad},
                               {"first_bad_page", buffer.first_bad_page}});
    }
    reply.members["bad_buffers"] = std::move(bad_buffers);
    return reply;
}

Reply resident(Context& context, const Request& request, Events& events) {
    const Stopwatch watch;
    Reply reply;
    reply.members["pages"] = context.buffers().make_resident(request.ids(), reporter(events));
    reply.members["ns"] = watch.ns();
    return reply;
}

Reply free_buffers(Context& context, const Request& request, Events&) {
    Reply reply;
    reply.members["freed"] = context.buffers().free(request.ids());
    return reply;
}

constexpr std::array kOps = {
    Op{"buffers.create", create},
    Op{"buffers.fill", fill},
    Op{"buffers.verify", verify},
    Op{"buffers.resident", resident},
    Op{"buffers.free", free_buffers},
};

}  // namespace

std::span<const Op> buffer_ops() { return kOps; }

}  // namespace vttm::guest
