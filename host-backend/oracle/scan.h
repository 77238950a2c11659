// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <vector>

#include "host-backend/oracle/ledger.h"
#include "host-backend/oracle/page.h"

namespace vttm::oracle {

// A page that carries a stamp of this run, wherever it was found.
struct StampHit {
    PageId id;
    std::uint32_t generation = 0;
    std::uint64_t addr = 0;  // bytes: gpa, VRAM offset or offset in the swap file
    // Whole page against the identity that its line claims: kGood, or damaged.
    PageClass cls = PageClass::kGood;
};

struct ByteRange {
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
};

// The parts of the file at @fd that hold data (SEEK_DATA/SEEK_HOLE), widened to whole pages and
// merged; all of [0, @size) if the file system cannot tell. Throws std::system_error on I/O errors.
std::vector<ByteRange> data_ranges(int fd, std::uint64_t size);

// All pages in @ranges of @bytes whose first or last line parses under @key. Cost for the other
// pages: two cache lines each. Hits carry offsets in addr, sorted. @threads 0 = one per CPU.
std::vector<StampHit> scan_pages(std::span<const std::byte> bytes, std::uint64_t key,
                                 std::span<const ByteRange> ranges, unsigned threads = 0);

// Hits held against the ledger.
struct ScanResult {
    std::uint64_t scanned_pages = 0;
    // Current generation, whole page good: (buffer, page) -> addresses, ascending.
    std::map<PageId, std::vector<std::uint64_t>> live;
    std::vector<StampHit> damaged;    // current generation, page not whole
    std::vector<StampHit> leftovers;  // older (or newer) generations of buffers that exist
    std::vector<StampHit> strays;     // buffers that the ledger does not have: freed or unknown

    std::uint64_t live_pages() const { return live.size(); }
    // (buffer, page) with more than one live address: a second copy.
    std::vector<PageId> copied() const;
    std::uint64_t second_copies() const;  // live addresses beyond the first of each page
};

ScanResult sort_hits(const Ledger& ledger, std::vector<StampHit> hits, std::uint64_t scanned_pages);

}  // namespace vttm::oracle
