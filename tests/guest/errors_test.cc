// SPDX-License-Identifier: Apache-2.0
// Each ioctl with bad input: the documented errno, and nothing changed.
#include <functional>
#include <string>
#include <vector>

#include "tests/guest/guest_test.h"

namespace vttm::guest::test {
namespace {

constexpr std::uint32_t kNoHandle = 0x7fff'fff0;
constexpr std::uint64_t kVa = 1ull << 32;  // where the good mapping below is

template <typename Struct>
struct Case {
    const char* name;
    int error;
    std::function<void(Struct&)> spoil;
};

class ErrorsTest : public GuestTest {
protected:
    // Spoils a good request in one way at a time.
    template <typename Struct>
    void expect_errors(const Gpu& gpu, unsigned long request, const Struct& good,
                       const std::vector<Case<Struct>>& cases) {
        for (const Case<Struct>& c : cases) {
            Struct argument = good;
            c.spoil(argument);
            EXPECT_EQ(gpu.device.try_call(request, &argument), c.error) << c.name;
        }
    }
};

TEST_F(ErrorsTest, GetParam) {
    Gpu gpu;
    expect_errors<drm_vttm_get_param>(gpu, DRM_IOCTL_VTTM_GET_PARAM, {},
                                      {{"unknown param", EINVAL, [](auto& a) { a.param = 99; }},
                                       {"pad", EINVAL, [](auto& a) { a.pad = 1; }}});
}

TEST_F(ErrorsTest, GemCreate) {
    Gpu gpu;
    drm_vttm_gem_create good = {};
    good.size = kPage;
    good.domains = VTTM_DOMAIN_GTT;
    expect_errors<drm_vttm_gem_create>(
        gpu, DRM_IOCTL_VTTM_GEM_CREATE, good,
        {{"no size", EINVAL, [](auto& a) { a.size = 0; }},
         {"no domain", EINVAL, [](auto& a) { a.domains = 0; }},
         {"unknown domain", EINVAL, [](auto& a) { a.domains |= 1u << 5; }},
         {"unknown caching", EINVAL, [](auto& a) { a.caching = 3; }},
         {"flags", EINVAL, [](auto& a) { a.flags = 1; }},
         {"pad", EINVAL, [](auto& a) { a.pad = 1; }}});
    for (const std::uint64_t size : {~0ull, ~0ull - 4094, 1ull << 63, 1ull << 50}) {
        drm_vttm_gem_create request = good;
        request.size = size;
        const int error = gpu.device.try_call(DRM_IOCTL_VTTM_GEM_CREATE, &request);
        EXPECT_TRUE(error == EINVAL || error == ENOMEM || error == ENOSPC || error == E2BIG)
            << size << ": " << error;
    }
}

TEST_F(ErrorsTest, GemMmapInfoMadvise) {
    Gpu gpu;
    const Gpu::Bound buffer = gpu.create(kPage);
    const std::uint32_t handle = buffer.buffer.handle();
    drm_vttm_gem_mmap map = {};
    map.handle = handle;
    expect_errors<drm_vttm_gem_mmap>(gpu, DRM_IOCTL_VTTM_GEM_MMAP, map,
                                     {{"handle", ENOENT, [](auto& a) { a.handle = kNoHandle; }},
                                      {"handle 0", ENOENT, [](auto& a) { a.handle = 0; }},
                                      {"pad", EINVAL, [](auto& a) { a.pad = 1; }}});
    drm_vttm_gem_info info = {};
    expect_errors<drm_vttm_gem_info>(gpu, DRM_IOCTL_VTTM_GEM_INFO, info,
                                     {{"handle", ENOENT, [](auto& a) { a.handle = kNoHandle; }}});
    drm_vttm_gem_madvise advice = {};
    advice.handle = handle;
    expect_errors<drm_vttm_gem_madvise>(gpu, DRM_IOCTL_VTTM_GEM_MADVISE, advice,
                                        {{"handle", ENOENT, [](auto& a) { a.handle = kNoHandle; }},
                                         {"advice", EINVAL, [](auto& a) { a.madv = 2; }},
                                         {"pad", EINVAL, [](auto& a) { a.pad = 1; }}});
}

TEST_F(ErrorsTest, VmBindMap) {
    Gpu gpu;
    const Buffer buffer(gpu.device, {16 * kPage, VTTM_DOMAIN_GTT, VTTM_CACHING_WB, 0});
    ASSERT_EQ(gpu.vm.try_map(buffer.handle(), kVa), 0);
    drm_vttm_vm_bind good = {};
    good.op = VTTM_BIND_MAP;
    good.handle = buffer.handle();
    good.va = kVa + (1u << 20);
    constexpr std::uint64_t kEnd = 1ull << 47;
    expect_errors<drm_vttm_vm_bind>(
        gpu, DRM_IOCTL_VTTM_VM_BIND, good,
        {{"op", EINVAL, [](auto& a) { a.op = 2; }},
         {"handle", ENOENT, [](auto& a) { a.handle = kNoHandle; }},
         {"unaligned", EINVAL, [](auto& a) { a.va += 8; }},
         {"below 64 KiB", EINVAL, [](auto& a) { a.va = 0xf000; }},
         {"null", EINVAL, [](auto& a) { a.va = 0; }},
         {"ends behind 2^47", EINVAL, [](auto& a) { a.va = kEnd - 15 * kPage; }},
         {"beyond 2^47", EINVAL, [](auto& a) { a.va = kEnd; }},
         {"wraps", EINVAL, [](auto& a) { a.va = ~0ull - kPage + 1; }},
         {"flags", EINVAL, [](auto& a) { a.flags = 2; }},
         {"pad", EINVAL, [](auto& a) { a.pad = 1; }},
         {"same place", EEXIST, [](auto& a) { a.va = kVa; }},
         {"over its start", EEXIST, [](auto& a) { a.va = kVa - 15 * kPage; }},
         {"over its end", EEXIST, [](auto& a) { a.va = kVa + 15 * kPage; }}});
    // Right before and right behind is no overlap.
    EXPECT_EQ(gpu.vm.try_map(buffer.handle(), kVa - 16 * kPage), 0);
    EXPECT_EQ(gpu.vm.try_map(buffer.handle(), kVa + 16 * kPage), 0);
}

TEST_F(ErrorsTest, VmBindUnmap) {
    Gpu gpu;
    const Buffer buffer(gpu.device, {16 * kPage, VTTM_DOMAIN_GTT, VTTM_CACHING_WB, 0});
    ASSERT_EQ(gpu.vm.try_map(buffer.handle(), kVa), 0);
    EXPECT_EQ(gpu.vm.try_unmap(kVa + kPage), ENOENT) << "in the middle";
    EXPECT_EQ(gpu.vm.try_unmap(kVa - kPage), ENOENT);
    EXPECT_EQ(gpu.vm.try_unmap(kVa), 0);
    EXPECT_EQ(gpu.vm.try_unmap(kVa), ENOENT) << "twice";
}

TEST_F(ErrorsTest, Submit) {
    Gpu gpu;
    const Gpu::Bound buffer = gpu.create(kPage);
    const std::uint32_t handle = buffer.buffer.handle();
    const std::uint32_t bad_handle = kNoHandle;
    std::vector<std::uint32_t> words(kMaxSubmitDwords + 8, VTTM_PKT_HDR(VTTM_OP_NOP, 0, 1));
    const std::vector<std::uint32_t> handles(kMaxSubmitBuffers + 1, handle);
    drm_vttm_submit good = {};
    good.packets = reinterpret_cast<std::uintptr_t>(words.data());
    good.num_dwords = 1;
    good.bos = reinterpret_cast<std::uintptr_t>(&handle);
    good.num_bos = 1;
    expect_errors<drm_vttm_submit>(
        gpu, DRM_IOCTL_VTTM_SUBMIT, good,
        {{"no dwords", EINVAL, [](auto& a) { a.num_dwords = 0; }},
         {"too many dwords", EINVAL, [](auto& a) { a.num_dwords = kMaxSubmitDwords + 1; }},
         {"very many dwords", EINVAL, [](auto& a) { a.num_dwords = ~0u; }},
         {"engine", EINVAL, [](auto& a) { a.engine = VTTM_NUM_ENGINES; }},
         {"engine far off", EINVAL, [](auto& a) { a.engine = ~0u; }},
         {"packets null", EFAULT, [](auto& a) { a.packets = 0; }},
         {"packets in the kernel", EFAULT, [](auto& a) { a.packets = 0xffff'8000'0000'0000; }},
         {"buffers null", EFAULT, [](auto& a) { a.bos = 0; }},
         {"too many buffers", EINVAL,
          [&](auto& a) {
              a.bos = reinterpret_cast<std::uintptr_t>(handles.data());
              a.num_bos = kMaxSubmitBuffers + 1;
          }},
         {"buffer unknown", ENOENT,
          [&](auto& a) { a.bos = reinterpret_cast<std::uintptr_t>(&bad_handle); }},
         {"flags", EINVAL, [](auto& a) { a.flags = 1; }},
         {"syncobj in", ENOENT, [](auto& a) { a.syncobj_in = kNoHandle; }},
         {"syncobj out", ENOENT, [](auto& a) { a.syncobj_out = kNoHandle; }}});
    // At the limit, and the same buffer listed often, is fine.
    drm_vttm_submit most = good;
    most.num_dwords = kMaxSubmitDwords;
    ASSERT_EQ(gpu.device.try_call(DRM_IOCTL_VTTM_SUBMIT, &most), 0);
    EXPECT_EQ(Job(gpu.device, VTTM_ENGINE_COPY, most.seqno).result(Job::kDefaultTimeoutNs).error,
              0);
}

TEST_F(ErrorsTest, Wait) {
    Gpu gpu;
    PacketBuilder packets;
    packets.nop();
    const Job job = submit(gpu.device, {VTTM_ENGINE_COPY, packets.dwords(), {}, 0, 0});
    job.wait();
    drm_vttm_wait good = {};
    good.seqno = job.seqno();
    good.engine = VTTM_ENGINE_COPY;
    good.timeout_ns = -1;
    expect_errors<drm_vttm_wait>(
        gpu, DRM_IOCTL_VTTM_WAIT, good,
        {{"engine", EINVAL, [](auto& a) { a.engine = VTTM_NUM_ENGINES; }},
         {"never submitted", EINVAL, [](auto& a) { a.seqno += 1000; }},
         {"never submitted there", EINVAL, [](auto& a) { a.engine = VTTM_ENGINE_STAMP; }}});
}

TEST_F(ErrorsTest, UnknownIoctl) {
    Gpu gpu;
    drm_vttm_get_param argument = {};
    EXPECT_EQ(gpu.device.try_call(DRM_IOWR(DRM_COMMAND_BASE + 0x20, drm_vttm_get_param), &argument),
              EINVAL);
}

}  // namespace
}  // namespace vttm::guest::test
