// SPDX-License-Identifier: Apache-2.0
// A device that shows a part of its VRAM only: the driver resizes BAR2, or lives with what it has.
#include <fmt/format.h>

#include <string>

#include "tests/unit/machine/vm_fixture.h"

namespace vttm::machine::test {
namespace {

using namespace std::chrono_literals;

class VisibleVramTest : public VmTest {
  protected:
    static constexpr std::uint64_t kVisible = 4;  // of 64 MiB: less than what the test below has a buffer of

    void SetUp() override {
        VmTest::SetUp();
        config.ram_mib = 1536;  // what the guest's tests of memory need
        config.vram_visible_mib = kVisible;
    }
    // What the command printed; its status must be @status.
    static std::string output(Machine& m, nlohmann::json argv, std::chrono::seconds limit,
                              int status = 0) {
        std::string text;
        m.agent().on_event([&](const nlohmann::json& event) {
            if (event.value("event", "") == "output") text += event.value("line", "") + "\n";
        });
        const auto reply = m.agent().call(
            "exec", {{"argv", std::move(argv)}, {"timeout_ms", limit / 1ms}}, limit + 10s);
        m.agent().on_event({});
        EXPECT_EQ(reply.value("status", -1), status) << reply.dump() << text;
        return text;
    }
    static std::string visible(Machine& m) {
        return output(m, {"/bin/busybox", "sh", "-c", "grep visible /sys/kernel/debug/dri/*/ttm_vram"}, 20s);
    }
    // What the device itself decodes now.
    static std::uint64_t bar2_mib(Machine& m) {
        for (const auto& bus : m.qmp("query-pci", {}))
            for (const auto& device : bus.at("devices"))
                if (device.at("qdev_id") == "vttm0")
                    for (const auto& region : device.at("regions"))
                        if (region.at("bar") == 2) return region.at("size").get<std::uint64_t>() >> 20;
        return 0;
    }
    static std::string run_tests(Machine& m, const std::string& filter, int status = 0) {
        return output(m, {"/bin/vttm-guest-tests", "--gtest_filter=" + filter}, 300s, status);
    }
    // Guest tests that place buffers in VRAM, map them, evict them and move them about.
    static void expect_buffers_work(Machine& m) {
        const std::string text = run_tests(
            m, "*ShapeTest*:ReuseTest.*:MemoryTest.*:VmTest.*:LargeLeafTest.ContentSurvivesEvictionAndSwap");
        EXPECT_NE(text.find("[  PASSED  ]"), std::string::npos) << text;
        EXPECT_EQ(text.find("[  SKIPPED ]"), std::string::npos) << text;
    }
    // This test has a buffer stay in VRAM although the CPU reads it, wherever it lies there.
    static constexpr const char* kStaysInVram = "LargeLeafTest.VramIsMappedBy2M";
};

TEST_F(VisibleVramTest, TheDriverResizesTheBar) {
    Machine m(config);
    m.start();
    EXPECT_NE(visible(m).find(fmt::format("visible {} MiB", config.vram_mib)), std::string::npos)
        << visible(m);
    run_tests(m, kStaysInVram);
    expect_buffers_work(m);
    // A reset sets the size of BAR2 back, and the kernel has to set it again: VRAM above it is seen by CPUs.
    run_tests(m, "PowerTest.*");
    EXPECT_NE(visible(m).find(fmt::format("visible {} MiB", config.vram_mib)), std::string::npos);
    run_tests(m, kStaysInVram);
    EXPECT_EQ(bar2_mib(m), config.vram_mib);
    m.stop(10s);
}

TEST_F(VisibleVramTest, WithoutResizingTheDriverUsesTheRestForWhatTheCpuDoesNotMap) {
    config.cmdline_extra += " vttm.resize_bar=0";
    Machine m(config);
    m.start();
    EXPECT_NE(visible(m).find(fmt::format("visible {} MiB", kVisible)), std::string::npos)
        << visible(m);
    // It does not stay: so the path under test does run.
    const std::string moved = run_tests(m, kStaysInVram, 1);
    EXPECT_NE(moved.find("Leaves{0, 0, 3}"), std::string::npos) << moved;
    expect_buffers_work(m);
    m.stop(10s);
}

}  // namespace
}  // namespace vttm::machine::test
