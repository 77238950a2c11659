// SPDX-License-Identifier: Apache-2.0
// The invalidation rule: kept by each kind of command, and seen by the device when it is broken.
#include "tests/unit/independent/fixture.h"
#include "tests/unit/independent/long_job.h"

namespace vttm::independent {
namespace {

constexpr uint64_t kVa = 0x3c0000000000;
constexpr uint32_t kVm = 5;

class Tlb : public IndependentDriver {
protected:
    void SetUp() override {
        IndependentDriver::SetUp();
        if (!device) return;
        vm = std::make_unique<AddressSpace>(*device, kVm);
        old_page = System(device->AllocSystem(VTTM_PAGE_SIZE));
        new_page = System(device->AllocSystem(VTTM_PAGE_SIZE));
        vm->Map(kVa, old_page, VTTM_PAGE_SIZE);
    }
    /// Writes a fresh number through kVa; the status. *into is where it landed (nullopt: nowhere).
    uint32_t Touch(std::optional<Place>* into = nullptr) {
        number++;
        const uint32_t status = copy->Run(Program().SetVm(kVm).Fill(Virtual(kVa), 4, number));
        for (const Place& p : {old_page, new_page}) {
            if (into && static_cast<uint32_t>(device->Read64(p)) == number) *into = p;
        }
        return status;
    }
    bool LandsIn(Place page) {
        std::optional<Place> into;
        return Touch(&into) == 0 && into && into->address == page.address;
    }
    std::unique_ptr<AddressSpace> vm;
    Place old_page, new_page;
    uint32_t number = 0;
};

TEST_F(Tlb, EachScopeMakesTheNewEntryCount) {
    struct Scope {
        uint32_t scope, vm, pages;
        uint64_t va;
    };
    const Scope scopes[] = {
        {VTTM_TLB_INV_ALL, 0, 0, 0},
        {VTTM_TLB_INV_VM, kVm, 0, 0},
        {VTTM_TLB_INV_RANGE, kVm, 1, kVa},
        {VTTM_TLB_INV_RANGE, kVm, 1, kVa + 4095},  // rounded down
        {VTTM_TLB_INV_RANGE, kVm, 3, kVa - VTTM_PAGE_SIZE},
        {VTTM_TLB_INV_RANGE, kVm, ~0u, 0x3b0000000000}};  // ends beyond the address space
    for (const Scope& s : scopes) {
        EXPECT_TRUE(LandsIn(old_page));
        vm->Map(kVa, new_page, VTTM_PAGE_SIZE);
        ASSERT_TRUE(device->Invalidate(s.scope, s.vm, s.va, s.pages));
        EXPECT_TRUE(LandsIn(new_page)) << "scope " << s.scope << " pages " << s.pages;
        std::swap(old_page, new_page);
    }
    EXPECT_EQ(device->Rd(VTTM_REG_TLB_INV_DONE), std::size(scopes))
        << "each command adds exactly one";
    vm->Unmap(kVa, VTTM_PAGE_SIZE);
    ASSERT_TRUE(device->Invalidate(VTTM_TLB_INV_RANGE, kVm, kVa, 1));
    EXPECT_EQ(
        OneFault(*copy, Program().SetVm(kVm).Fill(Virtual(kVa), 4, 0), VTTM_FAULT_NOT_VALID).addr,
        kVa);
}

TEST_F(Tlb, ForgottenInvalidationGoesToTheOldPageAndIsCounted) {
    EXPECT_TRUE(LandsIn(old_page));
    vm->Map(kVa, new_page, VTTM_PAGE_SIZE);
    EXPECT_TRUE(LandsIn(old_page));
    EXPECT_EQ(device->Rd(VTTM_REG_STALE_COUNT), 1u);
    vm->Unmap(kVa, VTTM_PAGE_SIZE);
    EXPECT_TRUE(LandsIn(old_page)) << "cleared, and used all the same";
    EXPECT_EQ(device->Rd(VTTM_REG_STALE_COUNT), 2u);
    EXPECT_EQ(device->Counter(VTTM_ENGINE_COPY, VTTM_CNT_STALE), 2u);
    stale = 2;
}

TEST_F(Tlb, ARangeOfNoPagesDropsNothing) {
    EXPECT_TRUE(LandsIn(old_page));
    vm->Map(kVa, new_page, VTTM_PAGE_SIZE);
    ASSERT_TRUE(device->Invalidate(VTTM_TLB_INV_RANGE, kVm, kVa, 0));
    EXPECT_EQ(device->Rd(VTTM_REG_TLB_INV_DONE), 1u);
    EXPECT_TRUE(LandsIn(old_page));
    stale = 1;
}

TEST_F(Tlb, NeitherSetVmNorResetsOfTheEngineForget) {
    AddressSpace other(*device, kVm + 1);
    EXPECT_TRUE(LandsIn(old_page));
    vm->Map(kVa, new_page, VTTM_PAGE_SIZE);
    EXPECT_EQ(copy->Run(Program().SetVm(kVm + 1)), 0u);
    EXPECT_TRUE(LandsIn(old_page));
    ASSERT_TRUE(copy->Reset(VTTM_ENG_CTRL_RING_RESET));
    EXPECT_TRUE(LandsIn(old_page));
    ASSERT_TRUE(copy->Reset(VTTM_ENG_CTRL_RESET));
    EXPECT_TRUE(LandsIn(old_page));
    vm->WriteRoot(AddressSpace::Pointer(vm->root()));
    EXPECT_TRUE(LandsIn(old_page));
    stale = 4;
}

TEST_F(Tlb, RightsCountAsAddressesDo) {
    vm->Map(kVa, old_page, VTTM_PAGE_SIZE, Leaf::k4K, 0);
    EXPECT_EQ(copy->Run(Program().SetVm(kVm).Copy(new_page, Virtual(kVa), 8)), 0u);
    vm->Map(kVa, old_page, VTTM_PAGE_SIZE);  // gives WRITE, and forgets
    OneFault(*copy, Program().SetVm(kVm).Fill(Virtual(kVa), 4, 0), VTTM_FAULT_READ_ONLY);
    EXPECT_EQ(device->Rd(VTTM_REG_STALE_COUNT), 1u);
    ASSERT_TRUE(device->Invalidate(VTTM_TLB_INV_RANGE, kVm, kVa, 1));
    EXPECT_TRUE(LandsIn(old_page));
    stale = 1;
}

TEST_F(Tlb, UpperEntriesAndTheRootAreCachedToo) {
    // A second tree, made beforehand, that leads to the new page; then single entries are turned
    // over to it.
    AddressSpace twin(*device, kVm + 1);
    twin.Map(kVa, new_page, VTTM_PAGE_SIZE);
    for (const int level : {1, 2, 3}) {
        const uint64_t was = vm->Get(kVa, level);
        EXPECT_TRUE(LandsIn(old_page));
        vm->Set(kVa, level, twin.Get(kVa, level));
        EXPECT_TRUE(LandsIn(old_page)) << "level " << level;
        EXPECT_EQ(device->Rd(VTTM_REG_STALE_COUNT), ++stale);
        ASSERT_TRUE(device->Invalidate(VTTM_TLB_INV_RANGE, kVm, kVa, 1));
        EXPECT_TRUE(LandsIn(new_page));
        vm->Set(kVa, level, was);
        ASSERT_TRUE(device->Invalidate(VTTM_TLB_INV_RANGE, kVm, kVa, 1));
    }
    EXPECT_TRUE(LandsIn(old_page));
    vm->WriteRoot(AddressSpace::Pointer(twin.root()));
    EXPECT_TRUE(LandsIn(old_page));
    EXPECT_EQ(device->Rd(VTTM_REG_STALE_COUNT), ++stale);
    ASSERT_TRUE(device->Invalidate(VTTM_TLB_INV_VM, kVm));
    EXPECT_TRUE(LandsIn(new_page));
}

TEST_F(Tlb, AnyPageOfALargeLeafDropsItWhole) {
    for (const Leaf leaf : {Leaf::k64K, Leaf::k2M}) {
        const uint64_t size = static_cast<uint64_t>(leaf),
                       va = kVa + (4 << 20) + (leaf == Leaf::k2M ? 2 << 20 : 0);
        const Place first = Vram(device->AllocVram(size, size)),
                    second = Vram(device->AllocVram(size, size));
        vm->Map(va, first, size, leaf);
        EXPECT_EQ(copy->Run(Program().SetVm(kVm).Fill(Virtual(va), 8, 1)), 0u);
        vm->Unmap(va, size, leaf);
        ASSERT_TRUE(device->Invalidate(VTTM_TLB_INV_RANGE, kVm, va + size - VTTM_PAGE_SIZE, 1));
        vm->Map(va, second, size, leaf);
        EXPECT_EQ(copy->Run(Program().SetVm(kVm).Fill(Virtual(va), 8, 2)), 0u);
        EXPECT_EQ(device->Read64(first), 0x100000001u);
        EXPECT_EQ(device->Read64(second), 0x200000002u);
    }
}

TEST_F(Tlb, SplittingALargeLeafNeedsTheRuleAsWell) {
    const Place memory = Vram(device->AllocVram(2 << 20, 2 << 20));
    const uint64_t va = kVa + (2 << 20);
    vm->Map(va, memory, 2 << 20, Leaf::k2M);
    EXPECT_EQ(copy->Run(Program().SetVm(kVm).Fill(Virtual(va), 8, 1)), 0u);
    const Place table = vm->NewTable();
    for (uint64_t i = 0; i < VTTM_PT_ENTRIES; i++) {
        device->Write64(table + i * 8,
                        AddressSpace::Pointer(memory + i * VTTM_PAGE_SIZE, VTTM_PTE_WRITE));
    }
    vm->Set(va, 1, AddressSpace::Pointer(table));  // every page stays where it is, and yet
    EXPECT_EQ(copy->Run(Program().SetVm(kVm).Fill(Virtual(va), 8, 2)), 0u);
    EXPECT_EQ(device->Rd(VTTM_REG_STALE_COUNT), 1u);
    stale = 1;
    // The right way: through an invalid entry and an invalidation.
    vm->Set(va, 1, 0);
    ASSERT_TRUE(device->Invalidate(VTTM_TLB_INV_RANGE, kVm, va, 1));
    vm->Set(va, 1, AddressSpace::Pointer(table));
    EXPECT_EQ(copy->Run(Program().SetVm(kVm).Fill(Virtual(va), 8, 3)), 0u);
    EXPECT_EQ(device->Read64(memory), 0x300000003u);
}

TEST_F(Tlb, EachEngineHasItsOwn) {
    const Place result = System(device->AllocSystem(16));
    EXPECT_TRUE(LandsIn(old_page));
    vm->Map(kVa, new_page, VTTM_PAGE_SIZE);
    // The stamp engine has never been there: it sees the new entry, and that is no stale use.
    EXPECT_EQ(stamp->Run(Program().SetVm(kVm).StampWrite(Virtual(kVa), {})), 0u);
    EXPECT_NE(device->Read64(new_page), 0u);
    EXPECT_EQ(device->Rd(VTTM_REG_STALE_COUNT), 0u);
    EXPECT_EQ(stamp->Run(Program().Hash(new_page, 1, 0, result)), 0u);
    ASSERT_TRUE(device->Invalidate(VTTM_TLB_INV_RANGE, kVm, kVa, 1));  // for both at once
    EXPECT_TRUE(LandsIn(new_page));
}

TEST_F(Tlb, InvalidEntriesAreNotCached) {
    OneFault(*copy, Program().SetVm(kVm).Fill(Virtual(kVa + VTTM_PAGE_SIZE), 4, 0),
             VTTM_FAULT_NOT_VALID);
    vm->Map(kVa + VTTM_PAGE_SIZE, new_page, VTTM_PAGE_SIZE);
    EXPECT_EQ(copy->Run(Program().SetVm(kVm).Fill(Virtual(kVa + VTTM_PAGE_SIZE), 4, 9)), 0u);
    EXPECT_EQ(static_cast<uint32_t>(device->Read64(new_page)), 9u);
}

TEST_F(Tlb, ABusyEngineObeysAfterItsChunk) {
    LongJob job(*device, kVm + 1);
    copy->Put(job.Fills(4, 30));
    const uint64_t seq = copy->Fence();
    for (int i = 0; i < 20; i++) ASSERT_TRUE(device->Invalidate(VTTM_TLB_INV_ALL));
    EXPECT_FALSE(copy->Done(seq));
    ASSERT_TRUE(copy->Reset(VTTM_ENG_CTRL_RESET));
}

}  // namespace
}  // namespace vttm::independent
