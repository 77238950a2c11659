// SPDX-License-Identifier: Apache-2.0
// What the guest's tests share: a balance check around each, access to the driver's debugfs, and
// small helpers over libvttm.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "guest-driver/libvttm/agent/system_files.h"
#include "guest-driver/libvttm/buffer.h"
#include "guest-driver/libvttm/device.h"
#include "guest-driver/libvttm/error.h"
#include "guest-driver/libvttm/job.h"
#include "guest-driver/libvttm/packets.h"
#include "guest-driver/libvttm/vm.h"
#include "protocol/vttm_regs.h"
#include "protocol/vttm_stamp.h"

namespace vttm::guest::test {

inline constexpr std::uint64_t kPage = 4096;
inline constexpr std::uint64_t kMib = 1u << 20;
inline constexpr std::uint64_t kKey = 0x1234'5678'9abc'def1;

using Stats = std::map<std::string, std::int64_t>;

Stats driver_stats(const SystemFiles& files);
// Asks vttm's shrinker for `pages`, and returns when it has done what it can; false if it cannot be reached.
bool shrink(const SystemFiles& files, std::uint64_t pages);
// What it has freed so far, by whatever way.
std::int64_t pages_given_back(const SystemFiles& files);

// A device file with an address space, buffers bound in it, and jobs.
class Gpu {
public:
    struct Bound {
        Buffer buffer;
        Binding binding;

        std::uint64_t va() const { return binding.va(); }
        std::uint64_t size() const { return buffer.size(); }
    };

    Gpu() : device(Device::find_node()), vm(device) {}

    Bound create(std::uint64_t bytes, std::uint32_t domains = VTTM_DOMAIN_GTT,
                 std::uint32_t caching = VTTM_CACHING_WB, std::uint32_t bind_flags = 0);

    // Submits and waits; the result of WAIT. A refused submit throws Error.
    JobResult run(std::uint32_t engine, const PacketBuilder& packets,
                  std::span<const Bound* const> buffers);
    JobResult run(std::uint32_t engine, const PacketBuilder& packets,
                  std::initializer_list<const Bound*> buffers) {
        return run(engine, packets, std::span(buffers.begin(), buffers.size()));
    }
    // The errno of SUBMIT; a job that was let through is waited for.
    int submit_errno(std::uint32_t engine, const PacketBuilder& packets,
                     std::initializer_list<const Bound*> buffers = {});

    void fill(const Bound& buffer, std::uint32_t value);  // expects success
    void stamp(const Bound& buffer, std::uint32_t id, std::uint32_t generation = 1);
    vttm_stamp_result verify(const Bound& buffer, std::uint32_t id, std::uint32_t generation = 1);
    // Checks on the device and the CPU that all pages are good.
    void expect_stamped(const Bound& buffer, std::uint32_t id, std::uint32_t generation = 1);

    Device device;
    Vm vm;
};

// Each test must give back all it took: buffers, mappings, address spaces; and must not make the
// device use a stale translation.
class GuestTest : public ::testing::Test {
protected:
    void SetUp() override;
    void TearDown() override;

    // Fails if the device has used a stale translation since the test began, or was forgiven.
    void expect_no_stale() const;
    void forgive_stale();

    SystemFiles files;

private:
    Stats before_;
    std::uint64_t stale_before_ = 0;
};

std::uint32_t count_unequal(const Mapping& mapping, std::uint32_t value);

}  // namespace vttm::guest::test
