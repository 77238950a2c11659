// SPDX-License-Identifier: Apache-2.0
// The register file: values, access rules, widths.
#include <gmock/gmock.h>

#include <sys/resource.h>

#include <cstdlib>
#include <fstream>
#include <set>

#include "tests/unit/model/machine.h"

namespace vttm::model::test {
namespace {

// Features of this ABI that do not depend on the embedder.
constexpr uint64_t kFeatures = VTTM_FEATURE_STALE_DETECT | VTTM_FEATURE_LARGE_LEAVES |
                               VTTM_FEATURE_NO_ACCESS | VTTM_FEATURE_WALK_CACHE |
                               VTTM_FEATURE_FAULT_RING | VTTM_FEATURE_FAULT_RETRY |
                               VTTM_FEATURE_COPY_2D | VTTM_FEATURE_COPY_SG | VTTM_FEATURE_HASH |
                               VTTM_FEATURE_SYNC | VTTM_FEATURE_INDIRECT | VTTM_FEATURE_RINGS |
                               VTTM_FEATURE_COUNTERS | VTTM_FEATURE_VRAM_BALLOON |
                               VTTM_FEATURE_POISON;

class Registers : public Machine {};

TEST_F(Registers, Discovery) {
    EXPECT_EQ(rd(VTTM_REG_MAGIC), VTTM_MAGIC);
    EXPECT_EQ(rd(VTTM_REG_ABI), VTTM_ABI_MAJOR << 16 | VTTM_ABI_MINOR);
    EXPECT_EQ(rd64(VTTM_REG_FEATURES_LO), kFeatures | VTTM_FEATURE_WITNESS);
    EXPECT_EQ(rd64(VTTM_REG_VRAM_SIZE_LO), kVramSize);
    EXPECT_EQ(rd(VTTM_REG_VRAM_SIZE_LO), kVramSize);
    EXPECT_EQ(rd(VTTM_REG_VRAM_SIZE_HI), 0u);
    EXPECT_EQ(rd64(VTTM_REG_VRAM_VISIBLE_LO), kVramSize);
    EXPECT_EQ(rd(VTTM_REG_NUM_ENGINES), VTTM_NUM_ENGINES);
    EXPECT_EQ(rd(VTTM_REG_NUM_VMS), VTTM_MAX_VMS);
    EXPECT_EQ(eng(0, VTTM_ENG_CLASS), VTTM_CLASS_COPY);
    EXPECT_EQ(eng(1, VTTM_ENG_CLASS), VTTM_CLASS_STAMP);
    EXPECT_EQ(rd(VTTM_REG_BAD_ACCESS), 0u);
}

TEST_F(Registers, ResetState) {
    for (uint32_t off : {VTTM_REG_DEV_CTRL, VTTM_REG_DEV_STATUS, VTTM_REG_IRQ_STATUS,
                         VTTM_REG_IRQ_ENABLE, VTTM_REG_FAULT_STATUS, VTTM_REG_FAULT_INFO,
                         VTTM_REG_FAULT_COUNT, VTTM_REG_STALE_COUNT, VTTM_REG_TLB_INV_PAGES,
                         VTTM_REG_TLB_INV_CMD, VTTM_REG_TLB_INV_DONE, VTTM_REG_FAULT_RING_BASE_LO,
                         VTTM_REG_FAULT_RING_BASE_HI, VTTM_REG_FAULT_RING_SIZE,
                         VTTM_REG_FAULT_RING_CTRL, VTTM_REG_FAULT_RING_PUT,
                         VTTM_REG_FAULT_RING_GET, VTTM_REG_FAULT_RING_LOST})
        EXPECT_EQ(rd(off), 0u) << std::hex << off;
    for (unsigned e = 0; e < VTTM_NUM_ENGINES; e++) {
        EXPECT_EQ(eng(e, VTTM_ENG_STATUS), VTTM_ENG_STATUS_IDLE);
        for (uint32_t off : {VTTM_ENG_CTRL, VTTM_ENG_RING_BASE_LO, VTTM_ENG_RING_BASE_HI,
                             VTTM_ENG_RING_SIZE, VTTM_ENG_HEAD, VTTM_ENG_TAIL,
                             VTTM_ENG_LAST_FENCE_LO, VTTM_ENG_LAST_FENCE_HI, VTTM_ENG_BYTES_LO,
                             VTTM_ENG_BYTES_HI, VTTM_ENG_PACKETS})
            EXPECT_EQ(eng(e, off), 0u) << e << " " << std::hex << off;
    }
    EXPECT_EQ(rd(VTTM_REG_BAD_ACCESS), 0u);
}

TEST_F(Registers, ReadOnlyIgnoreWrites) {
    std::vector<uint32_t> ro = {VTTM_REG_MAGIC,           VTTM_REG_ABI,
                                VTTM_REG_FEATURES_LO,     VTTM_REG_FEATURES_HI,
                                VTTM_REG_VRAM_SIZE_LO,    VTTM_REG_VRAM_SIZE_HI,
                                VTTM_REG_VRAM_VISIBLE_LO, VTTM_REG_VRAM_VISIBLE_HI,
                                VTTM_REG_NUM_ENGINES,     VTTM_REG_NUM_VMS,
                                VTTM_REG_DEV_STATUS,      VTTM_REG_BAD_ACCESS,
                                VTTM_REG_FAULT_INFO,      VTTM_REG_FAULT_ADDR_LO,
                                VTTM_REG_FAULT_ADDR_HI,   VTTM_REG_FAULT_COUNT,
                                VTTM_REG_STALE_COUNT,     VTTM_REG_TLB_INV_DONE,
                                VTTM_REG_FAULT_RING_PUT,  VTTM_REG_FAULT_RING_LOST};
    for (unsigned e = 0; e < VTTM_NUM_ENGINES; e++)
        for (uint32_t off : {VTTM_ENG_STATUS, VTTM_ENG_CLASS, VTTM_ENG_HEAD,
                             VTTM_ENG_LAST_FENCE_LO, VTTM_ENG_LAST_FENCE_HI, VTTM_ENG_BYTES_LO,
                             VTTM_ENG_BYTES_HI, VTTM_ENG_PACKETS})
            ro.push_back(VTTM_ENGINE_BASE(e) + off);
    for (uint32_t off : ro) {
        const uint32_t before = rd(off);
        wr(off, ~before);
        EXPECT_EQ(rd(off), before) << std::hex << off;
    }
    EXPECT_EQ(rd(VTTM_REG_BAD_ACCESS), 0u);
}

TEST_F(Registers, ReadWriteReadsBack) {
    wr(VTTM_REG_TLB_INV_PAGES, 0x12345678);
    EXPECT_EQ(rd(VTTM_REG_TLB_INV_PAGES), 0x12345678u);
    wr(VTTM_REG_TLB_INV_START_LO, 0x9abcd000);
    wr(VTTM_REG_TLB_INV_START_HI, 0x1234);
    EXPECT_EQ(rd64(VTTM_REG_TLB_INV_START_LO), 0x12349abcd000u);
    wr64(VTTM_REG_TLB_INV_START_LO, 0x5000);
    EXPECT_EQ(rd(VTTM_REG_TLB_INV_START_LO), 0x5000u);
    EXPECT_EQ(rd(VTTM_REG_TLB_INV_START_HI), 0u);
    wr(VTTM_REG_IRQ_ENABLE, 0xffffffff);
    EXPECT_EQ(rd(VTTM_REG_IRQ_ENABLE), 0xfu);  // only the vectors that are there
    for (uint32_t vm : {0u, 1u, 255u}) {
        wr64(VTTM_REG_VM_ROOT_LO(vm), 0x123456789abcdef0u + vm);
        EXPECT_EQ(rd(VTTM_REG_VM_ROOT_LO(vm)), 0x9abcdef0u + vm);
        EXPECT_EQ(rd(VTTM_REG_VM_ROOT_HI(vm)), 0x12345678u);
        wr(VTTM_REG_VM_ROOT_HI(vm), 7);
        EXPECT_EQ(rd64(VTTM_REG_VM_ROOT_LO(vm)), 0x79abcdef0u + vm);
    }
    EXPECT_EQ(rd64(VTTM_REG_VM_ROOT_LO(2)), 0u);
    EXPECT_EQ(rd(VTTM_REG_BAD_ACCESS), 0u);
}

TEST_F(Registers, RingRegistersOnlyWhileDisabled) {
    const uint32_t base = VTTM_ENGINE_BASE(1);
    wr64(base + VTTM_ENG_RING_BASE_LO, 0x123456789fffu);
    EXPECT_EQ(rd64(base + VTTM_ENG_RING_BASE_LO), 0x123456789000u);
    wr(base + VTTM_ENG_RING_SIZE, 0x2000);
    EXPECT_EQ(rd(base + VTTM_ENG_RING_SIZE), 0x2000u);
    for (uint32_t bad : {0u, 1u, 0x800u, 0x1001u, 0x3000u, 0x200000u, 0x80000000u})
        wr(base + VTTM_ENG_RING_SIZE, bad);
    EXPECT_EQ(rd(base + VTTM_ENG_RING_SIZE), 0x2000u);
    EXPECT_EQ(rd(VTTM_REG_BAD_ACCESS), 7u);

    wr(base + VTTM_ENG_CTRL, VTTM_ENG_CTRL_ENABLE);
    EXPECT_EQ(rd(base + VTTM_ENG_CTRL), VTTM_ENG_CTRL_ENABLE);
    wr64(base + VTTM_ENG_RING_BASE_LO, 0x5000);
    wr(base + VTTM_ENG_RING_BASE_HI, 0x5000);
    wr(base + VTTM_ENG_RING_SIZE, 0x1000);
    EXPECT_EQ(rd64(base + VTTM_ENG_RING_BASE_LO), 0x123456789000u);
    EXPECT_EQ(rd(base + VTTM_ENG_RING_SIZE), 0x2000u);
    EXPECT_EQ(rd(VTTM_REG_BAD_ACCESS), 10u);
    wr(base + VTTM_ENG_CTRL, 0);
    wr(base + VTTM_ENG_RING_SIZE, 0x1000);
    EXPECT_EQ(rd(base + VTTM_ENG_RING_SIZE), 0x1000u);
}

// Every offset of BAR0 and every width: exactly the registers of the header answer.
TEST_F(Registers, HolesAndWidths) {
    std::set<uint32_t> words = {VTTM_REG_MAGIC,       VTTM_REG_ABI,          VTTM_REG_NUM_ENGINES,
                                VTTM_REG_NUM_RINGS,
                                VTTM_REG_NUM_VMS,     VTTM_REG_DEV_CTRL,     VTTM_REG_DEV_STATUS,
                                VTTM_REG_IRQ_STATUS,  VTTM_REG_IRQ_ENABLE,   VTTM_REG_BAD_ACCESS,
                                VTTM_REG_FAULT_STATUS, VTTM_REG_FAULT_INFO,  VTTM_REG_FAULT_COUNT,
                                VTTM_REG_STALE_COUNT, VTTM_REG_TLB_INV_PAGES,
                                VTTM_REG_TLB_INV_CMD, VTTM_REG_TLB_INV_DONE,
                                VTTM_REG_FAULT_RING_SIZE, VTTM_REG_FAULT_RING_CTRL,
                                VTTM_REG_FAULT_RING_PUT, VTTM_REG_FAULT_RING_GET,
                                VTTM_REG_FAULT_RING_LOST};
    std::set<uint32_t> pairs = {VTTM_REG_FEATURES_LO,     VTTM_REG_VRAM_SIZE_LO,
                                VTTM_REG_VRAM_VISIBLE_LO, VTTM_REG_TIMESTAMP_LO,
                                VTTM_REG_FAULT_ADDR_LO,   VTTM_REG_TLB_INV_START_LO,
                                VTTM_REG_FAULT_RING_BASE_LO, VTTM_REG_VRAM_TARGET_LO,
                                VTTM_REG_VRAM_LIMIT_LO};
    for (uint32_t vm = 0; vm < VTTM_MAX_VMS; vm++) {
        pairs.insert(VTTM_REG_VM_ROOT_LO(vm));
        words.insert(VTTM_REG_VM_MODE(vm));
    }
    for (unsigned e = 0; e < VTTM_NUM_ENGINES; e++) {
        for (uint32_t off : {VTTM_ENG_CTRL, VTTM_ENG_STATUS, VTTM_ENG_CLASS, VTTM_ENG_RING_SIZE,
                             VTTM_ENG_HEAD, VTTM_ENG_TAIL, VTTM_ENG_PACKETS, VTTM_ENG_STALL,
                             VTTM_ENG_ANSWER, VTTM_ENG_PRIORITY})
            for (uint32_t r = 0; r < VTTM_NUM_RINGS; r++) words.insert(VTTM_RING_BLOCK(e, r) + off);
        for (uint32_t off : {VTTM_ENG_RING_BASE_LO, VTTM_ENG_LAST_FENCE_LO, VTTM_ENG_BYTES_LO})
            for (uint32_t r = 0; r < VTTM_NUM_RINGS; r++) pairs.insert(VTTM_RING_BLOCK(e, r) + off);
        for (uint32_t i = 0; i < VTTM_NUM_COUNTERS; i++) pairs.insert(VTTM_COUNTER_BASE(e) + i * 8);
    }
    uint32_t bad = 0;
    auto check = [&](uint64_t off, unsigned size, bool good) {
        const uint64_t v = vttm_model_mmio_read(model_.get(), off, size);
        if (!good) {
            bad++;
            EXPECT_EQ(v, 0u) << std::hex << off;
        }
        ASSERT_EQ(rd(VTTM_REG_BAD_ACCESS), bad) << std::hex << off << " size " << size;
    };
    for (uint32_t off = 0; off < VTTM_REGS_SIZE; off += 4) {
        const bool half = pairs.count(off) || (off >= 4 && pairs.count(off - 4));
        const bool word = words.count(off) || half;
        check(off, 4, word);
        check(off, 8, off % 8 == 0 && pairs.count(off));
        check(off, 1, false);
        check(off, 2, false);
        check(off + 1, 4, false);
        check(off + 2, 2, false);
        check(off + 4, 16, false);
    }
    for (uint64_t off : {uint64_t{VTTM_REGS_SIZE}, uint64_t{1} << 32, ~uint64_t{7}})
        for (unsigned size : {4u, 8u}) check(off, size, false);
}

TEST_F(Registers, BadWritesChangeNothing) {
    wr(VTTM_REG_IRQ_ENABLE, 5);
    for (unsigned size : {1u, 2u, 3u, 5u, 8u, 16u})
        vttm_model_mmio_write(model_.get(), VTTM_REG_IRQ_ENABLE, 0, size);
    vttm_model_mmio_write(model_.get(), VTTM_REG_IRQ_ENABLE + 2, 0, 4);
    vttm_model_mmio_write(model_.get(), 0xf000, 1, 4);
    vttm_model_mmio_write(model_.get(), VTTM_REG_VM_ROOT_HI(0), 1, 8);  // not a _LO register
    EXPECT_EQ(rd(VTTM_REG_IRQ_ENABLE), 5u);
    EXPECT_EQ(rd64(VTTM_REG_VM_ROOT_LO(0)), 0u);
    EXPECT_EQ(rd(VTTM_REG_BAD_ACCESS), 9u);
}

TEST_F(Registers, TimestampLatchesHigh) {
    const uint32_t lo1 = rd(VTTM_REG_TIMESTAMP_LO), hi1 = rd(VTTM_REG_TIMESTAMP_HI);
    const uint64_t t1 = uint64_t{hi1} << 32 | lo1;
    const uint64_t t2 = rd64(VTTM_REG_TIMESTAMP_LO);
    const uint64_t t3 = rd64(VTTM_REG_TIMESTAMP_LO);
    EXPECT_LE(t1, t2);
    EXPECT_LE(t2, t3);
    EXPECT_LT(t3 - t1, 10'000'000'000u);
}

TEST_F(Registers, DeviceResetClears) {
    wr(VTTM_REG_IRQ_ENABLE, 7);
    wr64(VTTM_REG_VM_ROOT_LO(3), 0x1001);
    wr64(VTTM_REG_TLB_INV_START_LO, 0x7000);
    wr(VTTM_REG_TLB_INV_PAGES, 9);
    invalidate(VTTM_TLB_INV_ALL);
    setup_ring(0);
    put(0, {VTTM_PKT_HDR(VTTM_OP_NOP, 0, 1)});
    finish(0);
    rd(0x0bad);  // misaligned
    EXPECT_NE(rd(VTTM_REG_BAD_ACCESS), 0u);
    wr(VTTM_REG_DEV_CTRL, VTTM_DEV_CTRL_RESET);
    ASSERT_TRUE(wait_for([&] { return rd(VTTM_REG_DEV_STATUS) == 0; }));
    EXPECT_EQ(rd(VTTM_REG_DEV_CTRL), 0u);
    EXPECT_EQ(rd(VTTM_REG_IRQ_ENABLE), 0u);
    EXPECT_EQ(rd64(VTTM_REG_VM_ROOT_LO(3)), 0u);
    EXPECT_EQ(rd64(VTTM_REG_TLB_INV_START_LO), 0u);
    EXPECT_EQ(rd(VTTM_REG_TLB_INV_PAGES), 0u);
    EXPECT_EQ(rd(VTTM_REG_TLB_INV_DONE), 0u);
    EXPECT_EQ(rd(VTTM_REG_BAD_ACCESS), 0u);
    EXPECT_EQ(eng(0, VTTM_ENG_STATUS), VTTM_ENG_STATUS_IDLE);
    for (uint32_t off : {VTTM_ENG_CTRL, VTTM_ENG_RING_BASE_LO, VTTM_ENG_RING_SIZE, VTTM_ENG_HEAD,
                         VTTM_ENG_TAIL, VTTM_ENG_LAST_FENCE_LO, VTTM_ENG_BYTES_LO,
                         VTTM_ENG_PACKETS})
        EXPECT_EQ(eng(0, off), 0u) << std::hex << off;
}

// --- Creation ------------------------------------------------------------------------------------

class Create : public ::testing::Test {
protected:
    Create() : bus_(1 << 20, 4 << 20) {
        config_.api = VTTM_MODEL_API;
        config_.vram = bus_.vram();
        config_.vram_size = 4 << 20;
        config_.vram_visible = 4 << 20;
        ops_ = bus_.ops();
    }
    std::string error() {
        char err[256] = "untouched";
        ModelPtr m(vttm_model_create(&config_, &ops_, &bus_, err, sizeof(err)));
        EXPECT_EQ(m == nullptr, err[0] != '\0');
        return err;
    }
    FakeBus bus_;
    vttm_model_config config_{};
    vttm_model_ops ops_{};
};

TEST_F(Create, Good) {
    EXPECT_EQ(error(), "");
    config_.vram_visible = 1 << 20;  // small BAR
    EXPECT_EQ(error(), "");
    config_.tlb_entries = 1;
    EXPECT_EQ(error(), "");
}

TEST_F(Create, VisibleVramFollowsTheBar) {
    char err[256];
    config_.vram_visible = 2 << 20;
    ModelPtr m(vttm_model_create(&config_, &ops_, &bus_, err, sizeof(err)));
    const auto visible = [&] { return vttm_model_mmio_read(m.get(), VTTM_REG_VRAM_VISIBLE_LO, 8); };
    EXPECT_EQ(visible(), 2u << 20);
    EXPECT_EQ(vttm_model_set_vram_visible(m.get(), 4 << 20), 0);
    EXPECT_EQ(visible(), 4u << 20);
    for (uint64_t bad : {0, 3 << 20, 8 << 20}) {
        EXPECT_EQ(vttm_model_set_vram_visible(m.get(), bad), -1) << bad;
        EXPECT_EQ(visible(), 4u << 20);
    }
    vttm_model_mmio_write(m.get(), VTTM_REG_DEV_CTRL, VTTM_DEV_CTRL_RESET, 4);
    vttm_model_reset(m.get());
    EXPECT_EQ(visible(), 4u << 20) << "it is the bus's";
}

TEST_F(Create, RefusesWrongArguments) {
    config_.api = VTTM_MODEL_API + 1;
    EXPECT_THAT(error(), testing::HasSubstr("API"));
    config_.api = VTTM_MODEL_API;
    for (uint64_t size : {uint64_t{0}, uint64_t{1} << 20, uint64_t{3} << 20, uint64_t{128} << 30}) {
        config_.vram_size = size;
        EXPECT_THAT(error(), testing::HasSubstr("vram_size"));
    }
    config_.vram_size = 4 << 20;
    for (uint64_t visible : {uint64_t{0}, uint64_t{3} << 20, uint64_t{8} << 20}) {
        config_.vram_visible = visible;
        EXPECT_THAT(error(), testing::HasSubstr("vram_visible"));
    }
    config_.vram_visible = 4 << 20;
    config_.vram = bus_.vram() + 8;
    EXPECT_THAT(error(), testing::HasSubstr("page-aligned"));
    config_.vram = bus_.vram();
    config_.tlb_entries = UINT32_MAX;
    EXPECT_THAT(error(), testing::HasSubstr("tlb_entries"));
    config_.tlb_entries = 0;
    ops_.dma_map = nullptr;
    EXPECT_THAT(error(), testing::HasSubstr("callbacks"));
    EXPECT_EQ(bus_.threads(), 0);
}

// With a process of its own that is short of memory: no exception leaves the C interface.
TEST_F(Create, TellsWhenThereIsNoMemory) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "a sanitizer needs more address space than it could be left";
#endif
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    config_.tlb_entries = 1u << 24;
    const auto create_in_64_mib = [&] {
        uint64_t pages = 0;
        std::ifstream("/proc/self/statm") >> pages;
        const rlim_t limit = pages * kPage + (64 << 20);
        const rlimit room{limit, limit};
        setrlimit(RLIMIT_AS, &room);
        char err[256] = "";
        const bool refused = !vttm_model_create(&config_, &ops_, &bus_, err, sizeof(err)) &&
                             std::string(err).find("cannot create the model: ") == 0;
        std::exit(refused ? 0 : 1);
    };
    EXPECT_EXIT(create_in_64_mib(), testing::ExitedWithCode(0), "");
}

TEST_F(Create, ShortErrorBufferIsTerminated) {
    config_.api = 0;
    char err[8] = "xxxxxxx";
    EXPECT_EQ(vttm_model_create(&config_, &ops_, &bus_, err, sizeof(err)), nullptr);
    EXPECT_EQ(std::strlen(err), 7u);
    EXPECT_EQ(vttm_model_create(&config_, &ops_, &bus_, nullptr, 0), nullptr);
    EXPECT_EQ(vttm_model_create(nullptr, &ops_, &bus_, err, sizeof(err)), nullptr);
}

TEST_F(Create, OptionalCallbacksMayBeMissing) {
    ops_.witness = nullptr;
    ops_.vram_dirty = nullptr;
    ops_.thread_enter = nullptr;
    ops_.thread_exit = nullptr;
    char err[64];
    ModelPtr m(vttm_model_create(&config_, &ops_, &bus_, err, sizeof(err)));
    ASSERT_TRUE(m) << err;
    EXPECT_EQ(vttm_model_mmio_read(m.get(), VTTM_REG_FEATURES_LO, 4), kFeatures);
}

}  // namespace
}  // namespace vttm::model::test
