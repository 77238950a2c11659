// SPDX-License-Identifier: Apache-2.0
#include "host-backend/oracle/witness_log.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <limits>
#include <map>
#include <random>

#include "tests/unit/oracle/fake_guest.h"

namespace vttm::oracle::test {
namespace {

class Log : public ::testing::Test {
protected:
    Log() { ledger_.add({.id = 7, .pages = 100}); }

    TempDir dir_;
    std::filesystem::path path_ = dir_.path() / "witness";
    Ledger ledger_{kKey};
};

TEST_F(Log, AMissingOrYoungFileIsEmpty) {
    WitnessLog log(path_);
    EXPECT_EQ(log.poll(), 0u);
    LogWriter w(path_, false);
    const vttm_witness_header h{VTTM_WITNESS_MAGIC, VTTM_WITNESS_VERSION,
                                sizeof(vttm_witness_record), 0};
    w.raw(&h, 7);
    EXPECT_EQ(log.poll(), 0u);
    w.raw(reinterpret_cast<const char*>(&h) + 7, sizeof(h) - 7);
    EXPECT_EQ(log.poll(), 0u);
    w.write(7, 1, 0, 1, 0x1000);
    EXPECT_EQ(log.poll(), 1u);
}

TEST_F(Log, APartialRecordWaits) {
    LogWriter w(path_);
    WitnessLog log(path_);
    w.write(7, 1, 0, 4, 0x10000);
    const auto next = LogWriter::record(VTTM_WITNESS_WRITE, 7, 1, 4, 4, 0x80000);
    w.raw(&next, 63);
    EXPECT_EQ(log.poll(), 1u);
    EXPECT_FALSE(log.last({7, 4}, 1));
    EXPECT_EQ(log.poll(), 0u);
    w.raw(reinterpret_cast<const char*>(&next) + 63, 1);
    EXPECT_EQ(log.poll(), 1u);
    ASSERT_TRUE(log.last({7, 5}, 1));
    EXPECT_EQ(log.last({7, 5}, 1)->phys, 0x81000u);
    EXPECT_EQ(log.serial(), 2u);
}

TEST_F(Log, WrongHeadersAreRefused) {
    for (const vttm_witness_header h :
         {vttm_witness_header{1, VTTM_WITNESS_VERSION, 64, 0},
          vttm_witness_header{VTTM_WITNESS_MAGIC, VTTM_WITNESS_VERSION + 1, 64, 0},
          vttm_witness_header{VTTM_WITNESS_MAGIC, VTTM_WITNESS_VERSION, 72, 0}}) {
        std::filesystem::remove(path_);
        LogWriter w(path_, false);
        w.raw(&h, sizeof(h));
        WitnessLog log(path_);
        EXPECT_THROW(log.poll(), WitnessLogError);
    }
}

TEST_F(Log, ImpossibleRecordsAreRefused) {
    constexpr auto kMax = std::numeric_limits<std::uint64_t>::max();
    for (vttm_witness_record r :
         {LogWriter::record(static_cast<vttm_witness_kind>(9), 7, 1, 0, 1, 0),
          LogWriter::record(VTTM_WITNESS_WRITE, 7, 1, 0, 0, 0),
          LogWriter::record(VTTM_WITNESS_WRITE, 7, 1, 0, 2, kMax - 4096),
          LogWriter::record(VTTM_WITNESS_WRITE, 7, 1, 0, 1, 0, VTTM_SPACE_VM),
          LogWriter::record(VTTM_WITNESS_VERIFY, 7, 1, 0, 1, 0, VTTM_SPACE_VRAM, 7)}) {
        std::filesystem::remove(path_);
        LogWriter w(path_);
        w.add(r);
        WitnessLog log(path_);
        EXPECT_THROW(log.poll(), WitnessLogError) << "kind " << r.kind << " pages " << r.npages;
    }
}

// Pages and buffers are what the guest's packets say: nonsense there is no fault of the log.
TEST_F(Log, PageRangesThatWrapArePassedOver) {
    constexpr auto kMax = std::numeric_limits<std::uint64_t>::max();
    LogWriter w(path_);
    w.write(7, 1, kMax, 2, 0x1000);
    w.verify(7, 1, kMax - 1, 5, 0x1000, VTTM_STAMP_ZERO);
    w.add(LogWriter::record(VTTM_WITNESS_FAULT, 7, 1, kMax, 1, kMax & ~0xfffull, VTTM_SPACE_VM));
    w.write(7, 1, 3, 1, 0x5000);
    WitnessLog log(path_);
    EXPECT_EQ(log.poll(), 4u);
    EXPECT_FALSE(log.last({7, kMax}, 1));
    EXPECT_FALSE(log.last({7, 0}, 1));
    EXPECT_TRUE(log.last({7, 3}, 1));
    EXPECT_EQ(log.faults().size(), 1u);
}

TEST_F(Log, SpansCoverWhatIsAlike) {
    LogWriter w(path_);
    w.write(7, 1, 10, 10, 0x100000);
    w.write(7, 1, 14, 2, 0x900000);
    WitnessLog log(path_);
    log.poll();
    EXPECT_FALSE(log.last_span({7, 0}, 1).first);
    EXPECT_EQ(log.last_span({7, 0}, 1).count, 10u);
    EXPECT_EQ(log.last_span({7, 12}, 1).first->phys, 0x102000u);
    EXPECT_EQ(log.last_span({7, 12}, 1).count, 2u);
    EXPECT_EQ(log.last_span({7, 15}, 1).count, 1u);
    EXPECT_EQ(log.last_span({7, 16}, 1).first->phys, 0x106000u);
    EXPECT_EQ(log.last_span({7, 16}, 1).count, 4u);
    EXPECT_FALSE(log.last_span({7, 20}, 1).first);
    EXPECT_GT(log.last_span({7, 20}, 1).count, 1u << 30);
    EXPECT_GE(log.last_span({7, std::numeric_limits<std::uint64_t>::max()}, 1).count, 1u);
}

TEST_F(Log, AShrunkenFileIsRefused) {
    LogWriter w(path_);
    w.write(7, 1, 0, 1, 0x1000);
    WitnessLog log(path_);
    log.poll();
    std::filesystem::resize_file(path_, 20);
    EXPECT_THROW(log.poll(), WitnessLogError);
}

TEST_F(Log, TheLastAccessCounts) {
    LogWriter w(path_);
    w.write(7, 1, 0, 10, 0x100000);
    w.verify(7, 1, 3, 2, 0x900000);
    w.write(7, 1, 8, 1, 0x5000, VTTM_SPACE_VRAM);
    WitnessLog log(path_);
    log.poll();
    EXPECT_EQ(log.last({7, 2}, 1)->phys, 0x102000u);
    EXPECT_TRUE(log.last({7, 2}, 1)->write);
    EXPECT_EQ(log.last({7, 3}, 1)->phys, 0x900000u);
    EXPECT_EQ(log.last({7, 4}, 1)->phys, 0x901000u);
    EXPECT_EQ(log.last({7, 4}, 1)->serial, 2u);
    EXPECT_FALSE(log.last({7, 4}, 1)->write);
    EXPECT_EQ(log.last({7, 5}, 1)->phys, 0x105000u);
    EXPECT_FALSE(log.last({7, 8}, 1)->system);
    EXPECT_EQ(log.last({7, 9}, 1)->phys, 0x109000u);
    EXPECT_FALSE(log.last({7, 10}, 1));
    EXPECT_FALSE(log.last({7, 0}, 2));
    EXPECT_FALSE(log.last({8, 0}, 1));
}

TEST_F(Log, OnlyTheNewestGenerationsAreKept) {
    LogWriter w(path_);
    for (std::uint32_t g = 1; g <= 4; g++) w.write(7, g, 0, 1, g * 0x1000);
    WitnessLog log(path_);
    log.poll();
    EXPECT_FALSE(log.last({7, 0}, 2));
    EXPECT_EQ(log.last({7, 0}, 3)->phys, 0x3000u);
    EXPECT_EQ(log.last({7, 0}, 4)->phys, 0x4000u);
}

// Overlapping ranges against a plain map, page by page.
TEST_F(Log, RangesMatchAModel) {
    std::mt19937_64 random(11);
    LogWriter w(path_);
    WitnessLog log(path_);
    std::map<std::uint64_t, std::pair<std::uint64_t, std::uint64_t>> model;
    for (std::uint64_t serial = 1; serial <= 500; serial++) {
        const std::uint64_t first = random() % 90, count = 1 + random() % 20;
        const std::uint64_t phys = (random() % 100000) * kPageSize;
        w.write(7, 1, first, count, phys);
        for (std::uint64_t i = 0; i < count; i++) {
            model[first + i] = {phys + i * kPageSize, serial};
        }
        if (serial % 10) continue;
        log.poll();
        for (std::uint64_t page = 0; page < 120; page++) {
            const auto got = log.last({7, page}, 1);
            const auto want = model.find(page);
            ASSERT_EQ(got.has_value(), want != model.end()) << page;
            if (!got) continue;
            ASSERT_EQ(got->phys, want->second.first) << page;
            ASSERT_EQ(got->serial, want->second.second) << page;
        }
    }
}

TEST_F(Log, VerifyReportListsEachBadPageOnce) {
    ledger_.filled(7, 2);
    LogWriter w(path_);
    w.verify(7, 2, 0, 100, 0x100000, VTTM_STAMP_BITFLIP);  // before the mark
    WitnessLog log(path_);
    log.poll();
    const std::uint64_t mark = log.serial();
    EXPECT_FALSE(log.verify_report(ledger_, mark).present);
    w.verify(7, 2, 0, 10, 0x100000);
    w.verify(7, 2, 10, 2, 0x700000, VTTM_STAMP_ZERO);
    w.verify(7, 2, 11, 1, 0x700000, VTTM_STAMP_TORN);
    w.verify(7, 2, 11, 1, 0x700000);                      // good now: was bad all the same
    w.verify(7, 1, 50, 1, 0x700000, VTTM_STAMP_GARBAGE);  // old generation
    w.verify(9, 2, 50, 1, 0x700000, VTTM_STAMP_GARBAGE);  // no such buffer
    w.verify(7, 2, 98, 5, 0x3000, VTTM_STAMP_STALE, VTTM_SPACE_VRAM);  // past the end
    log.poll();
    const WitnessReport r = log.verify_report(ledger_, mark);
    EXPECT_TRUE(r.present);
    EXPECT_EQ(r.who, Witness::kDevice);
    EXPECT_EQ(r.checked, 14u);
    ASSERT_EQ(r.bad.size(), 4u);
    EXPECT_EQ(r.bad[0].id, (PageId{7, 10}));
    EXPECT_EQ(r.bad[0].cls, PageClass::kZero);
    EXPECT_EQ(r.bad[0].where, (Place{PlaceKind::kGtt, 0x700000, -1}));
    EXPECT_EQ(r.bad[1].id, (PageId{7, 11}));
    EXPECT_EQ(r.bad[1].cls, PageClass::kZero);
    EXPECT_EQ(r.bad[3].id, (PageId{7, 99}));
    EXPECT_EQ(r.bad[3].where, (Place{PlaceKind::kVram, 0x4000, -1}));
}

// Between two reports the device looks at pages, too: a page that was bad then is bad.
TEST_F(Log, BadPagesFoundSinceTheLastReportAreInTheNext) {
    ledger_.filled(7, 2);
    LogWriter w(path_);
    w.verify(7, 2, 3, 1, 0x100000, VTTM_STAMP_ZERO);  // told in the report before
    WitnessLog log(path_);
    log.poll();
    const std::uint64_t reported = log.serial();
    w.verify(7, 2, 10, 20, 0x100000);
    w.verify(7, 2, 40, 2, 0x700000, VTTM_STAMP_TORN);
    w.verify(7, 1, 50, 1, 0x700000, VTTM_STAMP_GARBAGE);  // old generation
    log.poll();
    const std::uint64_t since = log.serial();
    EXPECT_FALSE(log.verify_report(ledger_, since, reported).present) << "no report of its own";
    w.verify(7, 2, 0, 41, 0x100000);
    log.poll();
    const WitnessReport r = log.verify_report(ledger_, since, reported);
    EXPECT_TRUE(r.present);
    EXPECT_EQ(r.checked, 42u) << "the good ones of before do not count";
    ASSERT_EQ(r.bad.size(), 2u);
    EXPECT_EQ(r.bad[0].id, (PageId{7, 40}));
    EXPECT_EQ(r.bad[0].cls, PageClass::kTorn);
    EXPECT_EQ(r.bad[1].id, (PageId{7, 41}));
}

TEST_F(Log, StaleUsesAndFaultsAreKept) {
    LogWriter w(path_);
    w.add(LogWriter::record(VTTM_WITNESS_STALE, 0, 0, 0, 1, 0x5000));
    w.add(LogWriter::record(VTTM_WITNESS_FAULT, 0, 0, 0, 0, 0, VTTM_SPACE_VM, 3));
    WitnessLog log(path_);
    EXPECT_EQ(log.poll(), 2u);
    EXPECT_EQ(log.stale_uses().size(), 1u);
    ASSERT_EQ(log.faults().size(), 1u);
    EXPECT_EQ(log.faults()[0].stamp_class, 3u);
    EXPECT_TRUE(log.stale_uses(1).empty());
    EXPECT_EQ(log.faults(1).size(), 1u);
}

TEST_F(Log, ManyRecordsInOnePoll) {
    LogWriter w(path_);
    std::vector<vttm_witness_record> all;
    for (std::uint64_t i = 0; i < 5000; i++) {
        all.push_back(LogWriter::record(VTTM_WITNESS_WRITE, 7, 1, i, 1, i * 8192));
    }
    w.raw(all.data(), all.size() * sizeof(all[0]));
    WitnessLog log(path_);
    EXPECT_EQ(log.poll(), 5000u);
    EXPECT_EQ(log.last({7, 4999}, 1)->phys, 4999u * 8192);
    WitnessLog moved = std::move(log);
    w.write(7, 1, 5000, 1, 0x1000);
    EXPECT_EQ(moved.poll(), 1u);
    EXPECT_EQ(moved.serial(), 5001u);
}

}  // namespace
}  // namespace vttm::oracle::test
