// SPDX-License-Identifier: Apache-2.0
// Packets that user space must not get to the device.
#include <atomic>
#include <thread>
#include <vector>

#include "tests/guest/guest_test.h"

namespace vttm::guest::test {
namespace {

constexpr std::uint32_t hdr(std::uint32_t op, std::uint32_t flags, std::uint32_t dwords) {
    return VTTM_PKT_HDR(op, flags, dwords);
}

struct Hostile {
    const char* name;
    std::uint32_t engine;
    int error;
    std::vector<std::uint32_t> words;
};

void PrintTo(const Hostile& hostile, std::ostream* out) { *out << hostile.name; }

class HostileTest : public GuestTest, public ::testing::WithParamInterface<Hostile> {};

// Alone, and hidden behind good packets.
TEST_P(HostileTest, IsRefused) {
    Gpu gpu;
    const Gpu::Bound buffer = gpu.create(kPage);
    gpu.fill(buffer, 1);
    const Hostile& hostile = GetParam();
    EXPECT_EQ(gpu.submit_errno(hostile.engine, PacketBuilder().raw(hostile.words), {&buffer}),
              hostile.error);
    PacketBuilder hidden;
    hidden.nop(5).nop(1024).raw(hostile.words);
    EXPECT_EQ(gpu.submit_errno(hostile.engine, hidden, {&buffer}), hostile.error);
    gpu.fill(buffer, 2);
    EXPECT_EQ(count_unequal(buffer.buffer.map(), 2), 0u);
}

const std::uint32_t kVramDst = VTTM_PKT_DST(VTTM_SPACE_VRAM);
const std::uint32_t kSystemDst = VTTM_PKT_DST(VTTM_SPACE_SYSTEM);
const std::uint32_t kVramSrc = VTTM_PKT_SRC(VTTM_SPACE_VRAM);
const std::uint32_t kSystemSrc = VTTM_PKT_SRC(VTTM_SPACE_SYSTEM);

INSTANTIATE_TEST_SUITE_P(
    Privileged, HostileTest,
    ::testing::Values(
        Hostile{"set_vm", VTTM_ENGINE_COPY, EACCES, {hdr(VTTM_OP_SET_VM, 0, 2), 0}},
        Hostile{"set_vm_stamp", VTTM_ENGINE_STAMP, EACCES, {hdr(VTTM_OP_SET_VM, 0, 2), 0}},
        Hostile{"fence", VTTM_ENGINE_COPY, EACCES, {hdr(VTTM_OP_FENCE, 0, 5), 0x1000, 0, 1, 0}},
        Hostile{"fence_irq",
                VTTM_ENGINE_STAMP,
                EACCES,
                {hdr(VTTM_OP_FENCE, VTTM_PKT_FLAG_IRQ, 5), 0x1000, 0, 1, 0}},
        Hostile{"fill_vram",
                VTTM_ENGINE_COPY,
                EACCES,
                {hdr(VTTM_OP_FILL, kVramDst, 6), 0, 0, 4096, 0, 0}},
        Hostile{"fill_system",
                VTTM_ENGINE_COPY,
                EACCES,
                {hdr(VTTM_OP_FILL, kSystemDst, 6), 0x100000, 0, 4096, 0, 0}},
        Hostile{"copy_to_vram",
                VTTM_ENGINE_COPY,
                EACCES,
                {hdr(VTTM_OP_COPY, kVramDst, 7), 0, 0, 0x10000, 0, 4096, 0}},
        Hostile{"copy_from_vram",
                VTTM_ENGINE_COPY,
                EACCES,
                {hdr(VTTM_OP_COPY, kVramSrc, 7), 0x10000, 0, 0, 0, 4096, 0}},
        Hostile{"copy_from_system",
                VTTM_ENGINE_COPY,
                EACCES,
                {hdr(VTTM_OP_COPY, kSystemSrc, 7), 0x10000, 0, 0x100000, 0, 4096, 0}},
        Hostile{"stamp_vram",
                VTTM_ENGINE_STAMP,
                EACCES,
                {hdr(VTTM_OP_STAMP_WRITE, kVramDst, 12), 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0}},
        Hostile{"verify_result_to_system",
                VTTM_ENGINE_STAMP,
                EACCES,
                {hdr(VTTM_OP_STAMP_VERIFY, kSystemSrc, 12), 0x10000, 0, 1, 1, 1, 0, 0, 0, 0,
                 0x100000, 0}}),
    [](const auto& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Framing, HostileTest,
    ::testing::Values(
        Hostile{"length_zero", VTTM_ENGINE_COPY, EINVAL, {hdr(VTTM_OP_NOP, 0, 0)}},
        Hostile{"length_over_end", VTTM_ENGINE_COPY, EINVAL, {hdr(VTTM_OP_NOP, 0, 2)}},
        Hostile{"cut_off", VTTM_ENGINE_COPY, EINVAL, {hdr(VTTM_OP_FILL, 0, 6), 0x10000, 0}},
        Hostile{"nop_too_long", VTTM_ENGINE_COPY, EINVAL,
                [] {
                    std::vector<std::uint32_t> words(1025, 0);
                    words[0] = hdr(VTTM_OP_NOP, 0, 1025);
                    return words;
                }()},
        Hostile{
            "fill_short", VTTM_ENGINE_COPY, EINVAL, {hdr(VTTM_OP_FILL, 0, 5), 0x10000, 0, 4096, 0}},
        Hostile{"fill_long",
                VTTM_ENGINE_COPY,
                EINVAL,
                {hdr(VTTM_OP_FILL, 0, 7), 0x10000, 0, 4096, 0, 0, 0}},
        Hostile{"copy_short", VTTM_ENGINE_COPY, EINVAL, {hdr(VTTM_OP_COPY, 0, 1)}},
        Hostile{"unknown_opcode", VTTM_ENGINE_COPY, EINVAL, {hdr(0x7f, 0, 1)}},
        Hostile{"unknown_opcode_ff", VTTM_ENGINE_STAMP, EINVAL, {hdr(0xff, 0, 1)}},
        Hostile{"stamp_on_copy_engine",
                VTTM_ENGINE_COPY,
                EINVAL,
                {hdr(VTTM_OP_STAMP_WRITE, 0, 12), 0x10000, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0}},
        Hostile{"fill_on_stamp_engine",
                VTTM_ENGINE_STAMP,
                EINVAL,
                {hdr(VTTM_OP_FILL, 0, 6), 0x10000, 0, 4096, 0, 0}}),
    [](const auto& info) { return info.param.name; });

class HostileRaceTest : public GuestTest {};

// Another thread changes the packets while the kernel reads them: what was checked must be what
// runs. A privileged packet that slips through would move the engine into another address space.
TEST_F(HostileRaceTest, PacketsThatChangeWhileTheyAreRead) {
    Gpu gpu;
    const Gpu::Bound buffer = gpu.create(kPage);
    const std::uint64_t faults = gpu.device.param(VTTM_PARAM_FAULT_COUNT);
    std::vector<std::uint32_t> words(2048, hdr(VTTM_OP_NOP, 0, 2));
    std::atomic<bool> stop = false;
    std::thread racer([&] {
        std::atomic_ref<std::uint32_t> target(words[2000]);
        while (!stop) {
            target = hdr(VTTM_OP_SET_VM, 0, 2);
            target = hdr(VTTM_OP_NOP, 0, 2);
        }
    });
    constexpr int kRounds = 150;
    int passed = 0;
    int refused = 0;
    for (int round = 0; round < kRounds; ++round) {
        std::uint64_t seqno = 0;
        const int error = try_submit(gpu.device, {VTTM_ENGINE_COPY, words, {}, 0, 0}, &seqno);
        if (error == 0) {
            ++passed;
            EXPECT_EQ(Job(gpu.device, VTTM_ENGINE_COPY, seqno).result(Job::kDefaultTimeoutNs).error,
                      0);
        } else {
            ++refused;
            EXPECT_EQ(error, EACCES);
        }
    }
    stop = true;
    racer.join();
    EXPECT_EQ(passed + refused, kRounds);
    EXPECT_EQ(gpu.device.param(VTTM_PARAM_FAULT_COUNT), faults);
    gpu.fill(buffer, 9);
    EXPECT_EQ(count_unequal(buffer.buffer.map(), 9), 0u);
}

}  // namespace
}  // namespace vttm::guest::test
