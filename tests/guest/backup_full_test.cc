// SPDX-License-Identifier: Apache-2.0
// The last swap slots: what a backup does when it comes to them, and what becomes of content when there are none left.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "tests/guest/backup_test.h"

namespace vttm::guest::test {
namespace {

constexpr unsigned kSwapoffSeconds = 60;
constexpr std::int64_t kSlots = 32 * kMib / kPage;
constexpr std::int64_t kBytes = 48 * kMib;
constexpr std::int64_t kPages = kBytes / kPage;
constexpr std::int64_t kHuge = 512;  // pages of 2 MiB

// The swap disk with a header that offers only its first `slots` pages, until it goes.
class SmallSwap {
public:
    SmallSwap(Swap& swap, std::int64_t slots) : swap_(swap) {
        if (const int error = swap_.off(kSwapoffSeconds); error != 0) throw Error(error, "swapoff");
        disk_ = ::open(swap.device().c_str(), O_RDWR | O_CLOEXEC);
        if (disk_ < 0 || ::pread(disk_, header_.data(), kPage, 0) != static_cast<ssize_t>(kPage)) {
            throw_errno("read the swap header");
        }
        std::array<char, kPage> small = header_;
        // As in the kernel's union swap_header: after 1024 bytes for a boot block, version and last page.
        const auto last = static_cast<std::uint32_t>(slots - 1);
        std::memcpy(small.data() + 1024 + 4, &last, sizeof last);
        write(small);
        if (swap.on() != 0) {
            write(header_);
            throw_errno("swapon");
        }
    }
    ~SmallSwap() {
        EXPECT_EQ(swap_.off(kSwapoffSeconds), 0);
        try {
            write(header_);  // looked at when it is switched on
        } catch (const Error& error) {
            ADD_FAILURE() << error.what();
        }
        if (!swap_.is_on()) {
            EXPECT_EQ(swap_.on(), 0);
        }
        ::close(disk_);
    }
    SmallSwap(const SmallSwap&) = delete;
    SmallSwap& operator=(const SmallSwap&) = delete;

private:
    void write(const std::array<char, kPage>& header) {
        if (::pwrite(disk_, header.data(), kPage, 0) != static_cast<ssize_t>(kPage) || ::fsync(disk_) != 0) {
            throw_errno("write the swap header");
        }
    }

    Swap& swap_;
    int disk_ = -1;
    std::array<char, kPage> header_ = {};
};

std::int64_t free_slots() {
    struct sysinfo info = {};
    ::sysinfo(&info);
    return static_cast<std::int64_t>(info.freeswap * info.mem_unit / kPage);
}

// Memory of this process on the swap disk, all of the rest of it.
class SlotEater {
public:
    explicit SlotEater(std::int64_t most) {
        while (free_slots() > 0 && most-- > 0) {
            void* chunk = ::mmap(nullptr, kChunk, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (chunk == MAP_FAILED) throw_errno("mmap");
            chunks_.push_back(chunk);
            std::memset(chunk, 0x5a, kChunk);
            ::madvise(chunk, kChunk, MADV_PAGEOUT);
        }
    }
    ~SlotEater() {
        for (void* chunk : chunks_) ::munmap(chunk, kChunk);
    }
    SlotEater(const SlotEater&) = delete;
    SlotEater& operator=(const SlotEater&) = delete;

private:
    static constexpr std::size_t kChunk = 64 * kPage;
    std::vector<void*> chunks_;
};

class FullSwapTest : public BackupTest {
protected:
    // The limit to what is unwritten is not the subject: it would have some inserted while there are slots.
    void SetUp() override {
        BackupTest::SetUp();
        if (!IsSkipped() && !HasFatalFailure() && swapcache()) {
            old_limit_ = files.read(kLimit);
            files.write(kLimit, "0");
        }
    }
    void TearDown() override {
        if (!old_limit_.empty()) {
            EXPECT_EQ(files.try_write(kLimit, old_limit_), 0);
        }
        BackupTest::TearDown();
    }
    bool swapcache() const { return std::string_view(GetParam()) == "swapcache"; }
    std::int64_t on_disk() const { return pages_by_kind(files).at("swap"); }

private:
    static constexpr const char* kLimit = "/sys/module/swap_backup/parameters/unwritten_max_kb";
    std::string old_limit_;
};

TEST_P(FullSwapTest, WhatHasSlotsLeavesMemoryAlsoWhenThereAreNoOthers) {
    const SmallSwap small(*swap, kSlots);
    ASSERT_LT(free_slots(), kSlots);
    ASSERT_GE(free_slots(), kSlots - kHuge);
    Stamped buffers;
    buffers.create(kBytes, 2 * kMib);
    buffers.fill(1);

    // The backup comes to the last slots: swapcache goes on as insert does; the others take none yet.
    const Stats before = backup_stats();
    shrink_all(kPages);
    const Stats after = backup_stats();
    const Stats where = pages_by_kind(files);
    EXPECT_EQ(where.at("shmem") + where.at("swapcache"), kPages);
    if (swapcache()) {
        EXPECT_GE(where.at("swapcache"), kSlots - 2 * kHuge);
        EXPECT_LE(where.at("swapcache"), kSlots);
        EXPECT_EQ(after.at("inserted_pages") - before.at("inserted_pages"), where.at("shmem"));
        EXPECT_GT(after.at("swapcache_fallback"), before.at("swapcache_fallback"));
        EXPECT_EQ(after.at("copied_pages"), before.at("copied_pages"));
    } else {
        expect_mode_was_used(before, kPages);
    }

    const SlotEater eater(2 * kSlots / 64);
    ASSERT_EQ(free_slots(), 0);
    ASSERT_EQ(on_disk(), 0);
    int rounds = 0;
    do {
        files.try_write("/sys/fs/cgroup/memory.reclaim", "64M");
        ::usleep(20'000);
    } while (on_disk() < where.at("swapcache") && ++rounds < 50);
    ASSERT_EQ(free_slots(), 0) << "with a free slot reclaim looks at such pages anyway";
    EXPECT_EQ(on_disk(), where.at("swapcache"));

    // A GPU that shrinks now gains nothing, and is not asked to.
    {
        Stamped more;
        more.create(4 * kMib, 2 * kMib);
        more.fill(2);
        const std::int64_t shrunk = shrunk_pages();
        ASSERT_TRUE(shrink(files, 2048));
        EXPECT_EQ(shrunk_pages(), shrunk);
        more.expect_intact(2);
    }
    buffers.expect_intact(1);
}

INSTANTIATE_TEST_SUITE_P(Modes, FullSwapTest, ::testing::ValuesIn(kModes),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace vttm::guest::test
