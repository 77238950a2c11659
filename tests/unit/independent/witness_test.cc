// SPDX-License-Identifier: Apache-2.0
// The witness log as vttm_witness.h describes it, read with a reader of its own.
#include "protocol/vttm_stamp.h"
#include "protocol/vttm_witness.h"
#include "tests/unit/independent/fixture.h"

namespace vttm::independent {
namespace {

constexpr uint64_t kVa = 0x1234500000;
constexpr uint32_t kVm = 17;

class WitnessLog : public IndependentDriver {
protected:
    MachineConfig config() const override { return {.witness = true}; }
    std::vector<vttm_witness_record> Records() {
        const std::vector<uint8_t> bytes = wire->WitnessLog();
        vttm_witness_header header{};
        if (bytes.size() < sizeof header) {
            ADD_FAILURE() << "no header";
            return {};
        }
        std::memcpy(&header, bytes.data(), sizeof header);
        EXPECT_EQ(header.magic, VTTM_WITNESS_MAGIC);
        EXPECT_EQ(header.version, VTTM_WITNESS_VERSION);
        EXPECT_EQ(header.record_size, sizeof(vttm_witness_record));
        std::vector<vttm_witness_record> out((bytes.size() - sizeof header) /
                                             sizeof(vttm_witness_record));
        std::memcpy(out.data(), bytes.data() + sizeof header, out.size() * sizeof out[0]);
        return out;
    }
};

TEST_F(WitnessLog, TellsOfStampsTheirPlacesAndWhatWentWrong) {
    EXPECT_TRUE(device->features() & VTTM_FEATURE_WITNESS);
    AddressSpace vm(*device, kVm);
    const Place first = System(device->AllocSystem(2 * VTTM_PAGE_SIZE)),
                third = Vram(device->AllocVram(VTTM_PAGE_SIZE));
    vm.Map(kVa, first, 2 * VTTM_PAGE_SIZE);
    vm.Map(kVa + 2 * VTTM_PAGE_SIZE, third, VTTM_PAGE_SIZE);
    const StampRun run{.npages = 3, .buffer = 21, .generation = 4, .page = 500};
    const Place result = System(device->AllocSystem(64, 64));
    EXPECT_EQ(stamp->Run(Program().SetVm(kVm).StampWrite(Virtual(kVa), run)), 0u);
    device->Write(third, std::vector<uint8_t>(VTTM_PAGE_SIZE, 0));
    EXPECT_EQ(stamp->Run(Program().StampVerify(Virtual(kVa), run, result)), 0u);

    // Two pages in a row are one record, the third one lies elsewhere. All is in the log before the
    // FENCE.
    std::vector<vttm_witness_record> r = Records();
    ASSERT_EQ(r.size(), 4u);
    for (unsigned i = 0; i < 4; i++) {
        const bool second = i % 2;
        EXPECT_EQ(r[i].kind,
                  static_cast<uint32_t>(i < 2 ? VTTM_WITNESS_WRITE : VTTM_WITNESS_VERIFY));
        EXPECT_EQ(r[i].buffer, run.buffer);
        EXPECT_EQ(r[i].generation, run.generation);
        EXPECT_EQ(r[i].page, second ? 502u : 500u);
        EXPECT_EQ(r[i].npages, second ? 1u : 2u);
        EXPECT_EQ(r[i].va, second ? kVa + 2 * VTTM_PAGE_SIZE : kVa);
        EXPECT_EQ(r[i].phys, second ? third.address : first.address);
        EXPECT_EQ(r[i].space, second ? VTTM_SPACE_VRAM : VTTM_SPACE_SYSTEM);
        EXPECT_EQ(r[i].engine_vm, VTTM_ENGINE_STAMP << 16 | kVm);
    }
    EXPECT_EQ(r[2].stamp_class, static_cast<uint32_t>(VTTM_STAMP_GOOD));
    EXPECT_EQ(r[3].stamp_class, static_cast<uint32_t>(VTTM_STAMP_ZERO));

    // A stale use names the old place, a fault its reason.
    vm.Unmap(kVa, VTTM_PAGE_SIZE);
    EXPECT_EQ(stamp->Run(Program().StampVerify(
                  Virtual(kVa), {.npages = 1, .buffer = 21, .generation = 4, .page = 500}, result)),
              0u);
    stale = 1;
    OneFault(*stamp, Program().StampVerify(Virtual(kVa + 3 * VTTM_PAGE_SIZE), run, result),
             VTTM_FAULT_NOT_VALID);
    r = Records();
    const auto find = [&](uint32_t kind) {
        return std::find_if(r.begin(), r.end(), [&](const auto& x) { return x.kind == kind; });
    };
    ASSERT_NE(find(VTTM_WITNESS_STALE), r.end());
    EXPECT_EQ(find(VTTM_WITNESS_STALE)->phys, first.address);
    EXPECT_EQ(find(VTTM_WITNESS_STALE)->va, kVa);
    ASSERT_NE(find(VTTM_WITNESS_FAULT), r.end());
    EXPECT_EQ(find(VTTM_WITNESS_FAULT)->stamp_class, static_cast<uint32_t>(VTTM_FAULT_NOT_VALID));
    EXPECT_EQ(find(VTTM_WITNESS_FAULT)->va, kVa + 3 * VTTM_PAGE_SIZE);
}

}  // namespace
}  // namespace vttm::independent
