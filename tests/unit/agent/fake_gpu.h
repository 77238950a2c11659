// SPDX-License-Identifier: Apache-2.0
// A GpuBackend without a GPU: buffers are plain memory, the "device" is the stamp header.
#pragma once

#include <chrono>
#include <map>
#include <set>
#include <vector>

#include "guest-driver/libvttm/agent/gpu_backend.h"

namespace vttm::guest::test {

// What the test sees of the fake, and how it misbehaves. Outlives the backend.
struct FakeGpuState {
    struct Content {
        BufferRequest request;
        std::vector<std::uint64_t> words;  // 512 a page

        std::byte* page(std::uint64_t index) {
            return reinterpret_cast<std::byte*>(words.data() + index * 512);
        }
        std::uint64_t pages() const { return words.size() / 512; }
    };

    GpuInfo info{0x00010000, 256ull << 20, 512ull << 20};
    std::map<std::uint32_t, Content> buffers;
    std::vector<std::uint64_t> job_bytes;   // of each job that ran
    std::uint64_t fits_bytes = ~0ull;       // larger jobs fail with ENOMEM
    int failures_left = 0;                  // so many jobs fail with ENOMEM, whatever their size
    std::set<std::uint32_t> refuse_create;  // ids whose creation fails with ENOSPC
    bool drop_results = false;              // verify() leaves its results unwritten
    std::chrono::milliseconds job_time{0};
    bool short_mapping = false;  // mapped pages behind the first raise SIGBUS
};

class FakeGpu : public GpuBackend {
public:
    explicit FakeGpu(FakeGpuState& state) : state_(state) {}

    GpuInfo info() override { return state_.info; }
    void create(const BufferRequest& request) override;
    void destroy(std::uint32_t id) override;
    void stamp(std::span<const StampRange> ranges) override;
    std::vector<vttm_stamp_result> verify(std::span<const StampRange> ranges) override;
    void make_resident(std::span<const StampRange> ranges) override { run_job(ranges); }
    std::unique_ptr<CpuView> map(std::uint32_t id) override;

private:
    FakeGpuState::Content& content(std::uint32_t id);
    void run_job(std::span<const StampRange> ranges);

    FakeGpuState& state_;
};

}  // namespace vttm::guest::test
