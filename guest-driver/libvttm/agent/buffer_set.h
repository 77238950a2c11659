// SPDX-License-Identifier: Apache-2.0
// The host's buffers: creating, filling and verifying them in batches that fit the device.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "guest-driver/libvttm/agent/gpu_backend.h"
#include "guest-driver/libvttm/agent/request.h"
#include "protocol/vttm_stamp.h"

namespace vttm::guest {

enum class Actor { kDevice, kCpu };

struct BadPage {
    std::uint32_t buffer = 0;
    std::uint64_t page = 0;
    vttm_stamp_class stamp_class = VTTM_STAMP_GARBAGE;
    std::optional<vttm_stamp_id> found;  // whose content it is, if that is known
};

// What the device said of one buffer with bad pages.
struct BadBuffer {
    std::uint32_t buffer = 0;
    std::uint64_t bad = 0;
    std::uint64_t first_bad_page = 0;
};

struct VerifyResult {
    std::uint64_t pages = 0;
    std::uint64_t good = 0;
    std::array<std::uint64_t, VTTM_STAMP_NUM_CLASSES> by_class = {};  // [GOOD] stays 0
    std::vector<BadPage> bad;                                         // at most kMaxListed
    std::vector<BadBuffer> bad_buffers;                               // by the device only
    std::uint64_t unlisted = 0;  // bad pages that are not in `bad`

    // Keeps a reply below Channel::kMaxLine.
    static constexpr std::size_t kMaxListed = 100'000;
};

struct FillRequest {
    IdSelection ids;
    std::uint32_t generation = 0;
    std::uint64_t key = 0;
    Actor by = Actor::kDevice;
};

struct VerifyRequest {
    IdSelection ids;
    std::uint32_t generation = 0;
    std::uint64_t key = 0;
    Actor by = Actor::kDevice;
    bool locate = false;  // by device: have it check the pages of bad buffers one by one
};

class BufferSet {
public:
    // Called after each batch with pages done and in all.
    using Progress = std::function<void(std::uint64_t done, std::uint64_t total)>;

    explicit BufferSet(GpuBackend& gpu);

    // All or none. Returns the pages. Throws RequestError (EEXIST, E2BIG, ...) or Error.
    std::uint64_t create(std::span<const BufferRequest> requests);
    std::size_t free(const IdSelection& ids);
    std::uint64_t fill(const FillRequest& request, const Progress& progress);
    VerifyResult verify(const VerifyRequest& request, const Progress& progress);
    // Brings the buffers back to where the device reaches them, without a look at their content.
    // Returns the pages.
    std::uint64_t make_resident(const IdSelection& ids, const Progress& progress);

    std::size_t size() const { return pages_.size(); }

    // What one job may make resident; a single larger buffer goes alone.
    static constexpr std::uint64_t kMaxBatchBytes = 64ull << 20;
    static constexpr std::uint64_t kMaxBufferBytes = 4ull << 30;

private:
    std::vector<std::uint32_t> resolve(const IdSelection& ids) const;
    StampRange whole(std::uint32_t id, std::uint32_t generation, std::uint64_t key) const;
    template <typename Work>
    void in_batches(const std::vector<std::uint32_t>& ids, const Progress& progress, Work&& work);
    template <typename Job>
    void run_split(std::span<const StampRange> ranges, Job&& job);
    void fill_by_cpu(const StampRange& range);
    void verify_by_cpu(const StampRange& range, VerifyResult* result);
    void verify_by_device(std::span<const StampRange> ranges, bool locate, VerifyResult* result);
    void locate_bad(const StampRange& range, std::uint64_t first_bad, VerifyResult* result);

    GpuBackend& gpu_;
    std::uint64_t batch_bytes_;
    std::map<std::uint32_t, std::uint32_t> pages_;  // by buffer id
};

}  // namespace vttm::guest
