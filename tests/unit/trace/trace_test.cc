// SPDX-License-Identifier: Apache-2.0
// The device's log, the order of a job's events, and what is written for Perfetto.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "host-backend/trace/chrome_json.h"
#include "protocol/vttm_packets.h"
#include "protocol/vttm_regs.h"

namespace vttm::trace::test {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

constexpr std::uint64_t kUs = 1000;

std::string log_of(const std::vector<vttm_trace_record>& records) {
    const vttm_trace_header header{VTTM_TRACE_MAGIC, VTTM_TRACE_VERSION, sizeof(vttm_trace_record), 0};
    std::string bytes(reinterpret_cast<const char*>(&header), sizeof(header));
    for (const auto& r : records) bytes.append(reinterpret_cast<const char*>(&r), sizeof(r));
    return bytes;
}

vttm_trace_record rec(vttm_trace_kind kind, std::uint64_t us, std::uint64_t value = 0, std::uint16_t engine = 0) {
    return {static_cast<std::uint32_t>(kind), engine, 0, us * kUs, value, 0};
}

constexpr std::uint32_t kCopy = VTTM_PKT_HDR(VTTM_OP_COPY, 0, 7), kFence = VTTM_PKT_HDR(VTTM_OP_FENCE, 0, 5);

// A job of engine 0 that begins at @us and takes 100 us; its fence has the number @seq.
void job(std::vector<vttm_trace_record>& out, std::uint64_t us, std::uint64_t seq) {
    out.push_back(rec(VTTM_TRACE_TAIL, us - 2, 48));
    out.push_back(rec(VTTM_TRACE_PACKET_BEGIN, us, kCopy));
    out.push_back(rec(VTTM_TRACE_PACKET_END, us + 90, kCopy));
    out.push_back(rec(VTTM_TRACE_PACKET_BEGIN, us + 91, kFence));
    out.push_back(rec(VTTM_TRACE_FENCE, us + 92, seq));
    out.push_back(rec(VTTM_TRACE_PACKET_END, us + 93, kFence));
    vttm_trace_record irq = rec(VTTM_TRACE_IRQ, us + 94, VTTM_MSIX_ENGINE(0), VTTM_TRACE_NONE);
    irq.ring = VTTM_TRACE_NONE;
    out.push_back(irq);
}

// The guest's clock is 1 s behind the device's.
constexpr std::uint64_t kBehind = 1'000'000;  // us

std::string guest_event(std::uint64_t device_us, const std::string& what) {
    const std::uint64_t us = device_us - kBehind;
    return fmt::format("     kworker/0:1-12      [000] d..2. {:5}.{:06}: {}\n", us / 1'000'000, us % 1'000'000, what);
}

std::string guest_job(std::uint64_t us, std::uint64_t seq) {
    // With the scheduler's own fence, whose number may be that of another job.
    return guest_event(us - 12, "drm_sched_job_run: dev=0000:00:10.0, fence=4:7, ring=vttm-copy, job count:0, client_id:0") +
           guest_event(us - 10, fmt::format("dma_fence_init: driver=vttm timeline=vttm-ring context=9 seqno={}", seq)) +
           guest_event(us - 8, fmt::format("dma_fence_init: driver=drm_sched timeline=vttm-copy context=3 seqno={}", seq)) +
           guest_event(us - 7, fmt::format("dma_fence_signaled: driver=drm_sched timeline=vttm-copy context=3 seqno={}", seq)) +
           guest_event(us + 120, fmt::format("dma_fence_signaled: driver=signaled-driver timeline=signaled-timeline "
                                             "context=9 seqno={}", seq));
}

struct Made {
    Trace trace;
    std::vector<ClockSample> guest, host;
    Made() {
        std::vector<vttm_trace_record> records;
        std::string text;
        for (std::uint64_t i = 1; i <= 50; ++i) {
            job(records, kBehind + 5'000 * i, i);
            text += guest_job(kBehind + 5'000 * i, i);
        }
        trace.device = parse_device_trace(log_of(records));
        trace.guest.add(text);
        trace.guest.finish();
        for (std::uint64_t ms = 0; ms <= 300; ms += 10) {
            guest.push_back({ms * 1'000'000, ms * 1'000'000 + kBehind * kUs + 500, ms * 1'000'000 + 1'000});
            host.push_back({ms * 1'000'000, ms * 1'000'000 + kBehind * kUs, ms * 1'000'000 + 1'000});
        }
        trace.host = {{"boot", 0, 100'000'000}, {"fill", 100'000'000, 300'000'000}};
    }
    Order order() const { return check_order(match_jobs(trace.guest.events, trace.device), ClockMap(guest)); }
    json written() const { return json::parse(chrome_json(trace, ClockMap(guest), ClockMap(host), order())); }
};

TEST(DeviceTrace, RefusesWhatIsNone) {
    EXPECT_ANY_THROW(parse_device_trace(""));
    EXPECT_ANY_THROW(parse_device_trace("0123456789abcdef"));
    std::string other = log_of({});
    other[4]++;
    EXPECT_ANY_THROW(parse_device_trace(other)) << "another version";
}

TEST(DeviceTrace, CountsWhatItCannotUse) {
    auto bytes = log_of({rec(VTTM_TRACE_TAIL, 5), rec(static_cast<vttm_trace_kind>(77), 6), rec(VTTM_TRACE_TAIL, 3)});
    const auto trace = parse_device_trace(bytes + "rest");
    EXPECT_EQ(trace.torn_bytes, 4u);
    EXPECT_EQ(trace.unknown, 1u);
    ASSERT_EQ(trace.records.size(), 2u);
    EXPECT_EQ(trace.records[0].time_ns, 3 * kUs) << "in the order of time";
}

TEST(DeviceTrace, StandstillsNest) {
    const auto trace = parse_device_trace(log_of({rec(VTTM_TRACE_PAUSE, 10), rec(VTTM_TRACE_PAUSE, 11), rec(VTTM_TRACE_RESUME, 12),
                                                  rec(VTTM_TRACE_RESUME, 20), rec(VTTM_TRACE_RESUME, 21), rec(VTTM_TRACE_PAUSE, 30),
                                                  rec(VTTM_TRACE_TAIL, 35)}));
    const auto stops = trace.standstills();
    ASSERT_EQ(stops.size(), 2u);
    EXPECT_EQ(stops[0].begin, 10 * kUs);
    EXPECT_EQ(stops[0].end, 20 * kUs);
    EXPECT_EQ(stops[1].end, 35 * kUs) << "one that has not ended";
}

TEST(Order, HoldsOfJobsAsTheyAre) {
    const Order order = Made().order();
    EXPECT_EQ(order.jobs, 50u);
    EXPECT_EQ(order.violations, 0u);
    EXPECT_NEAR(static_cast<double>(order.slack_begin_ns), 10e3, 1e3);
    EXPECT_NEAR(static_cast<double>(order.slack_signal_ns), 28e3, 1e3);
}

// Such an offset is the same in all samples: they cannot tell, the jobs can.
TEST(Order, APlantedOffsetOfAllSamplesIsSeen) {
    for (const std::int64_t offset : {-60'000, -40'000, 20'000, 90'000}) {
        Made made;
        for (ClockSample& s : made.guest) s.there += static_cast<std::uint64_t>(offset);
        const Order order = made.order();
        EXPECT_EQ(order.violations, 50u) << offset;
        EXPECT_GT(order.worst_ns, 5'000) << offset;
    }
    Made made;
    for (ClockSample& s : made.guest) s.there += 2'000;
    EXPECT_EQ(made.order().violations, 0u) << "less than what lies between";
}

TEST(Order, OneJobOutOfOrderIsSeen) {
    Made made;
    made.trace.guest.add(guest_job(kBehind + 261'000, 51));
    std::vector<vttm_trace_record> records = made.trace.device.records;
    job(records, kBehind + 260'000, 51);  // begins before it is made
    made.trace.device = parse_device_trace(log_of(records));
    EXPECT_EQ(made.order().jobs, 51u);
    EXPECT_EQ(made.order().violations, 1u);
}

// What a reset has cut off is no part of the next job.
TEST(Order, AResetOfTheDeviceCutsAJobOff) {
    Made made;
    std::vector<vttm_trace_record> records = made.trace.device.records;
    records.push_back(rec(VTTM_TRACE_PACKET_BEGIN, kBehind + 260'000, kCopy));
    vttm_trace_record reset = rec(VTTM_TRACE_RESET, kBehind + 260'010, 0, VTTM_TRACE_NONE);
    reset.ring = VTTM_TRACE_NONE;
    records.push_back(reset);
    job(records, kBehind + 261'000, 51);
    made.trace.device = parse_device_trace(log_of(records));
    made.trace.guest.add(guest_job(kBehind + 261'000, 51));
    EXPECT_EQ(made.order().jobs, 51u);
    EXPECT_EQ(made.order().violations, 0u);
}

const json* find(const json& written, const std::string& name) {
    for (const json& e : written.at("traceEvents"))
        if (e.at("name") == name) return &e;
    return nullptr;
}

TEST(ChromeJson, HasTheThreeOnOneClock) {
    const json written = Made().written();
    const json* packet = find(written, "COPY");
    ASSERT_TRUE(packet);
    EXPECT_EQ(packet->at("ph"), "X");
    EXPECT_DOUBLE_EQ(packet->at("ts").get<double>(), kBehind + 5'000);
    EXPECT_DOUBLE_EQ(packet->at("dur").get<double>(), 90);
    const json* whole = find(written, "job 1");
    ASSERT_TRUE(whole);
    EXPECT_DOUBLE_EQ(whole->at("ts").get<double>(), kBehind + 5'000);
    EXPECT_DOUBLE_EQ(whole->at("dur").get<double>(), 93);
    EXPECT_EQ(whole->at("args").at("fence"), 1);
    const json* made = find(written, "dma_fence_init");
    ASSERT_TRUE(made);
    EXPECT_NEAR(made->at("ts").get<double>(), kBehind + 4'990, 1);
    EXPECT_EQ(made->at("args").at("fence"), 1);
    EXPECT_LE(made->at("args").at("error_ns").get<int>(), 2'000);
    const json* phase = find(written, "fill");
    ASSERT_TRUE(phase);
    EXPECT_NEAR(phase->at("ts").get<double>(), kBehind + 100'000, 1);
    EXPECT_TRUE(find(written, "irq copy"));
    EXPECT_TRUE(find(written, "doorbell"));
    const json& about = written.at("metadata").at("vttm");
    EXPECT_EQ(about.at("order").at("jobs"), 50);
    EXPECT_GT(about.at("clock_guest").at("error_ns_max"), 0);
}

TEST(ChromeJson, WhatWasDroppedIsSaid) {
    Made made;
    made.trace.guest.add("CPU:0 [LOST 9 EVENTS]\nrubbish\n" + guest_event(kBehind + 900'000'000, "ttm_late: x=1"));
    made.trace.device_lost = 4;
    made.trace.clock_samples_lost = 3;
    const json about = made.written().at("metadata").at("vttm");
    EXPECT_EQ(about.at("dropped").at("guest_lost"), 9);
    EXPECT_EQ(about.at("dropped").at("guest_unparsed"), 1);
    EXPECT_EQ(about.at("dropped").at("guest_outside_of_clock"), 1);
    EXPECT_EQ(about.at("dropped").at("device_records"), 4);
    EXPECT_EQ(about.at("clock_guest").at("samples_lost"), 3);
}

TEST(ChromeJson, SlicesOfATrackNestOrFollowEachOther) {
    Made made;
    std::vector<vttm_trace_record> records = made.trace.device.records;
    // A reset cuts a packet off; one without an end; one that is never over.
    const std::uint64_t at = kBehind + 260'000;
    records.push_back(rec(VTTM_TRACE_PACKET_BEGIN, at, kCopy));
    records.push_back(rec(VTTM_TRACE_RESET, at + 5, 1));
    records.push_back(rec(VTTM_TRACE_PACKET_BEGIN, at + 50, kCopy));
    records.push_back(rec(VTTM_TRACE_PACKET_BEGIN, at + 60, kFence));
    records.push_back(rec(VTTM_TRACE_FENCE, at + 61, 99));
    records.push_back(rec(VTTM_TRACE_PACKET_END, at + 62, kFence));
    records.push_back(rec(VTTM_TRACE_PACKET_BEGIN, at + 70, kCopy));
    records.push_back(rec(VTTM_TRACE_FAULT, at + 75, VTTM_FAULT_BUS));
    made.trace.device = parse_device_trace(log_of(records));
    const json written = made.written();
    std::map<std::pair<int, int>, double> end;
    unsigned cut = 0;
    for (const json& e : written.at("traceEvents")) {
        if (e.at("ph") != "X") continue;
        const std::pair track{e.at("pid").get<int>(), e.at("tid").get<int>()};
        EXPECT_GE(e.at("ts").get<double>() + 1e-3, end[track]) << e;
        end[track] = e.at("ts").get<double>() + e.at("dur").get<double>();
        cut += e.at("args").contains("cut");
    }
    EXPECT_EQ(cut, 3u);
    EXPECT_TRUE(find(written, "job 99"));
}

// No byte of the guest gets anything out of its string.
TEST(ChromeJson, AHostileGuestCannotBreakTheFile) {
    std::mt19937_64 random(2);
    for (int round = 0; round < 300; ++round) {
        Made made;
        std::string text = guest_job(kBehind + 260'000, 60);
        for (int i = 0; i < 8; ++i) text[random() % text.size()] = static_cast<char>(random());
        made.trace.guest.add(text + "  \"},{\\\"ph-12      [000] d..2.     0.270000: a\": \"}]}\xff\xfe\n");
        const json written = made.written();  // throws if it is no JSON
        EXPECT_EQ(written.size(), 3u);
    }
}

TEST(ChromeJson, RandomDeviceRecordsHarmNothing) {
    std::mt19937_64 random(3);
    for (int round = 0; round < 300; ++round) {
        Made made;
        std::vector<vttm_trace_record> records;
        for (int i = 0; i < 100; ++i)
            records.push_back({static_cast<std::uint32_t>(random() % 10), static_cast<std::uint16_t>(random() % 3 ? random() % 3 : random()),
                               static_cast<std::uint16_t>(random() % 4 ? random() % 4 : random()), random() % 1'000'000, random(), random()});
        made.trace.device = parse_device_trace(log_of(records));
        ASSERT_NO_THROW(made.written());
    }
}

}  // namespace
}  // namespace vttm::trace::test
