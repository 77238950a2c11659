// SPDX-License-Identifier: Apache-2.0
#include "host-backend/oracle/scan.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "host-backend/oracle/parallel.h"

namespace vttm::oracle {
namespace {

constexpr std::uint64_t kChunk = 8ull << 20;  // work of one step of a thread
constexpr std::size_t kLastLine = kPageSize - VTTM_STAMP_LINE_SIZE;
constexpr std::uint64_t kFirstWord = VTTM_STAMP_MAGIC;  // magic, line 0
constexpr std::uint64_t kLastWord =
    VTTM_STAMP_MAGIC | (static_cast<std::uint64_t>(VTTM_STAMP_LINES - 1) << 32);
constexpr std::size_t kAhead = 16 * kPageSize;  // the hardware prefetcher does not cross pages

std::uint64_t load(const std::byte* p) {
    std::uint64_t w;
    std::memcpy(&w, p, sizeof(w));
    return w;
}

// Judges a page that passed the prefilter, on a copy: the guest may change the original meanwhile.
std::optional<StampHit> look(const std::byte* page, std::uint64_t addr, std::uint64_t key) {
    alignas(64) std::array<std::uint64_t, kPageSize / 8> copy;
    std::memcpy(copy.data(), page, kPageSize);
    vttm_stamp_id id{};
    std::uint32_t line = 0;
    const bool first = vttm_stamp_parse_line(copy.data(), key, &id, &line) && line == 0;
    if (!first && !(vttm_stamp_parse_line(copy.data() + kLastLine / 8, key, &id, &line) &&
                    line == VTTM_STAMP_LINES - 1)) {
        return std::nullopt;
    }
    return StampHit{.id = {id.buffer, id.page},
                    .generation = id.generation,
                    .addr = addr,
                    .cls = classify(copy.data(), id)};
}

}  // namespace

std::vector<StampHit> scan_pages(std::span<const std::byte> bytes, std::uint64_t key,
                                 std::span<const ByteRange> ranges, unsigned threads) {
    std::vector<ByteRange> chunks;
    const std::uint64_t size = bytes.size() / kPageSize * kPageSize;
    for (const ByteRange& r : ranges) {
        const std::uint64_t end = std::min(size, r.offset + r.length);
        for (std::uint64_t at = r.offset; at < end; at += kChunk) {
            chunks.push_back({at, std::min(kChunk, end - at)});
        }
    }
    std::vector<std::vector<StampHit>> found(chunks.size());
    parallel_for(chunks.size(), thread_count(threads), [&](std::size_t i, unsigned) {
        const std::byte* base = bytes.data();
        const std::uint64_t end = chunks[i].offset + chunks[i].length;
        for (std::uint64_t at = chunks[i].offset; at < end; at += kPageSize) {
            if (at + kAhead < end) {
                __builtin_prefetch(base + at + kAhead, 0, 0);
                __builtin_prefetch(base + at + kAhead + kLastLine, 0, 0);
            }
            if (load(base + at) != kFirstWord && load(base + at + kLastLine) != kLastWord) {
                continue;
            }
            if (const auto hit = look(base + at, at, key)) found[i].push_back(*hit);
        }
    });
    std::vector<StampHit> hits;
    std::size_t total = 0;
    for (const auto& f : found) total += f.size();
    hits.reserve(total);
    for (const auto& f : found) hits.insert(hits.end(), f.begin(), f.end());
    std::sort(hits.begin(), hits.end(),
              [](const StampHit& a, const StampHit& b) { return a.addr < b.addr; });
    return hits;
}

std::vector<PageId> ScanResult::copied() const {
    std::vector<PageId> out;
    for (const auto& [id, at] : live) {
        if (at.size() > 1) out.push_back(id);
    }
    return out;
}

std::uint64_t ScanResult::second_copies() const {
    std::uint64_t n = 0;
    for (const auto& [id, at] : live) n += at.size() - 1;
    return n;
}

ScanResult sort_hits(const Ledger& ledger, std::vector<StampHit> hits,
                     std::uint64_t scanned_pages) {
    ScanResult out;
    out.scanned_pages = scanned_pages;
    for (const StampHit& hit : hits) {
        const BufferInfo* b = ledger.find(hit.id.buffer);
        if (!b || hit.id.page >= b->pages) {
            out.strays.push_back(hit);
        } else if (hit.generation != b->generation) {
            out.leftovers.push_back(hit);
        } else if (hit.cls != PageClass::kGood) {
            out.damaged.push_back(hit);
        } else {
            out.live[hit.id].push_back(hit.addr);
        }
    }
    return out;
}

}  // namespace vttm::oracle
