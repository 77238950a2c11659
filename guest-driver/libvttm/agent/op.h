// SPDX-License-Identifier: Apache-2.0
// The table of operations: docs/agent-protocol.md as data.
#pragma once

#include <functional>
#include <span>
#include <string_view>

#include "guest-driver/libvttm/agent/context.h"
#include "guest-driver/libvttm/agent/request.h"

namespace vttm::guest {

// Sends events that belong to the request under way.
class Events {
public:
    virtual ~Events() = default;
    virtual void progress(std::uint64_t done, std::uint64_t total) = 0;
    virtual void output(std::string_view line) = 0;
};

// Throws Error (or another std::exception) to have the request answered with ok = false.
using Handler = Reply (*)(Context& context, const Request& request, Events& events);

struct Op {
    std::string_view name;
    Handler handler;
};

std::span<const Op> system_ops();
std::span<const Op> buffer_ops();
std::span<const Op> placement_ops();
std::span<const Op> counter_ops();
std::span<const Op> pressure_ops();
std::span<const Op> exec_ops();
std::span<const Op> fault_ops();
std::span<const Op> trace_ops();

// The handler of `name`, or null.
Handler find_op(std::string_view name);

}  // namespace vttm::guest
