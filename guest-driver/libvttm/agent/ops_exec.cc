// SPDX-License-Identifier: Apache-2.0
// exec, kunit.
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <set>

#include "guest-driver/libvttm/agent/child.h"
#include "guest-driver/libvttm/agent/op.h"

namespace vttm::guest {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kDefaultTimeoutMs = 60'000;
constexpr std::uint64_t kMaxTimeoutMs = 24ull * 3600 * 1000;
constexpr std::size_t kMaxOutputLine = 64 * 1024;
constexpr const char* kKunit = "/sys/kernel/debug/kunit";

using LineSink = std::function<void(std::string_view)>;

struct ExecResult {
    int status = 0;
    bool timed_out = false;
};

// Cuts output into lines; an overlong one is handed on in pieces.
class LineCutter {
public:
    explicit LineCutter(const LineSink& sink) : sink_(sink) {}

    void feed(std::string_view chunk) {
        pending_.append(chunk);
        std::size_t first = 0;
        for (;;) {
            const std::size_t end = pending_.find('\n', first);
            if (end == std::string::npos && pending_.size() - first < kMaxOutputLine) {
                break;
            }
            const std::size_t stop = std::min(end, first + kMaxOutputLine);
            sink_(std::string_view(pending_).substr(first, stop - first));
            first = stop == end ? stop + 1 : stop;
        }
        pending_.erase(0, first);
    }
    void finish() {
        if (!pending_.empty()) {
            sink_(pending_);
            pending_.clear();
        }
    }

private:
    const LineSink& sink_;
    std::string pending_;
};

// Runs until the program has ended and its output is closed, or the time is over. A program that
// ended while a descendant holds its output open is not waited for longer than that.
ExecResult run(const std::vector<std::string>& argv, std::uint64_t timeout_ms,
               const LineSink& sink) {
    Child child(argv, Child::Input::kNone, true);
    LineCutter lines(sink);
    const Clock::time_point deadline = Clock::now() + std::chrono::milliseconds(timeout_ms);
    ExecResult result;
    std::array<char, 16384> chunk;
    for (;;) {
        const auto left =
            std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
        if (left <= 0) {
            int status = 0;
            result.timed_out = !child.ended(&status);
            child.kill();
            break;
        }
        pollfd ready = {child.output(), POLLIN, 0};
        if (::poll(&ready, 1, static_cast<int>(std::min<long long>(left, 60'000))) <= 0) {
            continue;
        }
        const ssize_t got = ::read(child.output(), chunk.data(), chunk.size());
        if (got > 0) {
            lines.feed({chunk.data(), static_cast<std::size_t>(got)});
        } else if (got == 0) {
            break;
        }
    }
    lines.finish();
    // The output may be closed long before the end of the program.
    while (!result.timed_out && !child.ended(&result.status)) {
        if (Clock::now() >= deadline) {
            result.timed_out = true;
            child.kill();
        } else {
            ::poll(nullptr, 0, 2);
        }
    }
    result.status = child.wait();
    return result;
}

Reply exec(Context& context, const Request& request, Events& events) {
    const std::vector<std::string> argv = request.texts("argv");
    if (argv.empty() || argv[0].empty()) {
        throw RequestError("'argv' is empty");
    }
    const std::uint64_t timeout = request.number("timeout_ms", 1, kMaxTimeoutMs, kDefaultTimeoutMs);
    // It may take the driver away, or give the device another one.
    context.release_idle_gpu();
    const ExecResult result =
        run(argv, timeout, [&events](std::string_view line) { events.output(line); });
    Reply reply;
    reply.members["status"] = result.status;
    reply.members["timed_out"] = result.timed_out;
    return reply;
}

Reply kunit(Context& context, const Request& request, Events& events) {
    const std::vector<std::string> modules = request.texts("modules");
    const std::uint64_t timeout = request.number("timeout_ms", 1, kMaxTimeoutMs, 600'000);
    // TTM's suite and a loaded driver disturb each other: let the host unload vttm.
    context.release_idle_gpu();
    const std::vector<std::string> known = context.files.list(kKunit);
    const std::set<std::string> before(known.begin(), known.end());
    std::uint64_t done = 0;
    for (const std::string& module : modules) {
        std::string said;
        const ExecResult loaded =
            run({"modprobe", module}, timeout,
                [&said](std::string_view line) { said.append(line).append("; "); });
        if (loaded.status != 0) {
            throw Error(ENOEXEC, fmt::format("modprobe {}: status {}{}: {}", module, loaded.status,
                                             loaded.timed_out ? " (timed out)" : "", said));
        }
        events.progress(++done, modules.size());
    }
    Reply reply;
    nlohmann::json results = nlohmann::json::array();
    for (const std::string& suite : context.files.list(kKunit)) {
        const std::string file = std::string(kKunit) + "/" + suite + "/results";
        if (!before.contains(suite) && context.files.exists(file)) {
            results.push_back({{"suite", suite}, {"ktap", context.files.read(file)}});
        }
    }
    reply.members["results"] = std::move(results);
    return reply;
}

constexpr std::array kOps = {Op{"exec", exec}, Op{"kunit", kunit}};

}  // namespace

std::span<const Op> exec_ops() { return kOps; }

}  // namespace vttm::guest
