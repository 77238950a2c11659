// SPDX-License-Identifier: Apache-2.0
// Behind an IOMMU that forgets at once what is unmapped: a driver bug by order has the device use
// an address that it was told to forget. Runs in a machine of its own
// (host-backend/cli/stages/guest_tests.cc).
#include <filesystem>
#include <sstream>
#include <string>

#include "tests/guest/guest_test.h"

namespace vttm::guest::test {
namespace {

namespace fs = std::filesystem;

class IommuTest : public GuestTest {
protected:
    void SetUp() override {
        GuestTest::SetUp();
        const fs::path device =
            fs::path("/sys/class/drm") / fs::path(Device::find_node()).filename() / "device";
        ASSERT_TRUE(fs::exists(device / "iommu_group")) << "the device is not behind an IOMMU";
        directory_ = find_driver_debugfs(files);
    }

    // Takes the pages of @buffer away, and with them what the bus knows of them; the device is not
    // told.
    void take_pages_silently(const Gpu::Bound& buffer) {
        files.write(directory_ + "/unsafe_skip_invalidation", "Y");
        for (int i = 0; i < 20 && buffer.buffer.info().place != VTTM_PLACE_BACKUP; ++i)
            ASSERT_TRUE(shrink(files, 2048));
        files.write(directory_ + "/unsafe_skip_invalidation", "N");
        ASSERT_EQ(buffer.buffer.info().place, std::uint32_t{VTTM_PLACE_BACKUP});
    }
    // Brings the pages back, and tells the device.
    void bring_back(Gpu& gpu, const Gpu::Bound& buffer) {
        ASSERT_EQ(gpu.run(VTTM_ENGINE_COPY, PacketBuilder().nop(), {&buffer}).error, 0);
        ASSERT_EQ(gpu.vm.try_unmap(buffer.va()), 0);
        ASSERT_EQ(gpu.vm.try_map(buffer.buffer.handle(), buffer.va()), 0);
    }
    // What the last fault is to be: a write or a read of the bus that had nobody behind it.
    void expect_bus_fault(const JobResult& done, const char* access, std::uint64_t va) {
        EXPECT_EQ(done.error, EIO);
        EXPECT_EQ(done.reason, std::uint32_t{VTTM_FAULT_BUS});
        const std::string faults = files.read(directory_ + "/vttm_faults");
        const std::string last = faults.substr(faults.rfind('\n', faults.size() - 2) + 1);
        const auto words = [&](const std::string& text) {
            return last.find(text) != std::string::npos;
        };
        EXPECT_TRUE(words(std::string(" ") + access + " 0x")) << last;
        EXPECT_TRUE(words(" reason 6 ")) << last;
        std::ostringstream address;
        address << "0x" << std::hex << va;
        EXPECT_TRUE(words(address.str())) << last;
    }

    std::string directory_;
};

TEST_F(IommuTest, PlantedAStaleAddressOfTheBusFaultsAndHurtsNobody) {
    Gpu gpu;
    const Gpu::Bound gone = gpu.create(16 * kPage, VTTM_DOMAIN_GTT);
    const Gpu::Bound other = gpu.create(16 * kPage, VTTM_DOMAIN_VRAM);
    for (const char* access : {"write", "read"}) {
        gpu.stamp(gone, 1);
        gpu.stamp(other, 2);
        // The copy engine, too, learns where it is.
        const JobResult learned = gpu.run(
            VTTM_ENGINE_COPY, PacketBuilder().copy(other.va(), gone.va(), kPage), {&gone, &other});
        ASSERT_EQ(learned.error, 0);
        gpu.stamp(other, 2);
        const std::uint64_t stale = gpu.device.param(VTTM_PARAM_STALE_COUNT);
        const std::uint64_t faults = gpu.device.param(VTTM_PARAM_FAULT_COUNT);
        take_pages_silently(gone);
        if (HasFatalFailure()) return;

        PacketBuilder packets;
        if (std::string(access) == "write")
            packets.fill(gone.va(), kPage, 0xbad);
        else
            packets.copy(other.va(), gone.va(), kPage);
        expect_bus_fault(gpu.run(VTTM_ENGINE_COPY, packets, {&other}), access, gone.va());
        EXPECT_EQ(gpu.device.param(VTTM_PARAM_FAULT_COUNT), faults + 1);
        EXPECT_GT(gpu.device.param(VTTM_PARAM_STALE_COUNT), stale);
        forgive_stale();

        bring_back(gpu, gone);
        if (HasFatalFailure()) return;
        gpu.expect_stamped(gone, 1);
        gpu.expect_stamped(other, 2);
        expect_no_stale();
    }
}

}  // namespace
}  // namespace vttm::guest::test
