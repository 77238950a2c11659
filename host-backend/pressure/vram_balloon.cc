// SPDX-License-Identifier: Apache-2.0
#include "host-backend/pressure/vram_balloon.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <utility>

#include "host-backend/machine/errors.h"

namespace vttm::pressure {
namespace {

using Clock = std::chrono::steady_clock;
using nlohmann::json;

constexpr const char* kDevice = "/machine/peripheral/vttm0";
constexpr std::chrono::milliseconds kTick{20};

}  // namespace

VramBalloon::VramBalloon(Monitor monitor, machine::AgentClient& agent, Config config)
    : monitor_(std::move(monitor)), agent_(agent), config_(config) {
    if (config_.target_mib >= config_.vram_mib || config_.target_mib % 2)
        throw std::invalid_argument("VramBalloon: an even target below the size of VRAM wanted");
}

VramBalloon::~VramBalloon() {
    try {
        if (inflated_) ask(config_.vram_mib);
    } catch (const std::exception&) {  // the machine may be gone
    }
}

void VramBalloon::ask(std::uint64_t mib) {
    monitor_("qom-set", {{"path", kDevice}, {"property", "vram-target"}, {"value", mib << 20}});
}

void VramBalloon::await(std::uint64_t mib) {
    const auto deadline = std::min(Clock::now() + config_.limit.each, config_.limit.until);
    for (;;) {
        const auto kept = monitor_("qom-get", {{"path", kDevice}, {"property", "vram-limit"}})
                              .get<std::uint64_t>();
        if (kept == mib << 20) return;
        if (Clock::now() >= deadline)
            throw machine::Inconclusive(
                {.what = fmt::format("the guest keeps {} MiB of VRAM, although it was offered {} MiB",
                                     kept >> 20, mib),
                 .where = "",
                 .todo = "does the driver know VTTM_FEATURE_VRAM_BALLOON, and can it move what is there?",
                 .excerpt = ""});
        agent_.idle(kTick);
    }
}

Step VramBalloon::step() {
    if (inflated_) return {};
    inflated_ = true;  // first: if asking fails, it may have been heard
    ask(config_.target_mib);
    await(config_.target_mib);
    return {.progressed = true, .amount = config_.target_mib};
}

void VramBalloon::release() {
    if (!inflated_) return;
    ask(config_.vram_mib);
    inflated_ = false;
    await(config_.vram_mib);
}

}  // namespace vttm::pressure
