// SPDX-License-Identifier: Apache-2.0
#include "guest-driver/libvttm/agent/event_trace.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <filesystem>

#include "guest-driver/libvttm/error.h"

namespace vttm::guest {
namespace {

constexpr std::string_view kInstances = "/sys/kernel/tracing/instances";
constexpr std::string_view kInstance = "/sys/kernel/tracing/instances/vttm-events";

// What tells of a buffer's way out and back, without an event for each single page.
constexpr const char* kEvents[] = {
    "gpu_scheduler", "dma_fence", "ttm", "irq/irq_handler_entry",
    "vmscan/mm_vmscan_direct_reclaim_begin", "vmscan/mm_vmscan_direct_reclaim_end",
    "vmscan/mm_vmscan_kswapd_wake", "vmscan/mm_vmscan_kswapd_sleep",
    "vmscan/mm_shrink_slab_start", "vmscan/mm_shrink_slab_end",
    "block/block_rq_issue", "block/block_rq_complete", "oom/mark_victim",
};

std::string inside(std::string_view name) { return fmt::format("{}/{}", kInstance, name); }

}  // namespace

std::uint64_t lost_events(std::string_view stats) {
    std::uint64_t lost = 0;
    for (const std::string_view name : {"\noverrun: ", "\ncommit overrun: ", "\ndropped events: "}) {
        const std::size_t at = stats.find(name);
        std::uint64_t n = 0;
        if (at == stats.npos ||
            std::from_chars(stats.data() + at + name.size(), stats.data() + stats.size(), n).ec != std::errc{}) {
            throw Error(EPROTO, fmt::format("no \"{}\" in a CPU's trace statistics", name.substr(1)));
        }
        lost += n;
    }
    return lost;
}

EventTrace::EventTrace(const SystemFiles& files, std::uint64_t buffer_kib) : files_(files) {
    if (!files.exists(kInstances)) {
        throw Error(ENOTSUP, "this kernel has no tracefs, or it is not mounted");
    }
    std::error_code error;
    std::filesystem::remove(files.path(kInstance), error);  // of an agent that has died
    if (!std::filesystem::create_directory(files.path(kInstance), error)) {
        throw Error(error ? error.value() : EEXIST, fmt::format("make {}", kInstance));
    }
    try {
        files.write(inside("buffer_size_kb"), std::to_string(buffer_kib));
        // The clock that this process reads beside the device's.
        files.write(inside("trace_clock"), "mono");
        pipe_ = Fd(::open(files.path(inside("trace_pipe")).c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
        if (!pipe_.valid()) {
            throw_errno("open trace_pipe");
        }
        // Of all interrupts ours: the disk's would be most of them.
        files.try_write(inside("events/irq/irq_handler_entry/filter"), "name ~ \"vttm*\"");
        for (const char* event : kEvents) {
            enable(event);
        }
    } catch (const Error&) {
        pipe_ = Fd();
        std::filesystem::remove(files.path(kInstance), error);
        throw;
    }
}

EventTrace::~EventTrace() {
    stop();
    pipe_ = Fd();
    std::error_code error;
    std::filesystem::remove(files_.path(kInstance), error);
}

void EventTrace::enable(const char* event) {
    const bool there = files_.try_write(inside(fmt::format("events/{}/enable", event)), "1") == 0;
    (there ? events_ : missing_).emplace_back(event);
}

EventTrace::Piece EventTrace::read(std::size_t bytes) {
    Piece piece;
    std::array<char, 64 * 1024> chunk;
    std::string text = std::move(partial_);
    partial_.clear();
    for (;;) {
        if (text.size() >= bytes) {
            piece.more = true;
            break;
        }
        const ssize_t got = ::read(pipe_.get(), chunk.data(), chunk.size());
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0 && errno != EAGAIN) {
            throw_errno("read trace_pipe");
        }
        if (got <= 0) {
            break;
        }
        text.append(chunk.data(), static_cast<std::size_t>(got));
    }
    const std::size_t end = text.rfind('\n') + 1;  // 0 if there is none
    partial_ = text.substr(end);
    text.resize(end);
    // Names of processes may hold any byte, JSON may not.
    for (char& c : text) {
        if (c != '\n' && (c < ' ' || c > '~')) {
            c = '?';
        }
    }
    piece.text = std::move(text);
    return piece;
}

void EventTrace::stop() { files_.try_write(inside("tracing_on"), "0"); }

std::uint64_t EventTrace::lost() const {
    std::uint64_t lost = 0;
    for (const std::string& cpu : files_.list(inside("per_cpu"))) {
        lost += lost_events(files_.read(inside("per_cpu/" + cpu + "/stats")));
    }
    return lost;
}

}  // namespace vttm::guest
