// SPDX-License-Identifier: Apache-2.0
#include "tests/guest/guest_test.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>

namespace vttm::guest::test {
namespace {

constexpr std::chrono::seconds kSettleTime{5};
constexpr const char* kBalanced[] = {"buffers", "buffer_bytes", "mappings", "vm_count"};

std::string imbalance(const Stats& before, const Stats& now) {
    std::string text;
    for (const char* name : kBalanced) {
        const auto was = before.find(name);
        const auto is = now.find(name);
        if (was != before.end() && (is == now.end() || is->second != was->second)) {
            text +=
                fmt::format(" {}: {} -> {};", name, was->second, is == now.end() ? -1 : is->second);
        }
    }
    return text;
}

}  // namespace

Stats driver_stats(const SystemFiles& files) {
    const std::string directory = find_driver_debugfs(files);
    return directory.empty() ? Stats() : parse_name_value(files.read(directory + "/vttm_stats"));
}

bool shrink(const SystemFiles& files, std::uint64_t pages) {
    const std::string directory = find_shrinker_debugfs(files);
    if (directory.empty() ||
        files.try_write(directory + "/scan", fmt::format("0 0 {}\n", pages)) != 0)
        return false;
    // Coherent pages are swapped out by a worker.
    for (int i = 0; i < 3000 && driver_stats(files).at("swapout_wanted") > 0; ++i)
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    return true;
}

std::int64_t pages_given_back(const SystemFiles& files) {
    const Stats stats = driver_stats(files);
    return stats.at("shrunk_pages") + stats.at("swapout_pages");
}

Gpu::Bound Gpu::create(std::uint64_t bytes, std::uint32_t domains, std::uint32_t caching,
                       std::uint32_t bind_flags) {
    Buffer buffer(device, {bytes, domains, caching, 0});
    Binding binding = vm.bind(buffer, bind_flags);
    return {std::move(buffer), std::move(binding)};
}

JobResult Gpu::run(std::uint32_t engine, const PacketBuilder& packets,
                   std::span<const Bound* const> buffers) {
    std::vector<std::uint32_t> handles;
    for (const Bound* buffer : buffers) {
        handles.push_back(buffer->buffer.handle());
    }
    Submission submission;
    submission.engine = engine;
    submission.packets = packets.dwords();
    submission.buffers = handles;
    return submit(device, submission).result(Job::kDefaultTimeoutNs);
}

int Gpu::submit_errno(std::uint32_t engine, const PacketBuilder& packets,
                      std::initializer_list<const Bound*> buffers) {
    try {
        run(engine, packets, buffers);
        return 0;
    } catch (const Error& error) {
        return error.error();
    }
}

void Gpu::fill(const Bound& buffer, std::uint32_t value) {
    const JobResult done =
        run(VTTM_ENGINE_COPY, PacketBuilder().fill(buffer.va(), buffer.size(), value), {&buffer});
    EXPECT_EQ(done.error, 0) << fault_reason_name(done.reason);
}

void Gpu::stamp(const Bound& buffer, std::uint32_t id, std::uint32_t generation) {
    const StampRange range{id, generation, 0, static_cast<std::uint32_t>(buffer.buffer.pages()),
                           kKey};
    const JobResult done =
        run(VTTM_ENGINE_STAMP, PacketBuilder().stamp_write(buffer.va(), range), {&buffer});
    EXPECT_EQ(done.error, 0) << fault_reason_name(done.reason);
}

vttm_stamp_result Gpu::verify(const Bound& buffer, std::uint32_t id, std::uint32_t generation) {
    const Bound result = create(kPage);
    const StampRange range{id, generation, 0, static_cast<std::uint32_t>(buffer.buffer.pages()),
                           kKey};
    const JobResult done =
        run(VTTM_ENGINE_STAMP, PacketBuilder().stamp_verify(buffer.va(), range, result.va()),
            {&buffer, &result});
    EXPECT_EQ(done.error, 0) << fault_reason_name(done.reason);
    vttm_stamp_result found = {};
    const Mapping mapping = result.buffer.map();
    std::memcpy(&found, mapping.data(), sizeof(found));
    EXPECT_EQ(found.checked, buffer.buffer.pages());
    EXPECT_EQ(found.good + found.bad, found.checked);
    return found;
}

void Gpu::expect_stamped(const Bound& buffer, std::uint32_t id, std::uint32_t generation) {
    const vttm_stamp_result found = verify(buffer, id, generation);
    EXPECT_EQ(found.bad, 0u) << "buffer " << id << ", first bad page " << found.first_bad_page;
    const Mapping mapping = buffer.buffer.map();
    std::uint64_t bad = 0;
    for (std::uint64_t page = 0; page < buffer.buffer.pages(); ++page) {
        const vttm_stamp_id expected{kKey, page, id, generation};
        bad += vttm_stamp_check(mapping.data() + page * kPage, &expected) == 0;
    }
    EXPECT_EQ(bad, 0u) << "buffer " << id << " as the CPU sees it";
}

void GuestTest::SetUp() {
    before_ = driver_stats(files);
    ASSERT_TRUE(before_.contains("buffers")) << "no vttm_stats in debugfs (is it mounted?)";
    forgive_stale();
}

void GuestTest::TearDown() {
    // The kernel may put off the end of a buffer that is still busy, or of a file.
    const auto deadline = std::chrono::steady_clock::now() + kSettleTime;
    std::string open = imbalance(before_, driver_stats(files));
    while (!open.empty() && std::chrono::steady_clock::now() < deadline) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        open = imbalance(before_, driver_stats(files));
    }
    EXPECT_EQ(open, "") << "not given back";
    expect_no_stale();
}

void GuestTest::expect_no_stale() const {
    EXPECT_EQ(Device::open().param(VTTM_PARAM_STALE_COUNT), stale_before_)
        << "the device used stale translations";
}

void GuestTest::forgive_stale() { stale_before_ = Device::open().param(VTTM_PARAM_STALE_COUNT); }

std::uint32_t count_unequal(const Mapping& mapping, std::uint32_t value) {
    const auto words = mapping.words();
    return static_cast<std::uint32_t>(
        std::count_if(words.begin(), words.end(), [value](std::uint32_t w) { return w != value; }));
}

}  // namespace vttm::guest::test
