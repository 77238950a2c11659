// SPDX-License-Identifier: Apache-2.0
#include "guest-driver/libvttm/agent/buffer_set.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "guest-driver/libvttm/agent/guarded_copy.h"
#include "guest-driver/libvttm/error.h"
#include "protocol/vttm_pte.h"

namespace vttm::guest {
namespace {

constexpr int kResidentAttempts = 10;
constexpr std::chrono::milliseconds kResidentPause{50};

struct alignas(64) PageImage {
    std::array<std::byte, VTTM_STAMP_PAGE_SIZE> bytes;
};

vttm_stamp_id identity(const StampRange& range, std::uint64_t index) {
    return {range.key, range.first_page + index, range.buffer, range.generation};
}

// The identity that the page's first valid line claims.
std::optional<vttm_stamp_id> claimed_identity(const PageImage& page, std::uint64_t key) {
    const auto* words = reinterpret_cast<const std::uint64_t*>(page.bytes.data());
    for (std::uint32_t line = 0; line < VTTM_STAMP_LINES; ++line, words += 8) {
        vttm_stamp_id id = {};
        std::uint32_t number = 0;
        if (vttm_stamp_parse_line(words, key, &id, &number) != 0) {
            return id;
        }
    }
    return std::nullopt;
}

void note_bad(const BadPage& page, VerifyResult* result) {
    if (result->bad.size() < VerifyResult::kMaxListed) {
        result->bad.push_back(page);
    }
}

}  // namespace

BufferSet::BufferSet(GpuBackend& gpu) : gpu_(gpu) {
    // A quarter of each pool: room for what the driver itself moves meanwhile.
    const GpuInfo info = gpu.info();
    const std::uint64_t pool = std::min(info.vram_bytes, info.gtt_bytes) / 4;
    batch_bytes_ = std::clamp<std::uint64_t>(pool, VTTM_PAGE_SIZE, kMaxBatchBytes);
}

std::vector<std::uint32_t> BufferSet::resolve(const IdSelection& ids) const {
    std::vector<std::uint32_t> found;
    if (!ids) {
        found.reserve(pages_.size());
        for (const auto& [id, pages] : pages_) {
            found.push_back(id);
        }
        return found;
    }
    for (const std::uint32_t id : *ids) {
        if (!pages_.contains(id)) {
            throw RequestError(fmt::format("no buffer {}", id), ENOENT);
        }
    }
    found = *ids;
    return found;
}

std::uint64_t BufferSet::create(std::span<const BufferRequest> requests) {
    std::uint64_t pages = 0;
    std::size_t made = 0;
    try {
        for (const BufferRequest& request : requests) {
            if (request.bytes > kMaxBufferBytes) {
                throw RequestError(fmt::format("buffer {}: {} bytes is over {}", request.id,
                                               request.bytes, kMaxBufferBytes),
                                   E2BIG);
            }
            const auto count =
                static_cast<std::uint32_t>((request.bytes + VTTM_PAGE_SIZE - 1) / VTTM_PAGE_SIZE);
            if (!pages_.emplace(request.id, count).second) {
                throw RequestError(fmt::format("buffer {} exists", request.id), EEXIST);
            }
            try {
                gpu_.create(request);
            } catch (...) {
                pages_.erase(request.id);
                throw;
            }
            ++made;
            pages += count;
        }
    } catch (...) {
        for (const BufferRequest& request : requests.first(made)) {
            gpu_.destroy(request.id);
            pages_.erase(request.id);
        }
        throw;
    }
    return pages;
}

std::size_t BufferSet::free(const IdSelection& ids) {
    std::size_t freed = 0;
    for (const std::uint32_t id : resolve(ids)) {
        if (pages_.erase(id) != 0) {  // an id may be listed twice
            gpu_.destroy(id);
            ++freed;
        }
    }
    return freed;
}

StampRange BufferSet::whole(std::uint32_t id, std::uint32_t generation, std::uint64_t key) const {
    return {id, generation, 0, pages_.at(id), key};
}

template <typename Work>
void BufferSet::in_batches(const std::vector<std::uint32_t>& ids, const Progress& progress,
                           Work&& work) {
    std::uint64_t total = 0;
    for (const std::uint32_t id : ids) {
        total += pages_.at(id);
    }
    std::uint64_t done = 0;
    for (std::size_t first = 0; first < ids.size();) {
        std::uint64_t bytes = 0;
        std::uint64_t pages = 0;
        std::size_t end = first;
        while (end < ids.size() && end - first < GpuBackend::kMaxRanges) {
            const std::uint64_t more = pages_.at(ids[end]) * VTTM_PAGE_SIZE;
            if (end != first && bytes + more > batch_bytes_) {
                break;
            }
            bytes += more;
            pages += pages_.at(ids[end]);
            ++end;
        }
        work(std::span(ids).subspan(first, end - first));
        done += pages;
        progress(done, total);
        first = end;
    }
}

// Runs `job` on all ranges, or, when they do not fit together right now, on halves; a single one
// is tried again after a pause, as under pressure memory comes back only by and by.
template <typename Job>
void BufferSet::run_split(std::span<const StampRange> ranges, Job&& job) {
    for (int attempt = 1;; ++attempt) {
        try {
            job(ranges);
            return;
        } catch (const Error& error) {
            if ((error.error() != ENOMEM && error.error() != ENOSPC) ||
                (ranges.size() == 1 && attempt == kResidentAttempts)) {
                throw;
            }
        }
        if (ranges.size() > 1) {
            run_split(ranges.first(ranges.size() / 2), job);
            run_split(ranges.subspan(ranges.size() / 2), job);
            return;
        }
        std::this_thread::sleep_for(kResidentPause);
    }
}

void BufferSet::fill_by_cpu(const StampRange& range) {
    const auto view = gpu_.map(range.buffer);
    std::byte* at = view->bytes().data();
    PageImage page;
    for (std::uint64_t i = 0; i < range.pages; ++i, at += VTTM_PAGE_SIZE) {
        const vttm_stamp_id id = identity(range, i);
        vttm_stamp_fill(page.bytes.data(), &id);
        if (!guarded_copy(at, page.bytes.data(), VTTM_PAGE_SIZE)) {
            throw Error(EFAULT,
                        fmt::format("SIGBUS on writing page {} of buffer {}", i, range.buffer));
        }
    }
}

std::uint64_t BufferSet::fill(const FillRequest& request, const Progress& progress) {
    const std::vector<std::uint32_t> ids = resolve(request.ids);
    std::uint64_t pages = 0;
    in_batches(ids, progress, [&](std::span<const std::uint32_t> batch) {
        std::vector<StampRange> ranges;
        for (const std::uint32_t id : batch) {
            ranges.push_back(whole(id, request.generation, request.key));
            pages += ranges.back().pages;
        }
        if (request.by == Actor::kDevice) {
            run_split(ranges, [this](std::span<const StampRange> part) { gpu_.stamp(part); });
        } else {
            std::for_each(ranges.begin(), ranges.end(),
                          [this](const StampRange& range) { fill_by_cpu(range); });
        }
    });
    return pages;
}

std::uint64_t BufferSet::make_resident(const IdSelection& ids, const Progress& progress) {
    std::uint64_t pages = 0;
    in_batches(resolve(ids), progress, [&](std::span<const std::uint32_t> batch) {
        std::vector<StampRange> ranges;
        for (const std::uint32_t id : batch) {
            ranges.push_back(whole(id, 0, 0));
            pages += ranges.back().pages;
        }
        run_split(ranges, [this](std::span<const StampRange> part) { gpu_.make_resident(part); });
    });
    return pages;
}

void BufferSet::verify_by_cpu(const StampRange& range, VerifyResult* result) {
    const auto view = gpu_.map(range.buffer);
    const std::byte* at = view->bytes().data();
    PageImage page;
    for (std::uint64_t i = 0; i < range.pages; ++i, at += VTTM_PAGE_SIZE) {
        if (!guarded_copy(page.bytes.data(), at, VTTM_PAGE_SIZE)) {
            throw Error(EFAULT,
                        fmt::format("SIGBUS on reading page {} of buffer {}", i, range.buffer));
        }
        const vttm_stamp_id id = identity(range, i);
        ++result->pages;
        if (vttm_stamp_check(page.bytes.data(), &id) != 0) {
            ++result->good;
            continue;
        }
        BadPage bad{range.buffer, id.page, vttm_stamp_classify(page.bytes.data(), &id),
                    std::nullopt};
        if (bad.stamp_class == VTTM_STAMP_STALE || bad.stamp_class == VTTM_STAMP_FOREIGN) {
            bad.found = claimed_identity(page, range.key);
        }
        ++result->by_class[bad.stamp_class];
        note_bad(bad, result);
    }
}

void BufferSet::locate_bad(const StampRange& range, std::uint64_t first_bad, VerifyResult* result) {
    constexpr std::uint64_t kChunk = GpuBackend::kMaxRanges;
    for (std::uint64_t first = first_bad; first < range.pages; first += kChunk) {
        std::vector<StampRange> pages;
        for (std::uint64_t i = first; i < std::min<std::uint64_t>(first + kChunk, range.pages);
             ++i) {
            pages.push_back({range.buffer, range.generation, i, 1, range.key});
        }
        const auto found = gpu_.verify(pages);
        for (std::size_t i = 0; i < pages.size(); ++i) {
            const auto& counts = found[i].by_class;
            for (std::uint32_t c = VTTM_STAMP_ZERO; c < VTTM_STAMP_NUM_CLASSES; ++c) {
                if (counts[c] != 0) {
                    note_bad({range.buffer, pages[i].first_page, static_cast<vttm_stamp_class>(c),
                              std::nullopt},
                             result);
                }
            }
        }
    }
}

void BufferSet::verify_by_device(std::span<const StampRange> ranges, bool locate,
                                 VerifyResult* result) {
    run_split(ranges, [&](std::span<const StampRange> part) {
        const std::vector<vttm_stamp_result> found = gpu_.verify(part);
        for (std::size_t i = 0; i < part.size(); ++i) {
            const vttm_stamp_result& one = found[i];
            // A result that was never written would read as "0 bad": it must not pass for good.
            if (one.checked != part[i].pages || one.good + one.bad != one.checked) {
                throw Error(EIO, fmt::format("the device checked {} of {} pages of buffer {} "
                                             "({} good, {} bad)",
                                             one.checked, part[i].pages, part[i].buffer, one.good,
                                             one.bad));
            }
            result->pages += one.checked;
            result->good += one.good;
            for (std::uint32_t c = VTTM_STAMP_ZERO; c < VTTM_STAMP_NUM_CLASSES; ++c) {
                result->by_class[c] += one.by_class[c];
            }
            if (one.bad != 0) {
                result->bad_buffers.push_back({part[i].buffer, one.bad, one.first_bad_page});
            }
        }
    });
    if (!locate) {
        return;
    }
    for (const StampRange& range : ranges) {
        const auto bad = std::find_if(
            result->bad_buffers.begin(), result->bad_buffers.end(),
            [&range](const BadBuffer& buffer) { return buffer.buffer == range.buffer; });
        if (bad != result->bad_buffers.end()) {
            locate_bad(range, bad->first_bad_page, result);
        }
    }
}

VerifyResult BufferSet::verify(const VerifyRequest& request, const Progress& progress) {
    const std::vector<std::uint32_t> ids = resolve(request.ids);
    VerifyResult result;
    in_batches(ids, progress, [&](std::span<const std::uint32_t> batch) {
        std::vector<StampRange> ranges;
        for (const std::uint32_t id : batch) {
            ranges.push_back(whole(id, request.generation, request.key));
        }
        if (request.by == Actor::kDevice) {
            verify_by_device(ranges, request.locate, &result);
        } else {
            for (const StampRange& range : ranges) {
                verify_by_cpu(range, &result);
            }
        }
    });
    result.unlisted = result.pages - result.good - result.bad.size();
    return result;
}

}  // namespace vttm::guest
