// SPDX-License-Identifier: Apache-2.0
// Work of the GPU, from ring to memory, and what the host sees of it.
#include <cstring>
#include <fstream>
#include <iterator>

#include "protocol/vttm_witness.h"
#include "tests/unit/qtest/gpu.h"

namespace vttm::qtest {
namespace {

constexpr uint64_t kPage = VTTM_PAGE_SIZE;
constexpr uint64_t kLeaf = VTTM_PTE_VALID | VTTM_PTE_WRITE;
constexpr uint64_t kSystemLeaf = kLeaf | VTTM_PTE_SYSTEM;

constexpr vttm_stamp_id kFirst{.key = 0x0123456789abcdef, .page = 7, .buffer = 42, .generation = 3};

vttm_stamp_id PageOf(const vttm_stamp_id& first, uint64_t i) {
    vttm_stamp_id id = first;
    id.page += i;
    return id;
}

bool IsStamp(const std::vector<uint8_t>& bytes, const vttm_stamp_id& id) {
    alignas(8) uint8_t page[VTTM_STAMP_PAGE_SIZE];
    std::memcpy(page, bytes.data(), sizeof(page));
    return vttm_stamp_check(page, &id);
}

class Engine : public QtestFixture {
protected:
    vttm_stamp_result Result() {
        const std::vector<uint8_t> bytes = vm->ReadBytes(kResult, sizeof(vttm_stamp_result));
        vttm_stamp_result result;
        std::memcpy(&result, bytes.data(), sizeof(result));
        return result;
    }
    /// The records of the witness log; checks its header and that it holds whole records.
    std::vector<vttm_witness_record> Witness() {
        std::ifstream file(vm->witness_path(), std::ios::binary);
        const std::string all{std::istreambuf_iterator<char>(file), {}};
        vttm_witness_header header{};
        EXPECT_GE(all.size(), sizeof(header));
        if (all.size() < sizeof(header)) return {};
        std::memcpy(&header, all.data(), sizeof(header));
        EXPECT_EQ(header.magic, VTTM_WITNESS_MAGIC);
        EXPECT_EQ(header.version, VTTM_WITNESS_VERSION);
        EXPECT_EQ(header.record_size, sizeof(vttm_witness_record));
        const size_t size = all.size() - sizeof(header);
        EXPECT_EQ(size % sizeof(vttm_witness_record), 0u) << "half a record";
        std::vector<vttm_witness_record> records(size / sizeof(vttm_witness_record));
        std::memcpy(records.data(), all.data() + sizeof(header),
                    records.size() * sizeof(vttm_witness_record));
        return records;
    }
};

TEST_F(Engine, FillVram) {
    Start();
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_VRAM, kMiB, 8192, 0xcafef00d)}), 0u);
    EXPECT_EQ(vm->Read32(kVramBase + kMiB), 0xcafef00du);
    EXPECT_EQ(vm->Read32(kVramBase + kMiB + 8188), 0xcafef00du);
    EXPECT_EQ(vm->Read32(kVramBase + kMiB + 8192), 0u);
    EXPECT_EQ(gpu->Reg64(VTTM_ENGINE_BASE(0) + VTTM_ENG_LAST_FENCE_LO), 1u);
}

TEST_F(Engine, CopyBetweenVramAndGuestRam) {
    Start();
    std::vector<uint8_t> content(12345);
    for (size_t i = 0; i < content.size(); i++) content[i] = static_cast<uint8_t>(i * 7 + i / 256);
    vm->WriteBytes(kData + 3, content);
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY,
                       {Copy(VTTM_SPACE_VRAM, 0x1001, VTTM_SPACE_SYSTEM, kData + 3, content.size()),
                        Copy(VTTM_SPACE_SYSTEM, kData + 0x10005, VTTM_SPACE_VRAM, 0x1001,
                             content.size())}),
              0u);
    EXPECT_EQ(VramFile(0x1001, content.size()), content);
    EXPECT_EQ(vm->ReadBytes(kData + 0x10005, content.size()), content);
}

TEST_F(Engine, CopyThroughPageTables) {
    Start();
    // Scattered: RAM, VRAM, RAM.
    gpu->MapPages({(kData + 5 * kPage) | kSystemLeaf, kMiB | kLeaf, kData | kSystemLeaf});
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY,
                       {SetVm(1), Fill(VTTM_SPACE_VM, kPage / 2, 2 * kPage, 0x77777777)}),
              0u);
    EXPECT_EQ(vm->Read32(kData + 5 * kPage + kPage / 2 - 4), 0u);
    EXPECT_EQ(vm->Read32(kData + 5 * kPage + kPage / 2), 0x77777777u);
    EXPECT_EQ(VramFile(kMiB, kPage), std::vector<uint8_t>(kPage, 0x77));
    EXPECT_EQ(vm->Read32(kData + kPage / 2 - 4), 0x77777777u);
    EXPECT_EQ(vm->Read32(kData + kPage / 2), 0u);
}

TEST_F(Engine, RingWraps) {
    Start();
    // 30 rounds of 4 KiB ring / (24 + 20) bytes each pass the ring's end several times.
    for (uint32_t i = 1; i <= 200; i++) {
        ASSERT_EQ(gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_SYSTEM, kData, 4, i)}), 0u);
        ASSERT_EQ(vm->Read32(kData), i);
    }
}

TEST_F(Engine, StampsAreSeenByHostAndWitness) {
    Start({.witness = true});
    gpu->MapPages(
        {(kData + 8 * kPage) | kSystemLeaf, (kData + 9 * kPage) | kSystemLeaf, (2 * kMiB) | kLeaf});
    ASSERT_EQ(gpu->Run(VTTM_ENGINE_STAMP, {SetVm(1), StampWrite(VTTM_SPACE_VM, 0, 3, kFirst)}), 0u);
    EXPECT_TRUE(IsStamp(vm->ReadBytes(kData + 8 * kPage, kPage), PageOf(kFirst, 0)));
    EXPECT_TRUE(IsStamp(vm->ReadBytes(kData + 9 * kPage, kPage), PageOf(kFirst, 1)));
    EXPECT_TRUE(IsStamp(VramFile(2 * kMiB, kPage), PageOf(kFirst, 2)));

    ASSERT_EQ(gpu->Run(VTTM_ENGINE_STAMP, {StampVerify(VTTM_SPACE_VM, 0, 3, kFirst)}), 0u);
    EXPECT_EQ(Result().checked, 3u);
    EXPECT_EQ(Result().good, 3u);

    uint64_t pages = 0;
    bool ram = false, vram = false;
    for (const vttm_witness_record& record : Witness()) {
        if (record.kind != VTTM_WITNESS_WRITE) continue;
        EXPECT_EQ(record.buffer, kFirst.buffer);
        EXPECT_EQ(record.generation, kFirst.generation);
        pages += record.npages;
        if (record.space == VTTM_SPACE_SYSTEM && record.page == kFirst.page) {
            ram = record.phys == kData + 8 * kPage;
        }
        if (record.space == VTTM_SPACE_VRAM) vram = record.phys == 2 * kMiB;
    }
    EXPECT_EQ(pages, 3u);
    EXPECT_TRUE(ram);
    EXPECT_TRUE(vram);
}

TEST_F(Engine, VerifyFindsWhatTheCpuBroke) {
    Start({.witness = true});
    ASSERT_EQ(gpu->Run(VTTM_ENGINE_STAMP, {StampWrite(VTTM_SPACE_SYSTEM, kData, 4, kFirst)}), 0u);
    vm->Write32(kData + kPage + 100, vm->Read32(kData + kPage + 100) ^ 0x10);
    vm->WriteBytes(kData + 3 * kPage, std::vector<uint8_t>(kPage, 0));
    ASSERT_EQ(gpu->Run(VTTM_ENGINE_STAMP, {StampVerify(VTTM_SPACE_SYSTEM, kData, 4, kFirst)}), 0u);
    const vttm_stamp_result result = Result();
    EXPECT_EQ(result.good, 2u);
    EXPECT_EQ(result.bad, 2u);
    EXPECT_EQ(result.first_bad_page, kFirst.page + 1);
    EXPECT_EQ(result.by_class[VTTM_STAMP_BITFLIP], 1u);
    EXPECT_EQ(result.by_class[VTTM_STAMP_ZERO], 1u);
}

TEST_F(Engine, WitnessLogEndsAtWholeRecordWhenItCannotGrow) {
    constexpr uint64_t kRoom = 20;
    Start({.witness = true});
    // Room for half a record more. (QEMU's messages are in a file, too: the limit must leave them
    // room.)
    vm->process().LimitFileSize(sizeof(vttm_witness_header) +
                                (2 * kRoom + 1) * sizeof(vttm_witness_record) / 2);
    for (uint32_t i = 1; i <= kRoom + 4; i++) {
        vttm_stamp_id id = kFirst;
        id.buffer = i;
        ASSERT_EQ(gpu->Run(VTTM_ENGINE_STAMP, {StampWrite(VTTM_SPACE_SYSTEM, kData, 1, id)}), 0u)
            << "the GPU goes on";
    }
    const std::vector<vttm_witness_record> records = Witness();
    EXPECT_EQ(records.size(), kRoom);
    EXPECT_EQ(vm->DeviceProperty("witness-lost"), 4);
    const std::string log = vm->process().Log();
    const size_t first = log.find("cannot write the witness log");
    EXPECT_NE(first, std::string::npos) << log;
    EXPECT_EQ(log.find("cannot write the witness log", first + 1), std::string::npos)
        << "told once";
}

// The guest's counters by 8-byte reads over the bus, the host's by QMP: the same, as long as no
// reset was between.
TEST_F(Engine, CountersAreTheSameForGuestAndHost) {
    Start();
    ASSERT_TRUE(gpu->Reg64(VTTM_REG_FEATURES_LO) & VTTM_FEATURE_COUNTERS);
    const auto host = [&](const char* engine, const char* name) {
        const auto stats = nlohmann::json::parse(vm->DeviceProperty("stats").get<std::string>());
        return stats.at("engines").at(engine).at(name).get<uint64_t>();
    };
    const uint64_t packets = host("copy", "packets");
    gpu->MapPages({(kData + 5 * kPage) | kSystemLeaf, kMiB | kLeaf});
    ASSERT_EQ(gpu->Run(VTTM_ENGINE_COPY, {SetVm(1), Fill(VTTM_SPACE_VM, 0, 2 * kPage, 1)}), 0u);
    ASSERT_EQ(gpu->Run(VTTM_ENGINE_COPY, {SetVm(1), Fill(VTTM_SPACE_VM, 2 * kPage, kPage, 1)}),
              static_cast<uint32_t>(VTTM_FAULT_NOT_VALID));
    const uint32_t status = VTTM_ENGINE_BASE(0) + VTTM_ENG_STATUS;
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (!(gpu->Reg(status) & VTTM_ENG_STATUS_IDLE))
        ASSERT_LT(std::chrono::steady_clock::now(), end);

    const auto guest = [&](uint32_t which) { return gpu->Reg64(VTTM_COUNTER_BASE(0) + which); };
    EXPECT_EQ(guest(VTTM_CNT_PACKETS), packets + 5);
    EXPECT_EQ(guest(VTTM_CNT_BYTES), 2 * kPage);
    EXPECT_EQ(guest(VTTM_CNT_FAULTS), 1u);
    EXPECT_EQ(guest(VTTM_CNT_TLB_MISSES), 3u);
    const std::pair<uint32_t, const char*> names[] = {
        {VTTM_CNT_BUSY_NS, "busy_ns"},       {VTTM_CNT_BYTES, "bytes"},
        {VTTM_CNT_PACKETS, "packets"},       {VTTM_CNT_FAULTS, "faults"},
        {VTTM_CNT_STALE, "stale"},           {VTTM_CNT_TLB_HITS, "tlb_hits"},
        {VTTM_CNT_TLB_MISSES, "tlb_misses"}, {VTTM_CNT_ROOT_WALKS, "root_walks"},
        {VTTM_CNT_WALK_HITS, "walk_hits"}};
    for (const auto& [which, name] : names) EXPECT_EQ(guest(which), host("copy", name)) << name;
}

TEST_F(Engine, UnknownOpcodeHaltsOneEngineOnly) {
    Start();
    gpu->Submit(VTTM_ENGINE_COPY, {MakePacket(0x7f, 0, {1, 2})});
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (!(gpu->Reg(VTTM_ENGINE_BASE(0) + VTTM_ENG_STATUS) & VTTM_ENG_STATUS_HALTED)) {
        ASSERT_LT(std::chrono::steady_clock::now(), end) << "the engine does not halt";
    }
    EXPECT_EQ(gpu->FaultReason(), static_cast<uint32_t>(VTTM_FAULT_BAD_FRAMING));
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_STAMP, {StampWrite(VTTM_SPACE_SYSTEM, kData, 1, kFirst)}), 0u);
}

}  // namespace
}  // namespace vttm::qtest
