// SPDX-License-Identifier: Apache-2.0
// Who pays: a process in a limited memory cgroup runs the shrinker over somebody else's buffers.
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>

#include "tests/guest/backup_test.h"

namespace vttm::guest::test {
namespace {

const std::string kRoot = "/sys/fs/cgroup";
constexpr std::int64_t kBufferBytes = 24 * kMib;
// What the reclaimer may need for itself: stack, page tables, a page of the shrinker's file.
constexpr std::int64_t kOwn = 2 * kMib;

// A cgroup of its own, removed at the end.
class Cgroup {
public:
    Cgroup(const SystemFiles& files, const std::string& name)
        : files_(files), directory_(kRoot + "/" + name) {
        std::filesystem::create_directory(directory_);
    }
    ~Cgroup() {
        std::error_code error;
        std::filesystem::remove(directory_, error);
        EXPECT_FALSE(error) << directory_ << ": " << error.message();
    }
    Cgroup(const Cgroup&) = delete;
    Cgroup& operator=(const Cgroup&) = delete;

    void set(const char* file, std::string_view value) const {
        files_.write(fmt::format("{}/{}", directory_, file), value);
    }
    void join() const { set("cgroup.procs", "0"); }
    // Memory and swap, a page that is in both once.
    std::int64_t charged() const {
        const Stats stat = parse_name_value(files_.read(directory_ + "/memory.stat"));
        return number("memory.current") + number("memory.swap.current") - stat.at("swapcached");
    }
    std::int64_t event(const std::string& name) const {
        return parse_name_value(files_.read(directory_ + "/memory.events")).at(name);
    }

private:
    std::int64_t number(const char* file) const {
        return std::stoll(files_.read(fmt::format("{}/{}", directory_, file)));
    }

    const SystemFiles& files_;
    std::string directory_;
};

// A child with a line to it in each direction, one byte per step.
class Peer {
public:
    template <typename Body>
    explicit Peer(Body&& body) {
        std::array<int, 2> to = {};
        std::array<int, 2> from = {};
        if (::pipe(to.data()) != 0 || ::pipe(from.data()) != 0) {
            throw_errno("pipe");
        }
        pid_ = ::fork();
        if (pid_ == 0) {
            ::close(to[1]);
            ::close(from[0]);
            in_ = to[0];
            out_ = from[1];
            bool good = false;
            try {
                good = body(*this);
            } catch (const std::exception& error) {
                std::fprintf(stderr, "%s\n", error.what());
            }
            ::_exit(good ? 0 : 1);
        }
        ::close(to[0]);
        ::close(from[1]);
        in_ = from[0];
        out_ = to[1];
    }
    ~Peer() {
        ::close(in_);
        ::close(out_);
        if (pid_ > 0) {
            finish();
        }
    }
    Peer(const Peer&) = delete;
    Peer& operator=(const Peer&) = delete;

    bool wait() const {
        char byte = 0;
        return ::read(in_, &byte, 1) == 1;
    }
    bool tell() const { return ::write(out_, "x", 1) == 1; }
    // Whether it ended well.
    bool finish() {
        int status = 0;
        ::waitpid(pid_, &status, 0);
        pid_ = 0;
        return WIFEXITED(status) && WEXITSTATUS(status) == 0;
    }

private:
    pid_t pid_ = 0;
    int in_ = -1;
    int out_ = -1;
};

class MemcgTest : public BackupTest {
protected:
    void SetUp() override {
        BackupTest::SetUp();
        if (!IsSkipped() && !files.exists(kRoot + "/memory.reclaim")) {
            GTEST_SKIP() << "no memory cgroups";
        }
    }
};

TEST_P(MemcgTest, AShrinkChargesTheOwner) {
    const bool copy = std::string_view(GetParam()) == "copy";
    files.write(kRoot + "/cgroup.subtree_control", "+memory");
    const Cgroup owner(files, "vttm-owner");
    const Cgroup reclaimer(files, "vttm-reclaimer");
    // Less than the buffers: who is charged for them has to give up something at once.
    reclaimer.set("memory.max", "16M");

    Peer user([&](Peer& parent) {
        owner.join();
        Stamped buffers;
        buffers.create(kBufferBytes, 2 * kMib);
        buffers.fill(1);
        const bool stepped = parent.tell() && parent.wait();
        return stepped && buffers.count_bad(1, Actor::kDevice) == 0;
    });
    ASSERT_TRUE(user.wait());
    const std::int64_t owner_before = owner.charged();
    const std::int64_t before = shrunk_pages();
    const Stats stats_before = backup_stats();

    Peer shrinker([&](Peer& parent) {
        reclaimer.join();
        const std::int64_t start = shrunk_pages();
        for (int i = 0; i < 64 && shrunk_pages() - start < kBufferBytes / 4096; ++i) {
            if (!shrink(files, 2048)) {
                return false;
            }
        }
        return parent.tell() && parent.wait();
    });
    ASSERT_TRUE(shrinker.wait()) << "killed?";
    const std::int64_t shrunk = (shrunk_pages() - before) * 4096;
    const std::int64_t reclaimer_charged = reclaimer.charged();
    const std::int64_t owner_charged = owner.charged() - owner_before;
    EXPECT_GE(shrunk, kBufferBytes);
    expect_mode_was_used(stats_before, shrunk / 4096);

    if (copy) {
        // Upstream's behaviour, and why this test is there: the copies belong to who reclaims.
        EXPECT_GE(reclaimer_charged, kBufferBytes - kOwn);
        EXPECT_LE(owner_charged, kOwn);
        EXPECT_GT(reclaimer.event("max"), 0) << "never came to its limit";
    } else {
        EXPECT_LE(reclaimer_charged, kOwn);
        EXPECT_GE(owner_charged, kBufferBytes - kOwn);
        EXPECT_EQ(reclaimer.event("max"), 0);
    }
    EXPECT_EQ(reclaimer.event("oom_kill"), 0);

    EXPECT_TRUE(shrinker.tell());
    EXPECT_TRUE(shrinker.finish());
    EXPECT_TRUE(user.tell());
    EXPECT_TRUE(user.finish()) << "bad pages, or the owner died";
}

INSTANTIATE_TEST_SUITE_P(Modes, MemcgTest, ::testing::ValuesIn(kModes),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace vttm::guest::test
