// SPDX-License-Identifier: Apache-2.0
// A GPU that failed by an order that this run did not give must not pass for one that works.
#include <gmock/gmock.h>

#include "host-backend/cli/ordered_faults.h"
#include "tests/unit/machine/vm_fixture.h"

namespace vttm::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class FaultsVm : public machine::test::VmTest {};

TEST_F(FaultsVm, SomebodyElsesFaultIsFound) {
    machine::Machine m(config);
    m.start();
    const auto work = [&] {
        m.agent().call("buffers.create",
                       {{"buffers", {{{"id", 1}, {"bytes", 2 << 20}, {"domain", "gtt"}, {"caching", "wb"}}}}});
        m.agent().call("buffers.fill", {{"ids", "all"}, {"generation", 1}, {"key", "0x1"}, {"by", "device"}});
        m.agent().call("buffers.free", {{"ids", "all"}});
    };
    work();
    EXPECT_NO_THROW(check_no_faults(m));

    m.set_device_property("fault-plan", R"({"faults": [{"kind": "latency", "engine": "stamp", "us": 1000, "count": 1},
                                                       {"kind": "fence-never", "engine": "stamp", "nth": 1000000}]})");
    EXPECT_THAT(idle_rules(fault_record(m)), SizeIs(2));
    work();
    EXPECT_THAT(idle_rules(fault_record(m)), SizeIs(1));
    m.set_device_property("fault-plan", "");
    EXPECT_THAT(idle_rules(fault_record(m)), IsEmpty());
    const auto e = expect_error<machine::InfraError>([&] { check_no_faults(m); });
    EXPECT_THAT(e.what(), HasSubstr("injected 1 faults, and this run ordered none"));
    m.stop(std::chrono::seconds(5));
}

}  // namespace
}  // namespace vttm::cli
