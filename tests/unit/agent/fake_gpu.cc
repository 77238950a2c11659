// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/agent/fake_gpu.h"

#include <sys/mman.h>
#include <unistd.h>

#include <stdexcept>
#include <thread>

#include "guest-driver/libvttm/error.h"
#include "guest-driver/libvttm/fd.h"
#include "protocol/vttm_stamp.h"

namespace vttm::guest::test {
namespace {

constexpr std::uint64_t kMaxBytes = 256u << 20;

class MemoryView : public CpuView {
public:
    explicit MemoryView(std::vector<std::uint64_t>& words) : words_(words) {}
    std::span<std::byte> bytes() override { return std::as_writable_bytes(std::span(words_)); }

private:
    std::vector<std::uint64_t>& words_;
};

// A file mapping that is longer than its file: the kernel answers SIGBUS beyond the first page.
class ShortView : public CpuView {
public:
    explicit ShortView(std::size_t bytes)
        : bytes_(bytes), fd_(::memfd_create("short", MFD_CLOEXEC)) {
        if (::ftruncate(fd_.get(), 4096) != 0) {
            throw_errno("ftruncate");
        }
        address_ = ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), 0);
        if (address_ == MAP_FAILED) {
            throw_errno("mmap");
        }
    }
    ~ShortView() override { ::munmap(address_, bytes_); }
    std::span<std::byte> bytes() override { return {static_cast<std::byte*>(address_), bytes_}; }

private:
    std::size_t bytes_;
    Fd fd_;
    void* address_;
};

vttm_stamp_id identity(const StampRange& range, std::uint64_t i) {
    return {range.key, range.first_page + i, range.buffer, range.generation};
}

}  // namespace

FakeGpuState::Content& FakeGpu::content(std::uint32_t id) {
    const auto it = state_.buffers.find(id);
    if (it == state_.buffers.end()) {
        throw std::logic_error("the agent used a buffer that does not exist");
    }
    return it->second;
}

void FakeGpu::create(const BufferRequest& request) {
    if (state_.refuse_create.contains(request.id) || request.bytes > kMaxBytes) {
        throw Error(ENOSPC, "fake GEM_CREATE");
    }
    state_.buffers[request.id] = {request,
                                  std::vector<std::uint64_t>((request.bytes + 4095) / 4096 * 512)};
}

void FakeGpu::destroy(std::uint32_t id) {
    content(id);
    state_.buffers.erase(id);
}

void FakeGpu::run_job(std::span<const StampRange> ranges) {
    std::uint64_t bytes = 0;
    for (const StampRange& range : ranges) {
        bytes += content(range.buffer).words.size() * 8;
        if (range.first_page + range.pages > content(range.buffer).pages()) {
            throw std::logic_error("a stamp packet runs over its buffer");
        }
    }
    if (bytes > state_.fits_bytes) {
        throw Error(ENOMEM, "fake SUBMIT");
    }
    if (state_.failures_left > 0) {
        --state_.failures_left;
        throw Error(ENOMEM, "fake SUBMIT");
    }
    state_.job_bytes.push_back(bytes);
    std::this_thread::sleep_for(state_.job_time);
}

void FakeGpu::stamp(std::span<const StampRange> ranges) {
    run_job(ranges);
    for (const StampRange& range : ranges) {
        for (std::uint64_t i = 0; i < range.pages; ++i) {
            const vttm_stamp_id id = identity(range, i);
            vttm_stamp_fill(content(range.buffer).page(id.page), &id);
        }
    }
}

std::vector<vttm_stamp_result> FakeGpu::verify(std::span<const StampRange> ranges) {
    run_job(ranges);
    std::vector<vttm_stamp_result> results(ranges.size());
    for (std::size_t r = 0; r < ranges.size() && !state_.drop_results; ++r) {
        for (std::uint64_t i = 0; i < ranges[r].pages; ++i) {
            const vttm_stamp_id id = identity(ranges[r], i);
            const auto stamp_class =
                vttm_stamp_classify(content(ranges[r].buffer).page(id.page), &id);
            ++results[r].checked;
            if (stamp_class == VTTM_STAMP_GOOD) {
                ++results[r].good;
                continue;
            }
            if (results[r].bad++ == 0) {
                results[r].first_bad_page = id.page;
            }
            ++results[r].by_class[stamp_class];
        }
    }
    return results;
}

std::unique_ptr<CpuView> FakeGpu::map(std::uint32_t id) {
    auto& words = content(id).words;
    if (state_.short_mapping) {
        return std::make_unique<ShortView>(words.size() * 8);
    }
    return std::make_unique<MemoryView>(words);
}

}  // namespace vttm::guest::test
