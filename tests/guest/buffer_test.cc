// SPDX-License-Identifier: Apache-2.0
// Parameters, creating, mapping, content of fresh buffers.
#include <algorithm>
#include <tuple>

#include "tests/guest/guest_test.h"

namespace vttm::guest::test {
namespace {

class ParamTest : public GuestTest {};

TEST_F(ParamTest, DescribeTheDevice) {
    const Device device(Device::find_node());
    EXPECT_EQ(device.param(VTTM_PARAM_ABI) >> 16, VTTM_ABI_MAJOR);
    EXPECT_EQ(device.param(VTTM_PARAM_NUM_ENGINES), VTTM_NUM_ENGINES);
    EXPECT_GE(device.vram_bytes(), 2 * kMib);
    EXPECT_EQ(device.vram_bytes() % (2 * kMib), 0u);
    EXPECT_LE(device.param(VTTM_PARAM_VRAM_VISIBLE), device.vram_bytes());
    EXPECT_GT(device.gtt_bytes(), 0u);
    EXPECT_EQ(device.gtt_bytes() % kPage, 0u);
}

using Shape = std::tuple<std::uint64_t, std::uint32_t, std::uint32_t>;  // bytes, domains, caching

class ShapeTest : public GuestTest, public ::testing::WithParamInterface<Shape> {};

// A fresh buffer is zero for the CPU; then each side sees what the other wrote.
TEST_P(ShapeTest, IsZeroAndIsSharedByDeviceAndCpu) {
    const auto [bytes, domains, caching] = GetParam();
    Gpu gpu;
    const Gpu::Bound buffer = gpu.create(bytes, domains, caching);
    EXPECT_EQ(buffer.size(), (bytes + kPage - 1) / kPage * kPage);
    const drm_vttm_gem_info info = buffer.buffer.info();
    EXPECT_EQ(info.size, buffer.size());
    EXPECT_EQ(info.domains, domains);
    EXPECT_EQ(info.caching, caching);
    EXPECT_EQ(info.purged, 0u);

    const Mapping mapping = buffer.buffer.map();
    EXPECT_EQ(count_unequal(mapping, 0), 0u) << "a fresh buffer must be zero";
    gpu.fill(buffer, 0xa5a50001);
    EXPECT_EQ(count_unequal(mapping, 0xa5a50001), 0u) << "the CPU must see the device's fill";

    // The CPU stamps, the device checks.
    for (std::uint64_t page = 0; page < buffer.buffer.pages(); ++page) {
        const vttm_stamp_id id{kKey, page, 9, 1};
        vttm_stamp_fill(mapping.data() + page * kPage, &id);
    }
    EXPECT_EQ(gpu.verify(buffer, 9).bad, 0u);

    const std::uint32_t place = buffer.buffer.info().place;
    EXPECT_TRUE(place == VTTM_PLACE_VRAM || place == VTTM_PLACE_GTT) << place;
    if (domains == VTTM_DOMAIN_GTT) {
        EXPECT_EQ(place, VTTM_PLACE_GTT);
    }
}

// The first access is the device's: it too must find zeroes.
TEST_P(ShapeTest, IsZeroForTheDevice) {
    const auto [bytes, domains, caching] = GetParam();
    Gpu gpu;
    const Gpu::Bound buffer = gpu.create(bytes, domains, caching);
    const vttm_stamp_result found = gpu.verify(buffer, 1);
    EXPECT_EQ(found.by_class[VTTM_STAMP_ZERO], buffer.buffer.pages());
}

std::string shape_name(const ::testing::TestParamInfo<Shape>& info) {
    const auto [bytes, domains, caching] = info.param;
    constexpr const char* kCaching[] = {"wb", "wc", "uc"};
    const std::string domain = domains == VTTM_DOMAIN_VRAM  ? "vram"
                               : domains == VTTM_DOMAIN_GTT ? "gtt"
                                                            : "both";
    return domain + "_" + kCaching[caching] + "_" + std::to_string(bytes);
}

INSTANTIATE_TEST_SUITE_P(Shapes, ShapeTest,
                         ::testing::Combine(::testing::Values(1, 4096, 65536 + 4096, 2 * kMib,
                                                              16 * kMib),
                                            ::testing::Values(VTTM_DOMAIN_VRAM, VTTM_DOMAIN_GTT),
                                            ::testing::Values(VTTM_CACHING_WB, VTTM_CACHING_WC)),
                         shape_name);
INSTANTIATE_TEST_SUITE_P(
    Others, ShapeTest,
    ::testing::Values(Shape{3 * kMib + 4096, VTTM_DOMAIN_VRAM | VTTM_DOMAIN_GTT, VTTM_CACHING_WB},
                      Shape{kMib, VTTM_DOMAIN_GTT, VTTM_CACHING_UC}),
    shape_name);

class ReuseTest : public GuestTest {};

// Memory that held content of one buffer must not show it in the next one.
TEST_F(ReuseTest, FreshBuffersNeverShowOldContent) {
    for (const std::uint32_t domain : {VTTM_DOMAIN_VRAM, VTTM_DOMAIN_GTT}) {
        for (int round = 0; round < 4; ++round) {
            Gpu gpu;
            const Gpu::Bound buffer = gpu.create(8 * kMib, domain);
            const vttm_stamp_result found = gpu.verify(buffer, 5);
            EXPECT_EQ(found.by_class[VTTM_STAMP_ZERO], found.checked) << "round " << round;
            gpu.stamp(buffer, 5);
        }
    }
}

TEST_F(ReuseTest, AMappingOutlivesItsHandle) {
    Gpu gpu;
    Mapping mapping;
    {
        const Gpu::Bound buffer = gpu.create(kMib);
        gpu.fill(buffer, 7);
        mapping = buffer.buffer.map();
    }
    EXPECT_EQ(count_unequal(mapping, 7), 0u);
}

}  // namespace
}  // namespace vttm::guest::test
