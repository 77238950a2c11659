// SPDX-License-Identifier: Apache-2.0
// Who pays: a process in a limited memory cgroup runs the shrinker over somebody else's buffers; and what becomes of an owner
// with less memory than its buffers, which somebody else shrinks.
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <vector>

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
    std::int64_t memory() const { return number("memory.current"); }
    std::int64_t swapped() const { return number("memory.swap.current"); }
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

    // Shrinks all buffers, in a process of its own: false, and no assertion, if it cannot.
    bool shrink_buffers() {
        const std::int64_t start = shrunk_pages();
        for (int i = 0; i < 64 && shrunk_pages() - start < kBufferBytes / 4096; ++i) {
            if (!shrink(files, 2048)) {
                return false;
            }
        }
        return true;
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
        return shrink_buffers() && parent.tell() && parent.wait();
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

// An owner with less memory than its buffers, which a process without a limit, in a cgroup of its own, shrinks. The owner goes on
// by steps: looks at its content, then takes memory of its own.
class OwnerTest : public MemcgTest {
protected:
    static constexpr std::int64_t kLimit = 16 * kMib;

    void SetUp() override {
        MemcgTest::SetUp();
        if (IsSkipped() || HasFatalFailure()) {
            return;
        }
        files.write(kRoot + "/cgroup.subtree_control", "+memory");
        owner = std::make_unique<Cgroup>(files, "vttm-owner");
        reclaimer = std::make_unique<Cgroup>(files, "vttm-reclaimer");
        owner->set("memory.max", std::to_string(kLimit));
    }
    void TearDown() override {
        user.reset();
        reclaimer.reset();
        owner.reset();
        above.reset();
        MemcgTest::TearDown();
    }

    bool copy() const { return std::string_view(GetParam()) == "copy"; }

    void start_owner() {
        user = std::make_unique<Peer>([&](Peer& parent) {
            owner->join();
            {
                Stamped buffers;
                buffers.create(kBufferBytes, 2 * kMib);
                buffers.fill(1);
                if (!parent.tell() || !parent.wait() || buffers.count_bad(1, Actor::kDevice) != 0 ||
                    !parent.tell() || !parent.wait()) {
                    return false;
                }
                std::vector<char> own(kOwnMemory, 1);
                if (own[own.size() / 2] != 1 || !parent.tell() || !parent.wait() ||
                    buffers.count_bad(1, Actor::kCpu) != 0) {
                    return false;
                }
            }
            return parent.tell() && parent.wait();
        });
        ASSERT_TRUE(user->wait());
    }
    bool next_step() { return user->tell() && user->wait(); }

    // Shrinks all from the reclaimer's cgroup, and tells what that was charged for it.
    void shrink_from_reclaimer() {
        Peer shrinker([&](Peer& parent) {
            reclaimer->join();
            return shrink_buffers() && parent.tell() && parent.wait();
        });
        ASSERT_TRUE(shrinker.wait()) << "killed?";
        const std::int64_t charged = reclaimer->charged();
        if (copy()) {
            EXPECT_GE(charged, kBufferBytes - kOwn);
        } else {
            EXPECT_LE(charged, kOwn);
        }
        ASSERT_TRUE(shrinker.tell());
        ASSERT_TRUE(shrinker.finish());
    }

    // That nothing of the buffers is charged any more. Freed swap lags behind.
    void expect_paid_back() const {
        for (int i = 0; i < 200 && (owner->charged() > kOwn || owner->swapped() > 0); ++i) {
            files.try_write(kRoot + "/memory.reclaim", "1M");
            ::usleep(10'000);
        }
        EXPECT_LE(owner->charged(), kOwn);
        EXPECT_EQ(owner->swapped(), 0);
        EXPECT_LE(reclaimer->charged(), kOwn);
    }

    static constexpr std::int64_t kOwnMemory = 4 * kMib;

    std::unique_ptr<Cgroup> above;  // of the owner, where a test has one
    std::unique_ptr<Cgroup> owner;
    std::unique_ptr<Cgroup> reclaimer;
    std::unique_ptr<Peer> user;
};

TEST_P(OwnerTest, WithLessMemoryThanBuffersItLivesAndItsContentGoesToDisk) {
    start_owner();
    const std::int64_t start = owner->charged();
    shrink_from_reclaimer();
    const std::int64_t charged = owner->charged() - start;
    if (copy()) {
        EXPECT_LE(charged, kOwn);
        EXPECT_EQ(owner->event("max"), 0);
    } else {
        EXPECT_GE(charged, kBufferBytes - kOwn);
        EXPECT_GT(owner->event("max"), 0) << "never came to its limit";
        EXPECT_GT(owner->swapped(), 0) << "where is what is beyond its limit?";
    }
    ASSERT_TRUE(next_step()) << "bad pages, or the owner died";
    EXPECT_LE(owner->charged() - start, kOwn) << "what came back is still charged";

    // Once more, and then the owner needs memory of its own.
    shrink_from_reclaimer();
    ASSERT_TRUE(next_step()) << "the owner died";
    EXPECT_GE(owner->charged() - start, kOwnMemory + (copy() ? 0 : kBufferBytes - kOwn));
    ASSERT_TRUE(next_step()) << "bad pages, or the owner died";
    EXPECT_EQ(owner->event("oom"), 0);
    EXPECT_EQ(reclaimer->event("oom"), 0);
    EXPECT_TRUE(user->tell());
    EXPECT_TRUE(user->finish());
    expect_paid_back();
}

// What it cannot swap nobody is charged for, as nobody is for GPU pages: else the shrink of somebody else would have who takes
// memory in this cgroup next killed.
TEST_P(OwnerTest, WithoutSwapItIsChargedForNothingAndLives) {
    owner->set("memory.swap.max", "0");
    start_owner();
    const std::int64_t start = owner->charged();
    const Stats before = backup_stats();
    const std::int64_t shrunk = shrunk_pages();
    shrink_from_reclaimer();
    expect_mode_was_used(before, shrunk_pages() - shrunk);
    EXPECT_LE(owner->charged() - start, kOwn);
    ASSERT_TRUE(next_step()) << "bad pages, or the owner died";

    shrink_from_reclaimer();
    // It leaves memory all the same.
    for (int i = 0; i < 100 && pages_by_kind(files).at("swap") < kBufferBytes / 4096; ++i) {
        files.try_write(kRoot + "/memory.reclaim", "64M");
        ::usleep(20'000);
    }
    EXPECT_GE(pages_by_kind(files).at("swap"), kBufferBytes / 4096);
    ASSERT_TRUE(next_step()) << "the owner died";
    EXPECT_GE(owner->charged() - start, kOwnMemory);
    ASSERT_TRUE(next_step()) << "bad pages, or the owner died";
    EXPECT_EQ(owner->event("max"), 0);
    EXPECT_EQ(owner->swapped(), 0);
    EXPECT_EQ(reclaimer->event("oom"), 0);
    EXPECT_TRUE(user->tell());
    EXPECT_TRUE(user->finish());
    expect_paid_back();
}

// memory.high is a limit, too: who is over it and cannot swap would be slowed down for ever.
TEST_P(OwnerTest, WithoutSwapItIsNotThrottledEither) {
    owner->set("memory.max", "max");
    owner->set("memory.high", std::to_string(kLimit));
    owner->set("memory.swap.max", "0");
    start_owner();
    const std::int64_t start = owner->charged();
    shrink_from_reclaimer();
    EXPECT_LE(owner->charged() - start, kOwn);
    ASSERT_TRUE(next_step()) << "bad pages";
    shrink_from_reclaimer();
    ASSERT_TRUE(next_step());
    EXPECT_EQ(owner->event("high"), 0);
    ASSERT_TRUE(next_step()) << "bad pages";
    EXPECT_TRUE(user->tell());
    EXPECT_TRUE(user->finish());
    expect_paid_back();
}

// A limit further up, and swap for a part: that part is charged.
TEST_P(OwnerTest, WithLittleSwapItIsChargedForThatAndLives) {
    constexpr std::int64_t kSwap = 12 * kMib;
    above = std::make_unique<Cgroup>(files, "vttm-parent");
    above->set("memory.max", std::to_string(kLimit));
    above->set("memory.swap.max", std::to_string(kSwap));
    above->set("cgroup.subtree_control", "+memory");
    owner = std::make_unique<Cgroup>(files, "vttm-parent/vttm-owner");
    ASSERT_NO_FATAL_FAILURE(start_owner());
    const std::int64_t start = owner->charged();
    const std::int64_t shrunk = shrunk_pages();
    shrink_from_reclaimer();
    const std::int64_t charged = owner->charged() - start;
    EXPECT_LE(charged, kSwap);
    if (copy()) {
        EXPECT_LE(charged, kOwn);
    } else {
        EXPECT_GE(charged, 2 * kMib);  // in the swap cache a page is charged as memory and as swap
    }
    EXPECT_TRUE(next_step()) << "bad pages, or the owner died";
    shrink_from_reclaimer();
    EXPECT_GE(shrunk_pages() - shrunk, 2 * kBufferBytes / 4096);
    EXPECT_TRUE(next_step()) << "the owner died";
    EXPECT_TRUE(next_step()) << "bad pages, or the owner died";
    EXPECT_EQ(above->event("oom"), 0);
    EXPECT_TRUE(user->tell());
    EXPECT_TRUE(user->finish());
    expect_paid_back();
}

INSTANTIATE_TEST_SUITE_P(Modes, OwnerTest, ::testing::ValuesIn(kModes),
                         [](const auto& info) { return std::string(info.param); });

INSTANTIATE_TEST_SUITE_P(Modes, MemcgTest, ::testing::ValuesIn(kModes),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace vttm::guest::test
