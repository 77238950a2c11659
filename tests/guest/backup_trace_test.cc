// SPDX-License-Identifier: Apache-2.0
// Trace events of the backup: their sums are what the counters grow by.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <sstream>

#include "tests/guest/backup_test.h"

namespace vttm::guest::test {
namespace {

const std::string kTracefs = "/sys/kernel/tracing";
// An instance of its own: nobody else's buffer, nobody else's events.
const std::string kInstance = kTracefs + "/instances/vttm-test";

// "name=123" of a line of the trace.
std::int64_t field(const std::string& line, const std::string& name) {
    const std::size_t at = line.find(" " + name + "=");
    return at == std::string::npos ? -1 : std::stoll(line.substr(at + name.size() + 2));
}

bool has(const std::string& line, const std::string& text) {
    return line.find(text) != std::string::npos;
}

class TraceTest : public BackupTest {
protected:
    void SetUp() override {
        BackupTest::SetUp();
        if (IsSkipped() || HasFatalFailure()) {
            return;
        }
        if (!files.exists(kTracefs + "/instances")) {
            GTEST_SKIP() << "this kernel has no tracefs";
        }
        if (!files.exists(kTracefs + "/events/ttm/ttm_backup_inserted")) {
            GTEST_SKIP() << "this kernel's ttm has no trace events";
        }
        ASSERT_TRUE(std::filesystem::create_directory(kInstance)) << "left over from another test?";
        made_ = true;
        files.write(kInstance + "/buffer_size_kb", "8192");
    }
    void TearDown() override {
        std::error_code error;
        if (made_) {
            files.try_write(kInstance + "/events/ttm/enable", "0");
            std::filesystem::remove(kInstance, error);
            EXPECT_FALSE(error) << error.message();
        }
        BackupTest::TearDown();
    }

    void enable(bool on) { files.write(kInstance + "/events/ttm/enable", on ? "1" : "0"); }
    // What the trace sums up to, by name of counter; empties the trace.
    Stats sums();
    // That the sums of the trace are what each counter has grown by.
    void expect_sums(const Stats& before, const Stats& after);

private:
    bool made_ = false;
};

Stats TraceTest::sums() {
    Stats sums;
    std::istringstream trace(files.read(kInstance + "/trace"));
    for (std::string line; std::getline(trace, line);) {
        if (const std::size_t at = line.find("entries-in-buffer/entries-written: ");
            at != std::string::npos) {
            std::int64_t kept = 0;
            std::int64_t written = 0;
            EXPECT_EQ(std::sscanf(line.c_str() + at, "entries-in-buffer/entries-written: %ld/%ld",
                                  &kept, &written),
                      2);
            EXPECT_EQ(kept, written) << "events were lost";
        }
        if (!has(line, ": ttm_backup_")) {
            continue;
        }
        const std::int64_t pages = field(line, "pages");
        const std::int64_t order = field(line, "order");
        EXPECT_GT(pages, 0) << line;
        EXPECT_GT(field(line, "ino"), 0) << line;
        EXPECT_GE(field(line, "index"), 0) << line;
        const auto by_order = [&](const char* name) {
            EXPECT_EQ(pages, 1LL << order) << line;
            sums[fmt::format("{}_order{}", name, order)] += 1;
        };
        if (has(line, ": ttm_backup_inserted: ")) {
            sums["inserted_pages"] += pages;
            by_order("inserted");
        } else if (has(line, ": ttm_backup_swapcached: ")) {
            sums["swapcache_pages"] += pages;
            by_order("swapcache");
        } else if (has(line, ": ttm_backup_copied: ")) {
            sums["copied_pages"] += pages;
            by_order("copied");
        } else if (has(line, ": ttm_backup_split: ")) {
            EXPECT_LT(field(line, "new_order"), order) << line;
            sums["split_folios"] += 1;
            by_order("split");
        } else if (has(line, ": ttm_backup_fallback: ")) {
            const char* name = has(line, "mode=insert ") ? "insert_fallback" : "swapcache_fallback";
            EXPECT_TRUE(has(line, "mode=insert ") || has(line, "mode=swapcache ")) << line;
            EXPECT_LT(field(line, "error"), 0) << line;
            sums[name] += 1;
            by_order(name);
        } else if (has(line, ": ttm_backup_restored_copied: ")) {
            sums["restored_pages"] += pages;
            sums["restored_copied_pages"] += pages;
        } else if (has(line, ": ttm_backup_restored_in_place: ")) {
            sums["restored_pages"] += pages;
            by_order("restored_in_place");
        } else if (has(line, ": ttm_backup_restored_swapin: ")) {
            sums["restored_pages"] += pages;
            by_order("restored_swapin");
        } else if (has(line, ": ttm_backup_dropped: ")) {
            sums["dropped_pages"] += pages;
        } else {
            ADD_FAILURE() << "unknown event: " << line;
        }
    }
    files.write(kInstance + "/trace", "\n");
    return sums;
}

void TraceTest::expect_sums(const Stats& before, const Stats& after) {
    Stats traced = sums();
    for (const auto& [name, value] : after) {
        EXPECT_EQ(traced[name], value - before.at(name)) << name;
        traced.erase(name);
    }
    for (const auto& [name, value] : traced) {
        ADD_FAILURE() << "events of " << name << ", which is no counter: " << value;
    }
}

TEST_P(TraceTest, SumsAreTheCounters) {
    const Stats start = backup_stats();
    {
        Stamped buffers;
        buffers.create(12 * kMib, 2 * kMib);
        buffers.create(4 * kMib, 2 * kMib, Domain::kGtt, Caching::kWc);
        buffers.create(2 * kMib, 256 * 1024 + kPage);
        buffers.create(16 * kPage, kPage);
        buffers.fill(1);
        enable(true);
        // In memory, and back.
        shrink_all(17 * 256);
        buffers.expect_intact(1);
        // To the swap disk, and back.
        shrink_all(17 * 256);
        files.try_write("/sys/fs/cgroup/memory.reclaim", "64M");
        buffers.expect_intact(1, Actor::kCpu);
        // Freed while it is backed up.
        shrink_all(17 * 256);
    }
    // A buffer may be freed a little later.
    for (int i = 0; i < 200 && driver_stats(files).at("buffers") != 0; ++i) {
        ::usleep(10'000);
    }
    enable(false);
    const Stats end = backup_stats();
    for (const char* name : {pages_counter(GetParam()), "restored_pages", "dropped_pages"}) {
        EXPECT_GE(end.at(name) - start.at(name), 17 * 256) << name;
    }
    if (std::string_view(GetParam()) != "copy") {
        std::int64_t swapin = 0;
        for (const auto& [name, value] : end) {
            swapin += name.starts_with("restored_swapin_") ? value - start.at(name) : 0;
        }
        EXPECT_GT(swapin, 0) << "nothing came back from swap in one piece";
    }
    expect_sums(start, end);
}

// Not with `copy`, to which the others fall back.
class FallbackTraceTest : public TraceTest {};

TEST_P(FallbackTraceTest, FailuresAreTraced) {
    const std::string fault = std::string_view(GetParam()) == "insert" ? "fail_shmem_insert"
                                                                       : "fail_swap_backup";
    const std::string directory = "/sys/kernel/debug/" + fault;
    if (!files.exists(directory)) {
        GTEST_SKIP() << "this kernel has no " << fault;
    }
    Stamped buffers;
    buffers.create(8 * kMib, 256 * 1024);
    buffers.fill(1);
    files.write(directory + "/interval", "3");
    files.write(directory + "/probability", "100");
    files.write(directory + "/times", "-1");
    files.write(directory + "/verbose", "0");
    const Stats start = backup_stats();
    enable(true);
    for (int i = 0; i < 8; ++i) {
        ASSERT_TRUE(shrink(files, 2048));
    }
    files.write(directory + "/probability", "0");
    buffers.expect_intact(1);
    enable(false);
    const Stats end = backup_stats();
    const std::string fallback = fmt::format("{}_fallback", GetParam());
    EXPECT_GT(end.at(fallback), start.at(fallback)) << "nothing failed";
    expect_sums(start, end);
}

TEST_P(TraceTest, SwitchedOffNothingIsTraced) {
    Stamped buffers;
    buffers.create(4 * kMib, 2 * kMib);
    buffers.fill(1);
    const Stats start = backup_stats();
    shrink_all(4 * 256);
    buffers.expect_intact(1);
    EXPECT_GT(backup_stats().at("restored_pages"), start.at("restored_pages"));
    EXPECT_TRUE(sums().empty());
}

INSTANTIATE_TEST_SUITE_P(Modes, TraceTest, ::testing::ValuesIn(kModes),
                         [](const auto& info) { return std::string(info.param); });
INSTANTIATE_TEST_SUITE_P(Modes, FallbackTraceTest, ::testing::Values("insert", "swapcache"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace vttm::guest::test
