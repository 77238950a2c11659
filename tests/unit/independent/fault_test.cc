// SPDX-License-Identifier: Apache-2.0
// Each fault reason that the specification lists: its record, field by field, and what is done
// before it.
#include "tests/unit/independent/fixture.h"

namespace vttm::independent {
namespace {

constexpr uint64_t kVa = 0x2bcdef400000;  // 4 MiB aligned: room for leaves of 2 MiB
constexpr uint32_t kVm = 33;
constexpr uint64_t kHole = 0xd0000000;  // neither RAM nor a BAR

class Fault : public IndependentDriver {
protected:
    void SetUp() override {
        IndependentDriver::SetUp();
        if (!device) return;
        vm = std::make_unique<AddressSpace>(*device, kVm);
        page = Vram(device->AllocVram(VTTM_PAGE_SIZE));
        vm->Map(kVa, page, VTTM_PAGE_SIZE);
    }

    /// Runs SET_VM and @packet on the copy engine; the record must say all of this.
    void Expect(const Program& packet, uint32_t reason, bool write, uint64_t addr,
                uint32_t in_vm = kVm) {
        const uint64_t last = copy->seq();
        const Program set = in_vm == kVm ? Program().SetVm(kVm) : Program();
        const uint32_t pos = (copy->tail() + set.bytes()) & (copy->bytes() - 1);
        const uint64_t before = device->Rd64(VTTM_REG_TIMESTAMP_LO);
        const vttm_fault_record r = OneFault(*copy, Program(set).Append(packet), reason);
        EXPECT_EQ(r.number, faults - 1);
        EXPECT_EQ(VTTM_FAULT_INFO_ENGINE(r.info), VTTM_ENGINE_COPY);
        EXPECT_EQ(VTTM_FAULT_INFO_RING(r.info), 0u);
        EXPECT_EQ((r.info & VTTM_FAULT_INFO_WRITE) != 0, write);
        EXPECT_EQ(VTTM_FAULT_INFO_VM(r.info), in_vm);
        EXPECT_EQ(r.addr, addr);
        EXPECT_EQ(r.last_fence, last);
        EXPECT_EQ(r.packet_pos, pos);
        EXPECT_EQ(r.packet_hdr, packet.dwords()[0]);
        EXPECT_EQ(r.stall, 0u);
        EXPECT_EQ(r.ib, 0u);
        EXPECT_EQ(r.ib_addr, 0u);
        EXPECT_EQ(r.rsvd, 0u);
        EXPECT_GT(r.time_ns, before);
        EXPECT_LT(r.time_ns, device->Rd64(VTTM_REG_TIMESTAMP_LO));
    }
    void ExpectFill(uint32_t reason, uint64_t va = kVa, uint64_t bytes = 4) {
        SCOPED_TRACE(testing::Message() << "reason " << reason << " at " << std::hex << va);
        Expect(Program().Fill(Virtual(va), bytes, 0), reason, true, va);
    }
    Program ReadAt(Place at, uint64_t bytes = 4) { return Program().Copy(page + 1024, at, bytes); }

    std::unique_ptr<AddressSpace> vm;
    Place page;
};

TEST_F(Fault, NotValidAtEachLevelAndAllBeforeItIsDone) {
    EXPECT_EQ(copy->Run(Program().SetVm(kVm).Fill(Virtual(kVa), VTTM_PAGE_SIZE, 0x11111111)), 0u);
    Expect(Program().Fill(Virtual(kVa + 8), 2 * VTTM_PAGE_SIZE, 0x22222222), VTTM_FAULT_NOT_VALID,
           true, kVa + VTTM_PAGE_SIZE);
    EXPECT_EQ(device->Read64(page), 0x1111111111111111u);
    EXPECT_EQ(device->Read64(page + 4088), 0x2222222222222222u);
    Expect(ReadAt(Virtual(kVa + VTTM_PAGE_SIZE + 100)), VTTM_FAULT_NOT_VALID, false,
           kVa + VTTM_PAGE_SIZE + 100);
    // Entries of levels 1, 2, 3 that are not there.
    ExpectFill(VTTM_FAULT_NOT_VALID, kVa + (1ull << 21));
    ExpectFill(VTTM_FAULT_NOT_VALID, kVa + (1ull << 30));
    ExpectFill(VTTM_FAULT_NOT_VALID, kVa + (1ull << 39));
}

TEST_F(Fault, ReadOnlyStopsWritesOnly) {
    vm->Map(kVa + 4096, page, 4096, Leaf::k4K, 0);
    EXPECT_EQ(copy->Run(Program().SetVm(kVm).Append(ReadAt(Virtual(kVa + 4096)))), 0u);
    ExpectFill(VTTM_FAULT_READ_ONLY, kVa + 4096 + 64);
}

TEST_F(Fault, NoAccessStopsBoth) {
    vm->Set(kVa + 4096, 0, VTTM_PTE_NO_ACCESS | VTTM_PTE_WRITE | VTTM_PTE_VALID);
    ExpectFill(VTTM_FAULT_NO_ACCESS, kVa + 4096);
    Expect(ReadAt(Virtual(kVa + 4097)), VTTM_FAULT_NO_ACCESS, false, kVa + 4097);
    vm->Set(kVa + (2 << 20), 1, VTTM_PTE_NO_ACCESS | VTTM_PTE_LARGE | VTTM_PTE_VALID);
    ExpectFill(VTTM_FAULT_NO_ACCESS, kVa + (3 << 20));
}

TEST_F(Fault, ReservedBitsInALeafATableAndTheRoot) {
    const uint64_t leaf = AddressSpace::Pointer(page, VTTM_PTE_WRITE);
    for (const unsigned bit : {5u, 11u, 52u, 63u}) {
        vm->Set(kVa + bit * 4096, 0, leaf | 1ull << bit);
        ExpectFill(VTTM_FAULT_RESERVED_BITS, kVa + bit * 4096);
    }
    const uint64_t table = AddressSpace::Pointer(vm->NewTable());
    vm->Set(kVa + (2 << 20), 1, table | VTTM_PTE_NO_ACCESS);
    ExpectFill(VTTM_FAULT_RESERVED_BITS, kVa + (2 << 20));
    vm->Set(kVa + (1ull << 30), 2, table | 1ull << 7);
    ExpectFill(VTTM_FAULT_RESERVED_BITS, kVa + (1ull << 30));
    // In an entry without VALID they are the driver's.
    vm->Set(kVa + 64 * 4096, 0, ~1ull);
    ExpectFill(VTTM_FAULT_NOT_VALID, kVa + 64 * 4096);
    vm->WriteRoot(AddressSpace::Pointer(vm->root(), 1ull << 60));
    ASSERT_TRUE(device->Invalidate(VTTM_TLB_INV_VM, kVm));
    ExpectFill(VTTM_FAULT_RESERVED_BITS);
}

TEST_F(Fault, VirtualRanges) {
    constexpr uint64_t kEnd = 1ull << VTTM_VA_BITS;
    vm->Map(kEnd - 4096, page, 4096);
    EXPECT_EQ(copy->Run(Program().SetVm(kVm).Fill(Virtual(kEnd - 16), 16, 0)), 0u);
    ExpectFill(VTTM_FAULT_VA_RANGE, kEnd);
    ExpectFill(VTTM_FAULT_VA_RANGE, kEnd - 16, 20);
    ExpectFill(VTTM_FAULT_VA_RANGE, ~0ull - 15, 32);
    Expect(ReadAt(Virtual(kEnd)), VTTM_FAULT_VA_RANGE, false, kEnd);
}

TEST_F(Fault, VramRangesOfOperandsLeavesAndTables) {
    const uint64_t end = device->vram_size();
    EXPECT_EQ(copy->Run(Program().Fill(Vram(end - 8), 8, 0)), 0u);
    Expect(Program().Fill(Vram(end), 4, 0), VTTM_FAULT_VRAM_RANGE, true, end);
    EXPECT_EQ(copy->Run(Program().Fill(Vram(end - 8), 8, 0x66666666)), 0u);
    Expect(Program().Fill(Vram(end - 8), 12, 0), VTTM_FAULT_VRAM_RANGE, true, end - 8);
    EXPECT_EQ(copy->Run(Program().Copy(page, Vram(end - 8), 8)), 0u);
    EXPECT_EQ(device->Read64(page), 0x6666666666666666u) << "a range beyond its space: not started";
    Expect(ReadAt(Vram(~0ull - 3), 8), VTTM_FAULT_VRAM_RANGE, false, ~0ull - 3);
    vm->Set(kVa + 4096, 0, AddressSpace::Pointer(Vram(end), VTTM_PTE_WRITE));
    ExpectFill(VTTM_FAULT_VRAM_RANGE, kVa + 4096 + 4);
    vm->Set(kVa + (2 << 20), 1, AddressSpace::Pointer(Vram(end)));
    ExpectFill(VTTM_FAULT_VRAM_RANGE, kVa + (2 << 20));
}

TEST_F(Fault, BusAddressesThatAreNoRam) {
    for (const uint64_t bus : {kHole, device->regs(), device->CpuAddress(Vram(0))}) {
        Expect(Program().Fill(System(bus), 4, 0), VTTM_FAULT_BUS, true, bus);
        Expect(ReadAt(System(bus)), VTTM_FAULT_BUS, false, bus);
        vm->Set(kVa + 4096, 0, AddressSpace::Pointer(System(bus), VTTM_PTE_WRITE));
        ExpectFill(VTTM_FAULT_BUS, kVa + 4096);
        vm->Set(kVa + 4096, 0, 0);
        ASSERT_TRUE(device->Invalidate(VTTM_TLB_INV_RANGE, kVm, kVa + 4096, 1));
    }
    vm->Set(kVa + (2 << 20), 1, AddressSpace::Pointer(System(kHole)));  // a table
    ExpectFill(VTTM_FAULT_BUS, kVa + (2 << 20));
    Expect(Program().Fill(System(~0ull - 15), 32, 0), VTTM_FAULT_BUS, true, ~0ull - 15);  // wraps
}

TEST_F(Fault, NoVm) {
    Expect(Program().Fill(Virtual(kVa), 4, 0), VTTM_FAULT_NO_VM, true, kVa, VTTM_NO_VM);
    // A VM without a root may be current; an access shows it.
    const vttm_fault_record r =
        OneFault(*copy, Program().SetVm(34).Append(ReadAt(Virtual(kVa))), VTTM_FAULT_NO_VM);
    EXPECT_EQ(VTTM_FAULT_INFO_VM(r.info), 34u);
    EXPECT_EQ(r.addr, kVa);
    // Out of range: the packet's bus address, and no VM is current behind it.
    EXPECT_EQ(copy->Run(Program().SetVm(kVm)), 0u);
    const uint32_t pos = copy->tail();
    const vttm_fault_record s = OneFault(*copy, Program().SetVm(VTTM_MAX_VMS), VTTM_FAULT_NO_VM);
    EXPECT_EQ(s.addr, copy->base() + pos);
    EXPECT_EQ(VTTM_FAULT_INFO_VM(s.info), VTTM_NO_VM);
    EXPECT_FALSE(s.info & VTTM_FAULT_INFO_WRITE);
    Expect(Program().Fill(Virtual(kVa), 4, 0), VTTM_FAULT_NO_VM, true, kVa, VTTM_NO_VM);
    // Refused for a flag: likewise.
    EXPECT_EQ(copy->Run(Program().SetVm(kVm)), 0u);
    Expect(Program().Put(VTTM_OP_SET_VM, 1u << 5, vttm_pkt_set_vm{0, kVm}), VTTM_FAULT_BAD_PACKET,
           false, copy->base() + copy->tail(), VTTM_NO_VM);
    Expect(Program().Fill(Virtual(kVa), 4, 0), VTTM_FAULT_NO_VM, true, kVa, VTTM_NO_VM);
}

TEST_F(Fault, LargeLeavesThatAreNone) {
    const Place big = Vram(device->AllocVram(4 << 20, 2 << 20));
    const uint64_t large = VTTM_PTE_LARGE | VTTM_PTE_WRITE;
    vm->Set(kVa + (1ull << 30), 2, AddressSpace::Pointer(big, large));
    ExpectFill(VTTM_FAULT_LEAF_LEVEL, kVa + (1ull << 30));
    vm->Set(kVa + (1ull << 39), 3, AddressSpace::Pointer(big, large));
    ExpectFill(VTTM_FAULT_LEAF_LEVEL, kVa + (1ull << 39));
    vm->Set(kVa + (2 << 20), 1, AddressSpace::Pointer(big + 65536, large));
    ExpectFill(VTTM_FAULT_LEAF_ALIGN, kVa + (2 << 20));

    const uint64_t at = kVa + 65536;
    vm->Map(at, big + 4096, 65536, Leaf::k64K);  // not from a multiple of 64 KiB on
    ExpectFill(VTTM_FAULT_LEAF_ALIGN, at);
    vm->Map(at, big, 65536, Leaf::k64K);
    vm->Set(at + 5 * 4096, 0,
            AddressSpace::Pointer(big + 5 * 4096, VTTM_PTE_LARGE));  // other rights
    ExpectFill(VTTM_FAULT_LEAF_MIXED, at + 4096);
    vm->Set(at + 5 * 4096, 0,
            AddressSpace::Pointer(big + 5 * 4096, VTTM_PTE_WRITE));  // one of them is small
    ExpectFill(VTTM_FAULT_LEAF_MIXED, at);
    EXPECT_EQ(copy->Run(Program().SetVm(kVm).Fill(Virtual(at + 5 * 4096), 4, 0)), 0u)
        << "its own entry is a good one";
    vm->WriteRoot(AddressSpace::Pointer(vm->root(), VTTM_PTE_LARGE));
    ASSERT_TRUE(device->Invalidate(VTTM_TLB_INV_VM, kVm));
    ExpectFill(VTTM_FAULT_LEAF_LEVEL);
}

TEST_F(Fault, ChecksOfAnEntryComeInTheDocumentedOrder) {
    // Each entry has two faults or more; the first of the order counts.
    const uint64_t end = device->vram_size(), large = VTTM_PTE_LARGE;
    const auto leaf = [&](uint64_t entry, uint32_t reason) {
        vm->Set(kVa + 32 * 4096, 0, entry);
        ExpectFill(reason, kVa + 32 * 4096);
        vm->Set(kVa + 32 * 4096, 0, 0);
        ASSERT_TRUE(device->Invalidate(VTTM_TLB_INV_VM, kVm));
    };
    leaf(1ull << 5 | VTTM_PTE_NO_ACCESS, VTTM_FAULT_NOT_VALID);
    leaf(VTTM_PTE_VALID | 1ull << 5 | large | 4096, VTTM_FAULT_RESERVED_BITS);
    leaf(VTTM_PTE_VALID | large | 4096, VTTM_FAULT_LEAF_ALIGN);
    leaf(VTTM_PTE_VALID | large | VTTM_PTE_NO_ACCESS, VTTM_FAULT_LEAF_MIXED);
    leaf(VTTM_PTE_VALID | VTTM_PTE_NO_ACCESS | end, VTTM_FAULT_NO_ACCESS);
    leaf(VTTM_PTE_VALID | end, VTTM_FAULT_READ_ONLY);
    leaf(VTTM_PTE_VALID | VTTM_PTE_WRITE | end, VTTM_FAULT_VRAM_RANGE);
    vm->Set(kVa + (1ull << 30), 2, VTTM_PTE_VALID | large | 1ull << 6);
    ExpectFill(VTTM_FAULT_RESERVED_BITS, kVa + (1ull << 30));
}

TEST_F(Fault, RowsAndPiecesBeforeTheFaultAreDone) {
    // Rows of 1200 bytes at a pitch of 1536: row 2 begins in the first page and ends in the one
    // that is not there.
    Expect(Program().Fill2d(Virtual(kVa), 1536, 1200, 3, 0x12121212), VTTM_FAULT_NOT_VALID, true,
           kVa + 4096);
    for (const uint64_t at : {0u, 1192u, 1536u, 2728u, 3072u, 4088u}) {
        EXPECT_EQ(device->Read64(page + at), 0x1212121212121212u) << at;
    }
    EXPECT_EQ(device->Read64(page + 1200), 0u);

    const Place from = System(device->AllocSystem(4096)), list = System(device->AllocSystem(4096));
    const std::vector<uint8_t> bytes = Random(4096);
    device->Write(from, bytes);
    const vttm_sg_entry pieces[] = {{kVa + 8, 100, 0}, {kVa + 4000, 200, 0}, {kVa + 500, 50, 0}};
    device->Write(list, {reinterpret_cast<const uint8_t*>(pieces), sizeof pieces});
    Expect(Program().Scatter(VTTM_SPACE_VM, from, list, 3), VTTM_FAULT_NOT_VALID, true, kVa + 4096);
    EXPECT_EQ(device->Read(page + 8, 100),
              std::vector<uint8_t>(bytes.begin(), bytes.begin() + 100));
    EXPECT_EQ(device->Read(page + 4000, 96),
              std::vector<uint8_t>(bytes.begin() + 100, bytes.begin() + 196));
    EXPECT_EQ(device->Read64(page + 500), 0x1212121212121212u)
        << "the third piece comes after the second";
}

TEST_F(Fault, BadOperandsOfCopyPackets) {
    const Place b = System(device->AllocSystem(8192));
    const Program bad[] = {
        Program().Fill(page + 2, 4, 0),
        Program().Fill(page, 6, 0),
        Program().Fill(page, 0, 0),
        Program().Fill(page, (1ull << 32) + 4, 0),
        Program().Fill({3, 0}, 4, 0),
        Program().Copy(page, b, 0),
        Program().Copy(page, b, (1ull << 32) + 1),
        Program().Copy(page, {3, 0}, 8),
        Program().Copy2d(page, 16, b, 16, 0, 4),
        Program().Copy2d(page, 16, b, 16, 16, 0),
        Program().Copy2d(page, 15, b, 16, 16, 4),
        Program().Copy2d(page, 16, b, 15, 16, 4),
        Program().Copy2d(page, 1u << 31, b, 1u << 31, 1u << 31, 3),
        Program().Fill2d(page + 1, 16, 16, 2, 0),
        Program().Fill2d(page, 18, 16, 2, 0),
        Program().Fill2d(page, 16, 14, 2, 0),
        Program().Put(VTTM_OP_FILL, VTTM_PKT_DST(VTTM_SPACE_VRAM) | 1u << 6,
                      vttm_pkt_fill{0, Lo(page.address), 0, 4, 0, 0}),
        Program().Put(VTTM_OP_FENCE, 1u << 0,
                      vttm_pkt_fence{0, Lo(b.address), Hi(b.address), 1, 0}),
        Program().Fence(b.address + 8, 1),
    };
    for (const Program& p : bad) {
        SCOPED_TRACE(testing::Message() << std::hex << p.dwords()[0] << " " << p.dwords()[1]);
        const uint64_t at = copy->base() + ((copy->tail() + 8) & (copy->bytes() - 1));
        Expect(p, VTTM_FAULT_BAD_PACKET, false, at);
    }
    EXPECT_EQ(device->Read64(b), 0u);
}

TEST_F(Fault, AFenceThatCannotBeWrittenLeavesItToTheNext) {
    const uint64_t last = copy->seq();
    copy->Submit(Program().Fence(kHole, 77, true));
    ASSERT_TRUE(Poll([&] { return device->Rd(VTTM_REG_FAULT_COUNT) == 1; }));
    ASSERT_TRUE(copy->WaitIdle());
    EXPECT_EQ(copy->Rd64(VTTM_ENG_LAST_FENCE_LO), last);
    EXPECT_EQ(device->Rd(VTTM_REG_IRQ_STATUS), VTTM_IRQ_ERROR);
    const vttm_fault_record r = device->TakeFaults().at(0);
    EXPECT_EQ(VTTM_FAULT_INFO_REASON(r.info), static_cast<uint32_t>(VTTM_FAULT_BUS));
    EXPECT_TRUE(r.info & VTTM_FAULT_INFO_WRITE);
    EXPECT_EQ(r.addr, kHole);
    EXPECT_EQ(copy->Run(Program().Fill(page, 4, 5)), static_cast<uint32_t>(VTTM_FAULT_BUS));
    EXPECT_EQ(device->Read64(page), 0u) << "skipped";
    faults = 1;
}

TEST_F(Fault, FirstIsLatchedInTheRegistersAllAreCounted) {
    ExpectFill(VTTM_FAULT_NOT_VALID, kVa + 4096);
    Expect(Program().Fill(page + 1, 4, 0), VTTM_FAULT_BAD_PACKET, false,
           copy->base() + copy->tail() + 8);
    EXPECT_EQ(device->Rd(VTTM_REG_FAULT_STATUS), VTTM_FAULT_STATUS_VALID);
    EXPECT_EQ(VTTM_FAULT_INFO_REASON(device->Rd(VTTM_REG_FAULT_INFO)),
              static_cast<uint32_t>(VTTM_FAULT_NOT_VALID));
    EXPECT_EQ(device->Rd64(VTTM_REG_FAULT_ADDR_LO), kVa + 4096);
    EXPECT_EQ(device->Rd(VTTM_REG_FAULT_COUNT), 2u);
    device->Wr(VTTM_REG_FAULT_STATUS, VTTM_FAULT_STATUS_VALID);
    EXPECT_EQ(device->Rd(VTTM_REG_FAULT_STATUS), 0u);
    ExpectFill(VTTM_FAULT_NOT_VALID, kVa + 8192);
    EXPECT_EQ(device->Rd64(VTTM_REG_FAULT_ADDR_LO), kVa + 8192);
}

TEST_F(Fault, AJobsErrorStaysInTheJobAndSetVmIsObeyedMeanwhile) {
    AddressSpace other(*device, 44);
    other.Map(kVa, page, 4096);
    // The error is first; SET_VM behind it is obeyed though packets are skipped, the FILL is not.
    OneFault(*copy,
             Program().SetVm(kVm).Fill(Vram(1), 4, 0).SetVm(44).Fill(Virtual(kVa), 8, 0x77777777),
             VTTM_FAULT_BAD_PACKET);
    EXPECT_EQ(device->Read64(page), 0u);
    EXPECT_EQ(copy->Run(Program().Fill(Virtual(kVa), 8, 0x88888888)), 0u) << "VM 44 is current";
    EXPECT_EQ(device->Read64(page), 0x8888888888888888u);
}

TEST_F(Fault, TheRingOfRecordsFillsLosesAndGoesOn) {
    constexpr uint32_t kRecords = VTTM_FAULT_RING_MIN_SIZE / VTTM_FAULT_RECORD_SIZE;
    for (uint32_t i = 0; i < kRecords + 6; i++) {
        EXPECT_EQ(copy->Run(Program().Fill(page + 1, 4, 0)),
                  static_cast<uint32_t>(VTTM_FAULT_BAD_PACKET));
    }
    faults = kRecords + 6;
    EXPECT_EQ(device->Rd(VTTM_REG_FAULT_RING_PUT), kRecords);
    EXPECT_EQ(device->Rd(VTTM_REG_FAULT_RING_LOST), 6u);
    device->Wr(VTTM_REG_FAULT_RING_GET, kRecords + 1);
    EXPECT_EQ(device->Rd(VTTM_REG_BAD_ACCESS), ++bad_accesses) << "beyond PUT";
    std::vector<vttm_fault_record> records = device->TakeFaults();
    ASSERT_EQ(records.size(), kRecords);
    for (uint32_t i = 0; i < kRecords; i++) EXPECT_EQ(records[i].number, i);
    device->Wr(VTTM_REG_FAULT_RING_GET, kRecords - 1);
    EXPECT_EQ(device->Rd(VTTM_REG_BAD_ACCESS), ++bad_accesses) << "backwards";
    EXPECT_EQ(OneFault(*copy, Program().Fill(page + 1, 4, 0), VTTM_FAULT_BAD_PACKET).number,
              kRecords);
    EXPECT_TRUE(device->DisableFaultRing());
    device->EnableFaultRing(VTTM_FAULT_RING_MAX_SIZE);
    EXPECT_EQ(device->Rd(VTTM_REG_FAULT_RING_LOST), 0u);
    EXPECT_EQ(OneFault(*copy, Program().Fill(page + 1, 4, 0), VTTM_FAULT_BAD_PACKET).number, 0u);
}

}  // namespace
}  // namespace vttm::independent
