// SPDX-License-Identifier: Apache-2.0
#include "guest-driver/libvttm/agent/session.h"

#include <fmt/format.h>
#include <malloc.h>

#include <chrono>
#include <nlohmann/json.hpp>

#include "guest-driver/libvttm/agent/op.h"
#include "guest-driver/libvttm/error.h"

namespace vttm::guest {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kProgressPeriod{200};

// Programs' output need not be UTF-8; a reply has to be.
std::string to_text(const json& value) {
    return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string error_line(const json& id, std::string_view what, int error) {
    return to_text({{"id", id}, {"ok", false}, {"error", what}, {"errno", error}});
}

std::string reply_line(const json& id, const Reply& reply) {
    json members = reply.members;
    members["id"] = id;
    members["ok"] = true;
    std::string line = to_text(members);
    if (!reply.raw_members.empty()) {
        line.pop_back();  // the closing brace
        line.reserve(line.size() + reply.raw_members.size() + 2);
        line += ',';
        line += reply.raw_members;
        line += '}';
    }
    return line;
}

class ChannelEvents : public Events {
public:
    ChannelEvents(Channel& channel, const json& id) : channel_(channel), id_(id) {}

    void progress(std::uint64_t done, std::uint64_t total) override {
        const Clock::time_point now = Clock::now();
        if (done != total && now - last_ < kProgressPeriod) {
            return;
        }
        last_ = now;
        channel_.write_line(
            to_text({{"event", "progress"}, {"id", id_}, {"done", done}, {"total", total}}));
    }

    void output(std::string_view line) override {
        channel_.write_line(to_text({{"event", "output"}, {"id", id_}, {"line", line}}));
    }

private:
    Channel& channel_;
    const json& id_;
    Clock::time_point last_ = Clock::now();
};

}  // namespace

void Session::greet() { channel_.write_line(R"({"event":"ready"})"); }

void Session::run() {
    std::string line;
    for (;;) {
        switch (channel_.read_line(&line)) {
            case Channel::Read::kClosed:
                return;
            case Channel::Read::kTooLong:
                channel_.write_line(error_line(
                    nullptr, fmt::format("line of over {} bytes", Channel::kMaxLine), EMSGSIZE));
                break;
            case Channel::Read::kLine:
                serve(line);
                // Under pressure each idle page counts: a big request or reply leaves none behind.
                line = std::string();
                ::malloc_trim(0);
                break;
        }
    }
}

void Session::serve(const std::string& line) {
    const json request = json::parse(line, nullptr, false);
    if (request.is_discarded() || !request.is_object()) {
        channel_.write_line(error_line(nullptr, "line is no JSON object", EBADMSG));
        return;
    }
    const auto found_id = request.find("id");
    const json id = found_id == request.end() ? json() : *found_id;
    if (!id.is_number_integer()) {
        channel_.write_line(error_line(nullptr, "'id' is missing or no whole number", EINVAL));
        return;
    }
    Reply reply;
    try {
        const Request members(request);
        const std::string name = members.text("op");
        const Handler handler = find_op(name);
        if (handler == nullptr) {
            throw RequestError(fmt::format("unknown op '{}'", name), ENOSYS);
        }
        ChannelEvents events(channel_, id);
        reply = handler(context_, members, events);
    } catch (const Error& error) {
        channel_.write_line(error_line(id, error.what(), error.error()));
        return;
    } catch (const std::bad_alloc&) {
        channel_.write_line(error_line(id, "the agent is out of memory", ENOMEM));
        return;
    } catch (const std::exception& error) {
        channel_.write_line(error_line(id, error.what(), EIO));
        return;
    }
    const std::string answer = reply_line(id, reply);
    if (answer.size() > Channel::kMaxLine) {
        channel_.write_line(error_line(id,
                                       fmt::format("the reply has {} bytes, a line may have {}",
                                                   answer.size(), Channel::kMaxLine),
                                       EMSGSIZE));
    } else {
        channel_.write_line(answer);
    }
    if (reply.then) {
        reply.then();
    }
}

}  // namespace vttm::guest
