// SPDX-License-Identifier: Apache-2.0
// What the agent needs of a GPU: the vttm device, or a fake one in tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "guest-driver/libvttm/packets.h"

namespace vttm::guest {

struct GpuInfo {
    std::uint32_t abi = 0;  // major << 16 | minor
    std::uint64_t vram_bytes = 0;
    std::uint64_t gtt_bytes = 0;
};

enum class Domain { kVram, kGtt };
enum class Caching { kWb, kWc, kUc };

struct BufferRequest {
    std::uint32_t id = 0;  // the buffer id of stamps
    std::uint64_t bytes = 0;
    Domain domain = Domain::kGtt;
    Caching caching = Caching::kWb;
};

// A buffer as the CPU sees it, for as long as this lives. Touching it may raise SIGBUS.
class CpuView {
public:
    virtual ~CpuView() = default;
    virtual std::span<std::byte> bytes() = 0;
};

// Each call throws Error. StampRange::buffer names the buffer by its id.
class GpuBackend {
public:
    virtual ~GpuBackend() = default;

    virtual GpuInfo info() = 0;
    virtual void create(const BufferRequest& request) = 0;
    virtual void destroy(std::uint32_t id) = 0;
    // The device stamps / checks all ranges as one job, with all their buffers resident; returns
    // when it is done. ENOMEM or ENOSPC: they do not all fit now.
    virtual void stamp(std::span<const StampRange> ranges) = 0;
    virtual std::vector<vttm_stamp_result> verify(std::span<const StampRange> ranges) = 0;
    // An empty job with these buffers: brings them to where the device reaches them. Same errors.
    virtual void make_resident(std::span<const StampRange> ranges) = 0;
    virtual std::unique_ptr<CpuView> map(std::uint32_t id) = 0;

    // Ranges that one job may have.
    static constexpr std::size_t kMaxRanges = 1024;
};

}  // namespace vttm::guest
