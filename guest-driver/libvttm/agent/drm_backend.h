// SPDX-License-Identifier: Apache-2.0
// GpuBackend over the vttm driver.
#pragma once

#include <map>

#include "guest-driver/libvttm/agent/gpu_backend.h"
#include "guest-driver/libvttm/packets.h"
#include "guest-driver/libvttm/vm.h"

namespace vttm::guest {

class DrmBackend : public GpuBackend {
public:
    DrmBackend() : device_(Device::find_node()), vm_(device_) {}

    GpuInfo info() override;
    void create(const BufferRequest& request) override;
    void destroy(std::uint32_t id) override;
    void stamp(std::span<const StampRange> ranges) override;
    std::vector<vttm_stamp_result> verify(std::span<const StampRange> ranges) override;
    void make_resident(std::span<const StampRange> ranges) override;
    std::unique_ptr<CpuView> map(std::uint32_t id) override;

private:
    // Bound from creation to the end, as a driver's user would: eviction then has page tables and
    // TLB entries to take back.
    struct Bound {
        Buffer buffer;
        Binding binding;
    };

    const Bound& bound(std::uint32_t id) const;
    std::uint64_t address(const StampRange& range) const;
    std::vector<std::uint32_t> handles(std::span<const StampRange> ranges) const;
    // Submits and waits. buffers: handles of all that the packets touch.
    void run(std::uint32_t engine, const PacketBuilder& packets, std::span<const std::uint32_t> buffers);

    Device device_;
    Vm vm_;
    std::map<std::uint32_t, Bound> buffers_;
};

}  // namespace vttm::guest
