// SPDX-License-Identifier: Apache-2.0
// A trace of a real guest: what the driver, the device and the driver again did with each job comes in this
// order on the one clock, within the error that the trace itself tells; what was lost is said.
#include <gmock/gmock.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "host-backend/cli/trace_recorder.h"
#include "host-backend/machine/variant.h"
#include "tests/unit/machine/vm_fixture.h"

namespace vttm::cli {
namespace {

using machine::Machine;
using nlohmann::json;

class TraceVm : public machine::test::VmTest {
protected:
    void SetUp() override {
        VmTest::SetUp();
        config.trace = true;
        path_ = std::filesystem::path(testing::TempDir()) / ("vttm-trace-" + std::to_string(::getpid()) + ".json");
    }
    void TearDown() override {
        if (!HasFailure()) std::filesystem::remove(path_);
        VmTest::TearDown();
    }
    json written() const { return json::parse(std::ifstream(path_)); }
    // Jobs of both engines: clears of new buffers, stamps, reads.
    static void work(Machine& m, unsigned buffers) {
        json list = json::array();
        for (unsigned id = 1; id <= buffers; ++id)
            list.push_back({{"id", id}, {"bytes", 2 << 20}, {"domain", id % 2 ? "gtt" : "vram"}, {"caching", "wb"}});
        m.agent().call("buffers.create", {{"buffers", list}});
        for (const char* op : {"buffers.fill", "buffers.verify"})
            m.agent().call(op, {{"ids", "all"}, {"generation", 1}, {"key", "0x1"}, {"by", "device"}});
    }
    std::filesystem::path path_;
    Progress progress_{true};
};

unsigned count(const json& trace, const std::string& name) {
    unsigned n = 0;
    for (const json& e : trace.at("traceEvents")) n += e.at("name") == name;
    return n;
}

TEST_F(TraceVm, JobsAreInOrderOnOneClock) {
    Machine m(config);
    TraceRecorder recorder(m, path_);
    m.start();
    recorder.start();
    recorder.phase("work");
    work(m, 16);
    {
        // The guest's clock stands still, the device's does not.
        machine::PauseGuard paused(m);
        std::this_thread::sleep_for(std::chrono::milliseconds(300));
    }
    recorder.phase("more work");
    m.agent().call("buffers.verify", {{"ids", "all"}, {"generation", 1}, {"key", "0x1"}, {"by", "device"}});
    recorder.finish(true, progress_);
    m.stop(std::chrono::seconds(5));

    const json trace = written();
    const json& about = trace.at("metadata").at("vttm");
    RecordProperty("about", about.dump());
    EXPECT_GT(about.at("order").at("jobs").get<int>(), 10) << about;
    EXPECT_EQ(about.at("order").at("violations"), 0) << about;
    EXPECT_EQ(about.at("order").at("jobs"), recorder.order().jobs);
    for (const auto& [what, n] : about.at("dropped").items())
        EXPECT_TRUE(n == 0 || n == false) << what << " " << n;
    EXPECT_GE(about.at("clock_guest").at("samples").get<int>(), 2);
    EXPECT_GE(about.at("clock_guest").at("standstills").get<int>(), 1) << about;
    EXPECT_GT(about.at("clock_guest").at("error_ns_max").get<int>(), 0);
    EXPECT_GT(count(trace, "STAMP_WRITE"), 0u);
    EXPECT_GT(count(trace, "STAMP_VERIFY"), 0u);
    EXPECT_GT(count(trace, "drm_sched_job_run") + count(trace, "drm_run_job"), 0u) << about.at("guest_events_missing");
    EXPECT_GT(count(trace, "irq stamp"), 0u);
    EXPECT_GT(count(trace, "irq_handler_entry"), 0u);
    EXPECT_EQ(count(trace, "boot"), 1u);
    EXPECT_EQ(count(trace, "work"), 1u);
    EXPECT_EQ(count(trace, "stopped by the host"), 2u) << "a machine is made standing still";
}

// The planted fault: a ring with hardly any room.
TEST_F(TraceVm, ARingThatOverflowsIsSaid) {
    Machine m(config);
    TraceRecorder recorder(m, path_);
    m.start();
    recorder.start(64);
    for (int i = 0; i < 40; ++i) {
        work(m, 16);
        m.agent().call("buffers.free", {{"ids", "all"}});
    }
    recorder.finish(true, progress_);
    m.stop(std::chrono::seconds(5));
    const json trace = written();
    const json& about = trace.at("metadata").at("vttm");
    EXPECT_GT(about.at("dropped").at("guest_lost").get<int>(), 0) << about;
    EXPECT_EQ(about.at("order").at("violations"), 0) << about;
}

}  // namespace
}  // namespace vttm::cli
