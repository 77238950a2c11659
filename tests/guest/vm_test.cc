// SPDX-License-Identifier: Apache-2.0
// Address spaces: isolation, protection, unmapping, stale translations.
#include <algorithm>

#include "tests/guest/guest_test.h"

namespace vttm::guest::test {
namespace {

class VmTest : public GuestTest {};

TEST_F(VmTest, AnotherFilesAddressSpaceIsOutOfReach) {
    Gpu victim;
    const Gpu::Bound secret = victim.create(kMib, VTTM_DOMAIN_VRAM);
    victim.stamp(secret, 8);

    Gpu intruder;
    const Gpu::Bound own = intruder.create(kPage);
    // Beyond its own buffer the intruder has nothing at the victim's addresses.
    const JobResult write = intruder.run(
        VTTM_ENGINE_COPY, PacketBuilder().fill(secret.va() + 8 * kPage, kPage, 0), {&own});
    EXPECT_EQ(write.error, EIO);
    EXPECT_EQ(write.reason, VTTM_FAULT_NOT_VALID);
    const JobResult read = intruder.run(
        VTTM_ENGINE_COPY, PacketBuilder().copy(own.va(), secret.va() + 8 * kPage, kPage), {&own});
    EXPECT_EQ(read.error, EIO);
    EXPECT_EQ(read.reason, VTTM_FAULT_NOT_VALID);

    // Neither file suffers from the fault.
    intruder.fill(own, 1);
    EXPECT_EQ(count_unequal(own.buffer.map(), 1), 0u);
    victim.expect_stamped(secret, 8);
}

TEST_F(VmTest, TheSameAddressIsAnotherPlaceInAnotherFile) {
    Gpu a;
    Gpu b;
    const Buffer of_a(a.device, {kMib, VTTM_DOMAIN_GTT, VTTM_CACHING_WB, 0});
    const Buffer of_b(b.device, {kMib, VTTM_DOMAIN_VRAM, VTTM_CACHING_WB, 0});
    const Binding in_a = a.vm.bind(of_a);
    const Binding in_b = b.vm.bind(of_b);
    ASSERT_EQ(in_a.va(), in_b.va());
    const std::uint32_t handle_a = of_a.handle();
    const std::uint32_t handle_b = of_b.handle();
    for (std::uint32_t round = 0; round < 20; ++round) {
        PacketBuilder packet_a;
        PacketBuilder packet_b;
        packet_a.fill(in_a.va(), kMib, 0xa0000000 + round);
        packet_b.fill(in_b.va(), kMib, 0xb0000000 + round);
        const Job job_a =
            submit(a.device, {VTTM_ENGINE_COPY, packet_a.dwords(), {&handle_a, 1}, 0, 0});
        const Job job_b =
            submit(b.device, {VTTM_ENGINE_COPY, packet_b.dwords(), {&handle_b, 1}, 0, 0});
        job_a.wait();
        job_b.wait();
    }
    EXPECT_EQ(count_unequal(of_a.map(), 0xa0000000 + 19), 0u);
    EXPECT_EQ(count_unequal(of_b.map(), 0xb0000000 + 19), 0u);
}

TEST_F(VmTest, HandlesOfAnotherFileAreUnknown) {
    Gpu a;
    Gpu b;
    std::vector<Gpu::Bound> many;
    for (int i = 0; i < 8; ++i) {
        many.push_back(a.create(kPage));
    }
    const std::uint32_t theirs = many.back().buffer.handle();
    EXPECT_EQ(b.vm.try_map(theirs, kMib), ENOENT);
    drm_vttm_gem_info info = {};
    info.handle = theirs;
    EXPECT_EQ(b.device.try_call(DRM_IOCTL_VTTM_GEM_INFO, &info), ENOENT);
}

TEST_F(VmTest, ReadOnlyBindingIsReadButNotWritten) {
    Gpu gpu;
    const Gpu::Bound target = gpu.create(2 * kMib);
    Buffer buffer(gpu.device, {2 * kMib, VTTM_DOMAIN_GTT, VTTM_CACHING_WB, 0});
    {
        const Mapping mapping = buffer.map();
        std::fill(mapping.words().begin(), mapping.words().end(), 0x600dc0deu);
    }
    Gpu::Bound guarded{std::move(buffer), {}};
    guarded.binding = gpu.vm.bind(guarded.buffer, VTTM_BIND_READ_ONLY);

    const JobResult write =
        gpu.run(VTTM_ENGINE_COPY, PacketBuilder().fill(guarded.va() + kMib, 64, 0), {&guarded});
    EXPECT_EQ(write.error, EIO);
    EXPECT_EQ(write.reason, VTTM_FAULT_READ_ONLY);
    const JobResult read =
        gpu.run(VTTM_ENGINE_COPY, PacketBuilder().copy(target.va(), guarded.va(), 2 * kMib),
                {&guarded, &target});
    EXPECT_EQ(read.error, 0);
    EXPECT_EQ(count_unequal(target.buffer.map(), 0x600dc0de), 0u);
    EXPECT_EQ(count_unequal(guarded.buffer.map(), 0x600dc0de), 0u);
}

TEST_F(VmTest, ABufferBoundTwiceIsOneBuffer) {
    Gpu gpu;
    const Gpu::Bound buffer = gpu.create(kMib);
    const Binding second = gpu.vm.bind(buffer.buffer);
    EXPECT_NE(second.va(), buffer.va());
    ASSERT_EQ(
        gpu.run(VTTM_ENGINE_COPY, PacketBuilder().fill(second.va(), kMib, 5), {&buffer}).error, 0);
    EXPECT_EQ(count_unequal(buffer.buffer.map(), 5), 0u);
}

TEST_F(VmTest, UnboundAddressesFaultAtOnce) {
    Gpu gpu;
    const Gpu::Bound keep = gpu.create(kPage);
    for (const std::uint32_t domain : {VTTM_DOMAIN_VRAM, VTTM_DOMAIN_GTT}) {
        Gpu::Bound buffer = gpu.create(kMib, domain);
        gpu.fill(buffer, 1);  // now its translations are in the TLB
        const std::uint64_t va = buffer.va();
        buffer.binding.unbind();
        const JobResult done =
            gpu.run(VTTM_ENGINE_COPY, PacketBuilder().fill(va + 4 * kPage, kPage, 2), {&keep});
        EXPECT_EQ(done.error, EIO);
        EXPECT_EQ(done.reason, VTTM_FAULT_NOT_VALID);
        EXPECT_EQ(count_unequal(buffer.buffer.map(), 1), 0u);
    }
}

TEST_F(VmTest, RunningOverTheEndFaults) {
    Gpu gpu;
    const Gpu::Bound buffer = gpu.create(kPage);
    const JobResult done =
        gpu.run(VTTM_ENGINE_COPY, PacketBuilder().fill(buffer.va(), 2 * kPage, 1), {&buffer});
    EXPECT_EQ(done.error, EIO);
    EXPECT_EQ(done.reason, VTTM_FAULT_NOT_VALID);
}

// Addresses are used again and again by other buffers: a translation kept too long would show.
TEST_F(VmTest, ReboundAddressesLeadToTheNewBuffer) {
    Gpu gpu;
    const std::uint64_t va = 1ull << 32;
    for (std::uint32_t round = 0; round < 40; ++round) {
        Buffer buffer(gpu.device, {4 * kPage, round % 2 ? VTTM_DOMAIN_VRAM : VTTM_DOMAIN_GTT,
                                   VTTM_CACHING_WB, 0});
        ASSERT_EQ(gpu.vm.try_map(buffer.handle(), va), 0);
        const std::uint32_t handle = buffer.handle();
        PacketBuilder packets;
        packets.fill(va, 4 * kPage, round);
        submit(gpu.device, {VTTM_ENGINE_COPY, packets.dwords(), {&handle, 1}, 0, 0}).wait();
        ASSERT_EQ(count_unequal(buffer.map(), round), 0u) << "round " << round;
        if (round % 3 != 0) {  // else the closed handle ends the mapping
            ASSERT_EQ(gpu.vm.try_unmap(va), 0);
        }
    }
}

TEST_F(VmTest, AddressesAtBothEndsWork) {
    Gpu gpu;
    const Buffer buffer(gpu.device, {kPage, VTTM_DOMAIN_GTT, VTTM_CACHING_WB, 0});
    const std::uint32_t handle = buffer.handle();
    for (const std::uint64_t va : {VaAllocator::kFirst, VaAllocator::kEnd - kPage}) {
        ASSERT_EQ(gpu.vm.try_map(handle, va), 0);
        PacketBuilder packets;
        packets.fill(va, kPage, static_cast<std::uint32_t>(va >> 12));
        submit(gpu.device, {VTTM_ENGINE_COPY, packets.dwords(), {&handle, 1}, 0, 0}).wait();
        EXPECT_EQ(count_unequal(buffer.map(), static_cast<std::uint32_t>(va >> 12)), 0u);
        EXPECT_EQ(gpu.vm.try_unmap(va), 0);
    }
}

}  // namespace
}  // namespace vttm::guest::test
