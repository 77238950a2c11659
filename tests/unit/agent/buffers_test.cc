// SPDX-License-Identifier: Apache-2.0
// buffers.*: what the device and the CPU write and find, batches, and bad requests.
#include <algorithm>

#include "protocol/vttm_stamp.h"
#include "tests/unit/agent/agent_fixture.h"

namespace vttm::guest::test {
namespace {

using nlohmann::json;

constexpr std::uint64_t kKey = 0xfedcba9876543210ull;
constexpr const char* kKeyText = "0xfedcba9876543210";

class BuffersTest : public AgentTest {
protected:
    static json buffer(std::uint32_t id, std::uint64_t bytes, const char* domain = "gtt") {
        return {{"id", id}, {"bytes", bytes}, {"domain", domain}, {"caching", "wb"}};
    }
    static json fill_request(const char* by, json ids = "all", std::uint32_t generation = 1) {
        return {{"op", "buffers.fill"},
                {"ids", ids},
                {"generation", generation},
                {"key", kKeyText},
                {"by", by}};
    }
    static json verify_request(const char* by, json ids = "all", std::uint32_t generation = 1) {
        return {{"op", "buffers.verify"},
                {"ids", ids},
                {"generation", generation},
                {"key", kKeyText},
                {"by", by}};
    }
    void create(json buffers) { call_ok({{"op", "buffers.create"}, {"buffers", buffers}}); }
    void stamp(std::uint32_t at_buffer, std::uint64_t at_page, const vttm_stamp_id& id) {
        vttm_stamp_fill(gpu.buffers.at(at_buffer).page(at_page), &id);
    }
    // One bad page of each class in buffer 1 (64 pages, generation 2, filled).
    void damage_each_class() {
        auto& content = gpu.buffers.at(1);
        std::fill_n(content.page(3), 4096, std::byte{0});
        stamp(1, 5, {kKey, 5, 1, 1});                          // stale
        stamp(1, 7, {kKey, 9, 2, 2});                          // foreign
        std::fill_n(content.page(11), 64, std::byte{0});       // torn: a zero line
        content.page(13)[100] ^= std::byte{4};                 // bit flip
        std::fill_n(content.page(17), 4096, std::byte{0x5a});  // garbage
    }
};

TEST_F(BuffersTest, ResidentRunsEmptyJobsOverAllBuffersInBatches) {
    start();
    create({buffer(1, 48u << 20), buffer(2, 48u << 20), buffer(3, 4096)});
    gpu.job_bytes.clear();
    const json answer = call_ok({{"op", "buffers.resident"}, {"ids", "all"}});
    EXPECT_EQ(answer.at("pages"), 2 * 12288 + 1);
    EXPECT_TRUE(answer.at("ns").is_number_unsigned());
    EXPECT_EQ(gpu.job_bytes, (std::vector<std::uint64_t>{48u << 20, (48u << 20) + 4096}));
    gpu.job_bytes.clear();
    gpu.fits_bytes = 48u << 20;  // the second batch fits in halves only
    call_ok({{"op", "buffers.resident"}, {"ids", "all"}});
    EXPECT_EQ(gpu.job_bytes, (std::vector<std::uint64_t>{48u << 20, 48u << 20, 4096}));
    call_error({{"op", "buffers.resident"}, {"ids", {7}}}, ENOENT);
}

TEST_F(BuffersTest, FilledByEitherFoundGoodByBoth) {
    start();
    create({buffer(1, 4096), buffer(2, 100'000), buffer(3, 16u << 20, "vram")});
    const std::uint64_t pages = 1 + 25 + 4096;
    std::uint32_t generation = 0;
    for (const char* filler : {"device", "cpu"}) {
        ++generation;
        EXPECT_EQ(call_ok(fill_request(filler, "all", generation)).at("pages"), pages);
        for (const char* checker : {"device", "cpu"}) {
            const json answer = call_ok(verify_request(checker, "all", generation));
            EXPECT_EQ(answer.at("pages"), pages) << filler << checker;
            EXPECT_EQ(answer.at("good"), pages) << filler << checker;
            EXPECT_TRUE(answer.at("bad").empty());
            EXPECT_GT(answer.at("ns").get<std::uint64_t>(), 0u);
            for (const auto& [name, count] : answer.at("by_class").items()) {
                EXPECT_EQ(count, 0) << name;
            }
        }
    }
    EXPECT_EQ(gpu.buffers.at(3).request.domain, Domain::kVram);
}

TEST_F(BuffersTest, CpuNamesEachBadPageAndWhatItHolds) {
    start();
    create({buffer(1, 64 * 4096), buffer(2, 64 * 4096)});
    call_ok(fill_request("device", "all", 2));
    damage_each_class();
    const json answer = call_ok(verify_request("cpu", "all", 2));
    EXPECT_EQ(answer.at("pages"), 128);
    EXPECT_EQ(answer.at("good"), 122);
    const json expected = {
        {{"buffer", 1}, {"page", 3}, {"class", "zero"}},
        {{"buffer", 1},
         {"page", 5},
         {"class", "stale"},
         {"found", {{"buffer", 1}, {"page", 5}, {"generation", 1}}}},
        {{"buffer", 1},
         {"page", 7},
         {"class", "foreign"},
         {"found", {{"buffer", 2}, {"page", 9}, {"generation", 2}}}},
        {{"buffer", 1}, {"page", 11}, {"class", "torn"}},
        {{"buffer", 1}, {"page", 13}, {"class", "bitflip"}},
        {{"buffer", 1}, {"page", 17}, {"class", "garbage"}},
    };
    EXPECT_EQ(answer.at("bad"), expected);
    EXPECT_EQ(answer.at("unlisted"), 0);
    for (const char* name : {"zero", "stale", "foreign", "torn", "bitflip", "garbage"}) {
        EXPECT_EQ(answer.at("by_class").at(name), 1) << name;
    }
}

TEST_F(BuffersTest, DeviceCountsBadPagesAndLocatesThemOnRequest) {
    start();
    create({buffer(1, 64 * 4096), buffer(2, 64 * 4096)});
    call_ok(fill_request("device", "all", 2));
    damage_each_class();
    json answer = call_ok(verify_request("device", "all", 2));
    EXPECT_EQ(answer.at("good"), 122);
    EXPECT_TRUE(answer.at("bad").empty());
    EXPECT_EQ(answer.at("unlisted"), 6);
    EXPECT_EQ(answer.at("by_class").at("torn"), 1);
    EXPECT_EQ(answer.at("bad_buffers"), json({{{"buffer", 1}, {"bad", 6}, {"first_bad_page", 3}}}));

    json request = verify_request("device", "all", 2);
    request["locate"] = true;
    answer = call_ok(request);
    EXPECT_EQ(answer.at("unlisted"), 0);
    std::vector<int> pages;
    for (const json& bad : answer.at("bad")) {
        pages.push_back(bad.at("page"));
    }
    EXPECT_EQ(pages, (std::vector<int>{3, 5, 7, 11, 13, 17}));
    EXPECT_EQ(answer.at("bad")[2].at("class"), "foreign");
}

TEST_F(BuffersTest, WrongGenerationOrKeyIsBad) {
    start();
    create({buffer(1, 8192)});
    call_ok(fill_request("device"));
    EXPECT_EQ(call_ok(verify_request("cpu", "all", 2)).at("by_class").at("stale"), 2);
    json other_key = verify_request("cpu");
    other_key["key"] = "0x1";
    EXPECT_EQ(call_ok(other_key).at("by_class").at("garbage"), 2);
}

TEST_F(BuffersTest, UnwrittenResultsAreNoProof) {
    start();
    create({buffer(1, 8192)});
    call_ok(fill_request("device"));
    gpu.drop_results = true;
    call_error(verify_request("device"), EIO);
}

TEST_F(BuffersTest, BatchesStayWithinTheLimit) {
    start();
    json list = json::array();
    for (std::uint32_t id = 1; id <= 24; ++id) {
        list.push_back(buffer(id, 8u << 20));
    }
    create(list);
    call_ok(fill_request("device"));
    ASSERT_EQ(gpu.job_bytes.size(), 3u);
    for (const std::uint64_t bytes : gpu.job_bytes) {
        EXPECT_EQ(bytes, 64u << 20);
    }
    ASSERT_FALSE(events.empty());
    EXPECT_EQ(events.back().at("done"), 24 * 2048);
    EXPECT_EQ(events.back().at("total"), 24 * 2048);
}

TEST_F(BuffersTest, BatchesAreSmallerOnASmallDeviceAndABigBufferGoesAlone) {
    gpu.info.vram_bytes = 16u << 20;
    start();
    create({buffer(1, 1u << 20), buffer(2, 2u << 20), buffer(3, 2u << 20), buffer(4, 12u << 20),
            buffer(5, 4096)});
    call_ok(fill_request("device"));
    EXPECT_EQ(gpu.job_bytes, (std::vector<std::uint64_t>{3u << 20, 2u << 20, 12u << 20, 4096}));
}

TEST_F(BuffersTest, ManySmallBuffersAreCutByCount) {
    start();
    json list = json::array();
    for (std::uint32_t id = 1; id <= 1500; ++id) {
        list.push_back(buffer(id, 4096));
    }
    create(list);
    call_ok(fill_request("device"));
    EXPECT_EQ(gpu.job_bytes, (std::vector<std::uint64_t>{1024 * 4096, 476 * 4096}));
}

TEST_F(BuffersTest, JobThatDoesNotFitIsSplitAndASingleOneRetried) {
    start();
    create({buffer(1, 1u << 20), buffer(2, 1u << 20), buffer(3, 1u << 20), buffer(4, 1u << 20)});
    gpu.fits_bytes = 2u << 20;
    call_ok(fill_request("device"));
    EXPECT_EQ(gpu.job_bytes, (std::vector<std::uint64_t>{2u << 20, 2u << 20}));
    gpu.failures_left = 3;
    EXPECT_EQ(call_ok(verify_request("device")).at("good"), 1024);
    gpu.fits_bytes = 4096;
    call_error(verify_request("device"), ENOMEM);
}

TEST_F(BuffersTest, BusErrorIsAnErrorNotTheEnd) {
    start();
    create({buffer(1, 16384)});
    gpu.short_mapping = true;
    call_error(verify_request("cpu"), EFAULT);
    call_error(fill_request("cpu"), EFAULT);
    gpu.short_mapping = false;
    call_ok(fill_request("cpu"));
}

TEST_F(BuffersTest, CreateIsAllOrNothing) {
    start();
    gpu.refuse_create = {3};
    call_error({{"op", "buffers.create"},
                {"buffers", {buffer(1, 4096), buffer(2, 4096), buffer(3, 4096)}}},
               ENOSPC);
    EXPECT_TRUE(gpu.buffers.empty());
    gpu.refuse_create.clear();
    create({buffer(1, 4096)});
    call_error({{"op", "buffers.create"}, {"buffers", {buffer(2, 4096), buffer(1, 4096)}}}, EEXIST);
    EXPECT_EQ(gpu.buffers.size(), 1u);
    const json answer =
        call_ok({{"op", "buffers.create"}, {"buffers", {buffer(7, 4097), buffer(8, 1)}}});
    EXPECT_EQ(answer.at("created"), 2);
    EXPECT_EQ(answer.at("pages"), 3);
}

TEST_F(BuffersTest, FreeSomeThenAll) {
    start();
    create({buffer(1, 4096), buffer(2, 4096), buffer(3, 4096)});
    EXPECT_EQ(call_ok({{"op", "buffers.free"}, {"ids", {2, 2}}}).at("freed"), 1);
    EXPECT_FALSE(gpu.buffers.contains(2));
    call_error({{"op", "buffers.free"}, {"ids", {1, 2}}}, ENOENT);
    EXPECT_EQ(gpu.buffers.size(), 2u);
    EXPECT_EQ(call_ok({{"op", "buffers.free"}, {"ids", "all"}}).at("freed"), 2);
    EXPECT_TRUE(gpu.buffers.empty());
    EXPECT_EQ(call_ok(fill_request("device")).at("pages"), 0);
}

TEST_F(BuffersTest, BadRequestsAreRefused) {
    start();
    create({buffer(1, 4096)});
    const auto with = [](json request, const char* name, json value) {
        request[name] = std::move(value);
        return request;
    };
    const auto without = [](json request, const char* name) {
        request.erase(name);
        return request;
    };
    for (const char* op : {"buffers.fill", "buffers.verify"}) {
        const json good = with(fill_request("device"), "op", op);
        for (const char* name : {"ids", "generation", "key", "by"}) {
            call_error(without(good, name), EINVAL);
        }
        for (const json& ids : {json("some"), json(1), json({0}), json({-1}), json({"1"}),
                                json({1.0}), json({1ull << 32})}) {
            call_error(with(good, "ids", ids), EINVAL);
        }
        call_error(with(good, "ids", {1, 99}), ENOENT);
        for (const json& value : {json(0), json(-1), json("1"), json(1ull << 32)}) {
            call_error(with(good, "generation", value), EINVAL);
        }
        for (const json& value : {json(1), json(""), json("0x"), json("12"), json("0xg"),
                                  json("0x1fedcba9876543210"), json("0x-1"), json("0x1 ")}) {
            call_error(with(good, "key", value), EINVAL);
        }
        call_error(with(good, "by", "host"), EINVAL);
    }
    call_error(with(verify_request("device"), "locate", 1), EINVAL);

    const auto create_one = [](json one) -> json {
        return {{"op", "buffers.create"}, {"buffers", json::array({std::move(one)})}};
    };
    const json good = buffer(2, 4096);
    for (const char* name : {"id", "bytes", "domain", "caching"}) {
        call_error(create_one(without(good, name)), EINVAL);
    }
    call_error(create_one(with(good, "id", 0)), EINVAL);
    call_error(create_one(with(good, "bytes", 0)), EINVAL);
    call_error(create_one(with(good, "bytes", 5ull << 30)), E2BIG);
    call_error(create_one(with(good, "domain", "tape")), EINVAL);
    call_error(create_one(with(good, "caching", "WB")), EINVAL);
    call_error(create_one(7), EINVAL);
    call_error({{"op", "buffers.create"}}, EINVAL);
    call_error({{"op", "buffers.create"}, {"buffers", "all"}}, EINVAL);
    EXPECT_EQ(gpu.buffers.size(), 1u);
}

}  // namespace
}  // namespace vttm::guest::test
