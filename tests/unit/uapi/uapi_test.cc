// SPDX-License-Identifier: Apache-2.0
// The user interface as C++ sees it: the numbers that programs of another build carry.
#include <gtest/gtest.h>

#include <cstdint>
#include <set>

#include "guest-driver/uapi/vttm_drm.h"

namespace vttm::uapi {
namespace {

// Direction, size, 'd' and number: as they were released, not as they are computed.
TEST(Uapi, IoctlNumbersStay) {
    const struct {
        const char* name;
        std::uint32_t now;
        std::uint32_t released;
    } ioctls[] = {
        {"GET_PARAM", DRM_IOCTL_VTTM_GET_PARAM, 0xc0106440u},
        {"GEM_CREATE", DRM_IOCTL_VTTM_GEM_CREATE, 0xc0206441u},
        {"GEM_MMAP", DRM_IOCTL_VTTM_GEM_MMAP, 0xc0106442u},
        {"GEM_INFO", DRM_IOCTL_VTTM_GEM_INFO, 0xc0206443u},
        {"VM_BIND", DRM_IOCTL_VTTM_VM_BIND, 0x40186444u},
        {"SUBMIT", DRM_IOCTL_VTTM_SUBMIT, 0xc0306445u},
        {"WAIT", DRM_IOCTL_VTTM_WAIT, 0xc0186446u},
        {"GEM_MADVISE", DRM_IOCTL_VTTM_GEM_MADVISE, 0xc0106447u},
    };
    std::set<std::uint32_t> distinct;
    for (const auto& i : ioctls) {
        EXPECT_EQ(i.now, i.released) << i.name;
        EXPECT_LT((i.now & 0xff), DRM_COMMAND_END) << i.name;
        distinct.insert(i.now & 0xff);
    }
    EXPECT_EQ(distinct.size(), std::size(ioctls));
}

TEST(Uapi, ValuesStay) {
    EXPECT_EQ(VTTM_DOMAIN_VRAM, 1u);
    EXPECT_EQ(VTTM_DOMAIN_GTT, 2u);
    EXPECT_EQ(VTTM_CACHING_WB, 0);
    EXPECT_EQ(VTTM_CACHING_WC, 1);
    EXPECT_EQ(VTTM_CACHING_UC, 2);
    EXPECT_EQ(VTTM_BIND_MAP, 0);
    EXPECT_EQ(VTTM_BIND_UNMAP, 1);
    EXPECT_EQ(VTTM_BIND_READ_ONLY, 1u);
    EXPECT_EQ(VTTM_MADV_WILLNEED, 0);
    EXPECT_EQ(VTTM_MADV_DONTNEED, 1);
    EXPECT_EQ(VTTM_PARAM_ABI, 0);
    EXPECT_EQ(VTTM_PARAM_VRAM_SIZE, 1);
    EXPECT_EQ(VTTM_PARAM_VRAM_VISIBLE, 2);
    EXPECT_EQ(VTTM_PARAM_GTT_SIZE, 3);
    EXPECT_EQ(VTTM_PARAM_NUM_ENGINES, 4);
    EXPECT_EQ(VTTM_PARAM_FAULT_COUNT, 5);
    EXPECT_EQ(VTTM_PARAM_STALE_COUNT, 6);
    EXPECT_EQ(VTTM_PLACE_NONE, 0);
    EXPECT_EQ(VTTM_PLACE_VRAM, 1);
    EXPECT_EQ(VTTM_PLACE_GTT, 2);
    EXPECT_EQ(VTTM_PLACE_SYSTEM, 3);
    EXPECT_EQ(VTTM_PLACE_BACKUP, 4);
}

}  // namespace
}  // namespace vttm::uapi
