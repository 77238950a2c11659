// SPDX-License-Identifier: Apache-2.0
// The backup mode of a device (debugfs ttm_backup), against the module parameter.
#include "tests/guest/backup_test.h"

namespace vttm::guest::test {
namespace {

constexpr std::int64_t kPages = 24 * 256;

// The parameter of the test is the mode of the device.
class DeviceBackupTest : public BackupTest {
protected:
    void SetUp() override {
        SwitchTest::SetUp();
        if (IsSkipped() || HasFatalFailure()) {
            return;
        }
        if (!files.exists(device_switch())) {
            GTEST_SKIP() << "this kernel's devices have no backup mode";
        }
    }

    void fill_and_shrink(Stamped& buffers, std::string_view mode) {
        buffers.fill(++generation_);
        const std::int64_t shrunk = shrunk_pages();
        const Stats before = backup_stats();
        shrink_all(kPages);
        expect_used(mode, before, shrunk_pages() - shrunk);
    }

    std::uint32_t generation_ = 0;
};

TEST_P(DeviceBackupTest, IsUsedWhateverTheParameterSays) {
    Stamped buffers;
    buffers.create(16 * kMib, 2 * kMib);
    buffers.create(8 * kMib, 256 * 1024, Domain::kGtt, Caching::kWc);
    files.write(device_switch(), GetParam());
    EXPECT_EQ(files.try_read_line(device_switch()), GetParam());
    for (const char* global : kModes) {
        set_global(global);
        if (IsSkipped()) {
            return;
        }
        EXPECT_EQ(files.try_read_line(device_switch()), GetParam());
        fill_and_shrink(buffers, GetParam());
        buffers.expect_intact(generation_);
    }
}

TEST_P(DeviceBackupTest, DefaultFollowsTheParameter) {
    Stamped buffers;
    buffers.create(24 * kMib, 2 * kMib);
    // Its own mode first: that must be forgotten.
    files.write(device_switch(), std::string_view(GetParam()) == "copy" ? "insert" : "copy");
    files.write(device_switch(), "default");
    EXPECT_EQ(files.try_read_line(device_switch()), "default");
    set_global(GetParam());
    if (IsSkipped()) {
        return;
    }
    fill_and_shrink(buffers, GetParam());
    buffers.expect_intact(generation_, Actor::kCpu);
}

TEST_P(DeviceBackupTest, ContentComesBackAfterAChange) {
    Stamped buffers;
    buffers.create(24 * kMib, 2 * kMib);
    files.write(device_switch(), GetParam());
    for (const char* next : kModes) {
        files.write(device_switch(), GetParam());
        fill_and_shrink(buffers, GetParam());
        files.write(device_switch(), next);
        buffers.expect_intact(generation_);
    }
}

TEST_P(DeviceBackupTest, RefusesWhatThereIsNot) {
    files.write(device_switch(), GetParam());
    for (const char* wrong : {"\n", "cop", "copyy", "COPY", "-1", "0", "default insert",
                              "a-name-longer-than-any-mode"}) {
        EXPECT_EQ(files.try_write(device_switch(), wrong), EINVAL) << wrong;
        EXPECT_EQ(files.try_read_line(device_switch()), GetParam()) << wrong;
    }
    // "default" is what only a device can be on.
    const auto global = files.try_read_line(kBackupSwitch);
    EXPECT_EQ(files.try_write(kBackupSwitch, "default"), EINVAL);
    EXPECT_EQ(files.try_read_line(kBackupSwitch), global);
    // A newline, as echo writes it.
    EXPECT_EQ(files.try_write(device_switch(), "default\n"), 0);
    EXPECT_EQ(files.try_read_line(device_switch()), "default");
}

INSTANTIATE_TEST_SUITE_P(Modes, DeviceBackupTest, ::testing::ValuesIn(kModes),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace vttm::guest::test
