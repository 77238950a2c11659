// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "host-backend/machine/agent.h"
#include "host-backend/pressure/injector.h"

namespace vttm::pressure {

// How long an injector's calls may wait for the guest.
struct CallLimit {
    std::chrono::milliseconds each{300'000};
    // The end of the whole scenario: no call waits beyond it.
    std::chrono::steady_clock::time_point until = std::chrono::steady_clock::time_point::max();
};

// A child of the agent that holds anonymous, incompressible memory. Amounts in MiB.
class AnonymousHog final : public Injector {
public:
    struct Config {
        std::uint64_t step_mib = 32;   // growth per step()
        std::uint64_t touch_mib = 16;  // the agent's own step within it
        std::uint64_t max_mib = 0;     // never hold more; 0: no limit
        CallLimit limit = {};
    };
    AnonymousHog(machine::AgentClient& agent, Config config);
    ~AnonymousHog() override;  // releases; errors are dropped
    AnonymousHog(const AnonymousHog&) = delete;
    AnonymousHog& operator=(const AnonymousHog&) = delete;

    std::string name() const override { return "anonymous-hog"; }
    Step step() override;
    void release() override;
    std::uint64_t held_mib() const { return held_mib_; }

private:
    machine::AgentClient& agent_;
    Config config_;
    std::uint64_t held_mib_ = 0;
    bool asked_ = false;  // since the last release
};

// Lowers memory.max of the hog's cgroup by step_mib per step, from start_mib to floor_mib.
// release() sets it back to max. Amounts: the new limit in MiB.
class MemcgLimit final : public Injector {
public:
    struct Config {
        std::uint64_t start_mib = 256;
        std::uint64_t step_mib = 32;
        std::uint64_t floor_mib = 16;
        CallLimit limit = {};
    };
    MemcgLimit(machine::AgentClient& agent, Config config);
    ~MemcgLimit() override;
    MemcgLimit(const MemcgLimit&) = delete;
    MemcgLimit& operator=(const MemcgLimit&) = delete;

    std::string name() const override { return "memcg-limit"; }
    Step step() override;
    void release() override;

private:
    machine::AgentClient& agent_;
    Config config_;
    std::uint64_t limit_mib_ = 0;  // 0: none set
};

}  // namespace vttm::pressure
