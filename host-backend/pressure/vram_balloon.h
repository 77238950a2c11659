// SPDX-License-Identifier: Apache-2.0
// Pressure on VRAM: the host asks for a part of it back (protocol/vttm_regs.h, VTTM_REG_VRAM_TARGET).
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "host-backend/pressure/injectors.h"

namespace vttm::pressure {

// Asks the guest to make do with less VRAM, and waits until it does: then the driver has moved what
// lay there. Amounts: what is left, in MiB. release() offers all of it again, and waits.
class VramBalloon final : public Injector {
public:
    // Machine::qmp().
    using Monitor = std::function<nlohmann::json(const std::string& command, nlohmann::json arguments)>;
    struct Config {
        std::uint64_t vram_mib = 0;    // all of it
        std::uint64_t target_mib = 0;  // what step() leaves
        CallLimit limit = {};          // `each`: how long the guest may take
    };
    VramBalloon(Monitor monitor, machine::AgentClient& agent, Config config);
    ~VramBalloon() override;  // offers all again and does not wait; errors are dropped
    VramBalloon(const VramBalloon&) = delete;
    VramBalloon& operator=(const VramBalloon&) = delete;

    std::string name() const override { return "vram-balloon"; }
    // Both throw machine::Inconclusive if the guest does not follow in time.
    Step step() override;
    void release() override;

private:
    void ask(std::uint64_t mib);
    void await(std::uint64_t mib);

    Monitor monitor_;
    machine::AgentClient& agent_;
    Config config_;
    bool inflated_ = false;
};

}  // namespace vttm::pressure
