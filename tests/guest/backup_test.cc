// SPDX-License-Identifier: Apache-2.0
#include "tests/guest/backup_test.h"

#include <signal.h>
#include <sys/swap.h>
#include <unistd.h>

#include <optional>
#include <vector>

#include "guest-driver/libvttm/agent/placement_parser.h"

namespace vttm::guest::test {
namespace {

void no_progress(std::uint64_t, std::uint64_t) {}

}  // namespace

const char* pages_counter(std::string_view mode) {
    if (mode == "insert") {
        return "inserted_pages";
    }
    return mode == "swapcache" ? "swapcache_pages" : "copied_pages";
}

Stats pages_by_kind(const SystemFiles& files) {
    Stats pages;
    for (const std::string_view kind : kPlacementKinds) {
        pages[std::string(kind)] = 0;
    }
    PlacementParser parser({[](std::uint32_t, std::uint64_t) {},
                            [&](const PlacementRun& run) {
                                pages.at(std::string(run.kind)) += static_cast<std::int64_t>(run.count);
                            }});
    parser.feed(files.read(find_driver_debugfs(files) + "/placement"));
    parser.finish();
    return pages;
}

void Stamped::create(std::uint64_t bytes, std::uint64_t each, Domain domain, Caching caching) {
    std::vector<BufferRequest> requests;
    for (std::uint64_t made = 0; made < bytes; made += each) {
        requests.push_back({++last_id_, each, domain, caching});
    }
    buffers_.create(requests);
}

void Stamped::fill(std::uint32_t generation, Actor by) {
    buffers_.fill({std::nullopt, generation, kKey, by}, no_progress);
}

std::uint64_t Stamped::count_bad(std::uint32_t generation, Actor by) {
    const VerifyResult found =
        buffers_.verify({std::nullopt, generation, kKey, by, false}, no_progress);
    return found.pages == 0 ? ~0ull : found.pages - found.good;
}

void Stamped::expect_intact(std::uint32_t generation, Actor by) {
    EXPECT_EQ(count_bad(generation, by), 0u)
        << (by == Actor::kCpu ? "bad pages as the CPU sees it" : "bad pages as the device sees it");
}

void Stamped::make_resident() { buffers_.make_resident(std::nullopt, no_progress); }

KeepAndDrop::KeepAndDrop(std::uint64_t keep_bytes)
    : keep(gpu.create(keep_bytes)), drop(gpu.create(2 * kMib)) {
    gpu.stamp(keep, 1);
    gpu.stamp(drop, 2);
}

Swap::Swap(const SystemFiles& files) : files_(files) {
    const std::string text = files.read("/proc/swaps");
    const std::size_t line = text.find('\n');
    if (line != std::string::npos && line + 1 < text.size()) {
        device_ = text.substr(line + 1, text.find_first_of(" \t", line + 1) - line - 1);
    }
}

bool Swap::is_on() const { return files_.read("/proc/swaps").find(device_) != std::string::npos; }

int Swap::off(unsigned seconds) {
    struct sigaction action = {};
    struct sigaction old = {};
    action.sa_handler = [](int) {};
    ::sigaction(SIGALRM, &action, &old);
    ::alarm(seconds);
    const int error = ::swapoff(device_.c_str()) == 0 ? 0 : errno;
    ::alarm(0);
    ::sigaction(SIGALRM, &old, nullptr);
    return error;
}

int Swap::on() {
    if (::swapon(device_.c_str(), SWAP_FLAG_DISCARD) == 0 || ::swapon(device_.c_str(), 0) == 0) {
        return 0;
    }
    return errno;
}

void SwitchTest::SetUp() {
    GuestTest::SetUp();
    swap = std::make_unique<Swap>(files);
    old_global_ = files.try_read_line(kBackupSwitch).value_or("");
    old_device_ = files.try_read_line(device_switch()).value_or("");
    if (find_shrinker_debugfs(files).empty()) {
        GTEST_SKIP() << "no shrinker of vttm in debugfs";
    }
    if (!swap->found()) {
        GTEST_SKIP() << "no swap area";
    }
}

void SwitchTest::TearDown() {
    if (!old_global_.empty()) {
        EXPECT_EQ(files.try_write(kBackupSwitch, old_global_), 0);
    }
    if (!old_device_.empty()) {
        EXPECT_EQ(files.try_write(device_switch(), old_device_), 0);
    }
    if (swap && swap->found() && !swap->is_on()) {
        EXPECT_EQ(swap->on(), 0) << "swap stays off for the tests that follow";
    }
    GuestTest::TearDown();
}

Stats SwitchTest::backup_stats() const {
    return files.exists(kBackupStats) ? parse_name_value(files.read(kBackupStats)) : Stats();
}

void SwitchTest::shrink_all(std::int64_t pages) {
    const std::int64_t before = shrunk_pages();
    for (int i = 0; i < 64 && shrunk_pages() - before < pages; ++i) {
        ASSERT_TRUE(shrink(files, 2048));
    }
    EXPECT_GE(shrunk_pages() - before, pages) << "the shrinker took too little";
}

void SwitchTest::set_global(std::string_view mode) {
    if (old_global_.empty()) {
        if (mode != "copy") {  // the only one without our series
            GTEST_SKIP() << "this kernel has no " << kBackupSwitch;
        }
        return;
    }
    const int error = files.try_write(kBackupSwitch, mode);
    if (error == EINVAL || error == EOPNOTSUPP) {
        GTEST_SKIP() << "this kernel has no ttm.backup=" << mode;
    }
    ASSERT_EQ(error, 0);
    ASSERT_EQ(files.try_read_line(kBackupSwitch), mode);
}

void BackupTest::SetUp() {
    SwitchTest::SetUp();
    if (!IsSkipped() && !HasFatalFailure()) {
        set_global(GetParam());
    }
}

void BackupTest::expect_mode_was_used(const Stats& before, std::int64_t shrunk) const {
    expect_used(GetParam(), before, shrunk);
}

void BackupTest::expect_used(std::string_view mode, const Stats& before, std::int64_t shrunk) const {
    const Stats after = backup_stats();
    if (after.empty()) {
        return;
    }
    const auto grown = [&](const char* name) { return after.at(name) - before.at(name); };
    for (const char* each : kModes) {
        if (each == mode) {
            EXPECT_GE(grown(pages_counter(each)), shrunk) << each;
        } else {
            EXPECT_EQ(grown(pages_counter(each)), 0) << each;
        }
    }
    EXPECT_EQ(grown("insert_fallback"), 0);
    EXPECT_EQ(grown("swapcache_fallback"), 0);
}

}  // namespace vttm::guest::test
