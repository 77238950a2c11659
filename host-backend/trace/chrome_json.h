// SPDX-License-Identifier: Apache-2.0
// A trace in Chrome's JSON trace event format, which ui.perfetto.dev and chrome://tracing open. All of it in
// device time.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "host-backend/trace/clock_map.h"
#include "host-backend/trace/device_trace.h"
#include "host-backend/trace/ftrace.h"
#include "host-backend/trace/order.h"

namespace vttm::trace {

// What the host did, on its own clock.
struct HostPhase {
    std::string name;
    std::uint64_t begin = 0, end = 0;
};

struct Trace {
    DeviceTrace device;
    GuestTrace guest;
    std::vector<HostPhase> host;
    // Whatever else a reader should know, beside what chrome_json() says itself.
    nlohmann::ordered_json about = nlohmann::ordered_json::object();
    std::uint64_t device_lost = 0;         // records that did not reach the device's log
    std::uint64_t clock_samples_lost = 0;  // of the guest's clock
};

// What was dropped and how far the clocks can be off is in the member "metadata", under "vttm".
std::string chrome_json(const Trace& trace, const ClockMap& guest, const ClockMap& host,
                        const Order& order);

}  // namespace vttm::trace
