// SPDX-License-Identifier: Apache-2.0
// Are the guest's memory barriers barriers towards the host? A virtio queue depends on it: a driver
// publishes a request and then reads whether the device wants a kick, while the device asks for
// kicks and then looks for requests. Without a barrier both miss each other, and the I/O hangs.
#include "tests/guest/litmus.h"

#include <cstring>
#include <stop_token>
#include <thread>

#include "tests/unit/machine/vm_fixture.h"

namespace vttm::machine::test {
namespace {

using namespace std::chrono_literals;

// Enough to meet the fault some thousand times. A busy machine may not get that far, within the time.
constexpr std::uint64_t kRounds = 500'000;
constexpr std::uint64_t kFewestRounds = 20'000;
constexpr auto kTime = 60s;

// In how many rounds: neither saw the other, only one did, both did.
struct Outcome {
    std::uint64_t neither = 0, one = 0, both = 0;
    std::uint64_t rounds() const { return neither + one + both; }
};

litmus::Page* find_page(std::span<std::byte> ram, std::stop_token stop) {
    while (!stop.stop_requested()) {
        for (std::size_t at = 0; at < ram.size(); at += 4096)
            if (std::memcmp(&ram[at], litmus::kMagic, sizeof(litmus::kMagic)) == 0)
                return reinterpret_cast<litmus::Page*>(&ram[at]);
        std::this_thread::sleep_for(50ms);
    }
    return nullptr;
}

// The host's part, until kRounds or the time are over, or the guest's part has ended without them.
void race(std::span<std::byte> ram, Outcome& outcome, std::stop_token stop) {
    litmus::Page* page = find_page(ram, stop);
    if (!page) return;
    const auto end = std::chrono::steady_clock::now() + kTime;
    std::uint64_t random = 1;
    for (std::uint64_t round = 1; round <= kRounds && std::chrono::steady_clock::now() < end; ++round) {
        page->round.store(round, std::memory_order_release);
        // The guest takes a while to see it, now longer, now shorter: hit it at all moments.
        random = random * 6364136223846793005u + 1442695040888963407u;
        for (volatile unsigned wait = 0; wait < (random >> 40) % 150;) wait = wait + 1;
        page->host_word.store(round, std::memory_order_relaxed);
        std::atomic_thread_fence(std::memory_order_seq_cst);
        const bool host_saw = page->guest_word.load(std::memory_order_relaxed) >= round;
        // Who shares a CPU with the guest has to let it run.
        for (unsigned spins = 0; page->finished.load(std::memory_order_acquire) < round; ++spins) {
            if (stop.stop_requested()) return;
            if (spins > 10'000) std::this_thread::yield();
        }
        const bool guest_saw = page->guest_saw.load(std::memory_order_relaxed) >= round;
        ++(host_saw && guest_saw ? outcome.both : host_saw || guest_saw ? outcome.one : outcome.neither);
    }
    page->round.store(litmus::kEnd, std::memory_order_release);
}

class LitmusTest : public VmTest {
  protected:
    void SetUp() override {
        VmTest::SetUp();
        if (std::thread::hardware_concurrency() < 2)
            GTEST_SKIP() << "one CPU reorders nothing that it could see";
    }
    Outcome run(const char* mode) {
        Machine m(config);
        m.start();
        Outcome outcome;
        {
            std::jthread host([&](std::stop_token stop) { race(m.ram().bytes(), outcome, stop); });
            const auto reply = m.agent().call(
                "exec", {{"argv", {"/bin/vttm-guest-tests", "litmus", mode}}, {"timeout_ms", 120000}},
                130s);
            EXPECT_EQ(reply.value("status", -1), 0) << reply.dump();
        }
        m.stop(10s);
        EXPECT_GE(outcome.rounds(), kFewestRounds);
        return outcome;
    }
};

TEST_F(LitmusTest, TheGuestsBarrierIsOneForTheHost) {
    const Outcome outcome = run("fenced");
    EXPECT_EQ(outcome.neither, 0u);
    // Else the two never met, and the test says nothing.
    EXPECT_GT(outcome.both, 0u);
    RecordProperty("both", std::to_string(outcome.both));
}

// Plants the fault: without the barrier the race must be lost sometimes.
TEST_F(LitmusTest, PlantedAMissingBarrierIsSeen) {
    EXPECT_GT(run("plain").neither, 0u);
}

}  // namespace
}  // namespace vttm::machine::test
