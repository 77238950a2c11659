// SPDX-License-Identifier: Apache-2.0
// A machine whose host makes faults happen.
#pragma once

#include <chrono>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/unit/model/fault_machine.h"

namespace vttm::model::test {

class FaultsMachine : public FaultMachine {
protected:
    using Clock = std::chrono::steady_clock;
    using json = nlohmann::json;
    static constexpr auto kCopy = VTTM_ENGINE_COPY;
    static constexpr auto kStamp = VTTM_ENGINE_STAMP;

    // The rules as JSON, without the brackets around all.
    void plan(const std::string& rules, uint64_t seed = 1) {
        const std::string text =
            R"({"seed": )" + std::to_string(seed) + R"(, "faults": [)" + rules + "]}";
        char err[512] = "?";
        ASSERT_EQ(vttm_model_set_fault_plan(model_.get(), text.c_str(), err, sizeof(err)), 0)
            << err;
        EXPECT_STREQ(err, "");
    }
    void no_plan() {
        char err[64];
        ASSERT_EQ(vttm_model_set_fault_plan(model_.get(), "", err, sizeof(err)), 0);
    }
    json record() {
        std::string s;
        for (size_t need = 1; s.size() < need;) {  // it may grow meanwhile
            s.assign(need + 256, '\0');
            need = vttm_model_faults_json(model_.get(), s.data(), s.size()) + 1;
        }
        return json::parse(s.c_str());
    }
    uint64_t injected(size_t rule = 0) { return record()["rules"][rule]["injected"]; }
    uint64_t events(size_t rule = 0) { return record()["rules"][rule]["events"]; }
    uint64_t injected_ever() { return json::parse(stats())["injected"]; }

    bool idle(unsigned e) { return eng(e, VTTM_ENG_STATUS) & VTTM_ENG_STATUS_IDLE; }
    uint64_t last_fence(unsigned e) { return rd64(VTTM_ENGINE_BASE(e) + VTTM_ENG_LAST_FENCE_LO); }
    // Puts a FENCE with the next number behind all and rings; the number.
    uint64_t kick(unsigned e, bool irq = false, uint64_t addr = kFenceAddr) {
        put_fence(e, ++seq_, irq, addr);
        ring(e);
        return seq_;
    }
    uint64_t fence_value(uint64_t addr = kFenceAddr) {
        return __atomic_load_n(&reinterpret_cast<vttm_fence_value*>(bus_.ram(addr))->seq,
                               __ATOMIC_ACQUIRE);
    }
    bool wait_fence(uint64_t seq, uint64_t addr = kFenceAddr) {
        return wait_for([&] { return fence_value(addr) == seq; });
    }
    static void sleep_ms(int ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

    // What @look sees while the engines stand still: a CPU's look at what is being written is a
    // race.
    template <typename Look>
    auto at_rest(Look look) {
        vttm_model_pause(model_.get());
        auto seen = look();
        vttm_model_resume(model_.get());
        return seen;
    }

    // Bytes that differ between the two, and the bits that do.
    struct Difference {
        std::vector<uint64_t> bytes;
        unsigned bits = 0;
    };
    static Difference difference(const uint8_t* a, const uint8_t* b, uint64_t len) {
        Difference d;
        for (uint64_t i = 0; i < len; i++)
            if (a[i] != b[i]) {
                d.bytes.push_back(i);
                d.bits += static_cast<unsigned>(__builtin_popcount(a[i] ^ b[i]));
            }
        return d;
    }
};

}  // namespace vttm::model::test
