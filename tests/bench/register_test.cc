// SPDX-License-Identifier: Apache-2.0
// That bench-register fails when a read of vttm's registers takes twice the time. Needs a QEMU.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/bench/demands.h"
#include "tests/bench/program.h"

namespace vttm::bench {
namespace {

TEST(BenchRegister, ReadsThatTakeTwiceTheTimeAreMissed) {
    const char* qemu = std::getenv("VTTM_QEMU");
    if (!std::filesystem::exists(qemu ? qemu : VTTM_QEMU_DEFAULT))
        GTEST_SKIP() << "no QEMU yet: ./vttm build makes it";
    const Said said = run("VTTM_BENCH_TIMES=2", "--demand");
    EXPECT_EQ(said.status, Demands::kMissed) << said.text;
    const double reads = missed(said, "register read (CPU)");
    EXPECT_GT(reads, 0.3) << said.text;
    EXPECT_LT(reads, 0.7) << said.text;
}

}  // namespace
}  // namespace vttm::bench
