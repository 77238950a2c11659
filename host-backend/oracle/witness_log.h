// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "host-backend/oracle/forensics.h"
#include "host-backend/oracle/ledger.h"
#include "protocol/vttm_witness.h"

namespace vttm::oracle {

class WitnessLogError : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

// Where the device last touched a page: the host's own knowledge of its physical place.
struct Sighting {
    std::uint64_t phys = 0;            // bus address (= guest-physical) or VRAM offset
    bool system = false;               // true: guest RAM; false: VRAM
    std::uint64_t time_ns = 0;         // device time
    std::uint64_t serial = 0;          // number of the log record, from 1: grows with time
    bool write = false;                // STAMP_WRITE; else STAMP_VERIFY
    PageClass cls = PageClass::kGood;  // of a verify
};

// What is known of one page and of those behind it: all seen in one record, each 4096 bytes higher
// than the one before, or all not seen.
struct SightingSpan {
    std::optional<Sighting> first;
    std::uint64_t count = 1;  // pages, with the first
};

// Reads the device's log (protocol/vttm_witness.h) as it grows. Not thread safe.
class WitnessLog {
public:
    // The file need not exist yet. A file that begins with an incomplete header is one that is
    // still being made.
    explicit WitnessLog(std::filesystem::path path);
    ~WitnessLog();
    WitnessLog(WitnessLog&&) noexcept;
    WitnessLog& operator=(WitnessLog&&) noexcept;

    // Reads all complete records that are new; returns how many. A partial record at the end is
    // left for the next call. Throws WitnessLogError: wrong header, file shrank, I/O error, a
    // record that the device cannot have written (unknown kind, class or space, no pages, address
    // range that wraps). Buffer and page come from the guest's packets and may be anything: a range
    // of pages that wraps belongs to no buffer and is passed over.
    std::size_t poll();

    std::uint64_t serial() const { return serial_; }  // of the newest record; 0 = none yet

    // Last write or verify of the page in that generation; nothing if the device never saw it. Kept
    // for the two newest generations of each buffer.
    std::optional<Sighting> last(PageId id, std::uint32_t generation) const;
    // The same for many pages at a time.
    SightingSpan last_span(PageId id, std::uint32_t generation) const;

    // The device's findings in its VERIFY records after @since (a value of serial()) for the
    // generations that the ledger expects. A page that was bad in any of them is bad. Records of
    // other buffers or generations do not count. @bad_since (at most @since): bad pages found after it
    // are reported, too, so that no finding is lost that came between two reports.
    WitnessReport verify_report(const Ledger& ledger, std::uint64_t since,
                                std::uint64_t bad_since) const;
    WitnessReport verify_report(const Ledger& ledger, std::uint64_t since) const {
        return verify_report(ledger, since, since);
    }

    // Raw records after @since, in order.
    std::vector<vttm_witness_record> stale_uses(std::uint64_t since = 0) const;
    std::vector<vttm_witness_record> faults(std::uint64_t since = 0) const;

private:
    struct Run {
        std::uint64_t count = 0;
        Sighting sighting;  // of the first page
    };
    using RunMap = std::map<std::uint64_t, Run>;  // by first page; never overlapping
    struct Numbered {
        std::uint64_t serial = 0;
        vttm_witness_record record{};
    };

    void take(const vttm_witness_record& record);
    void remember(const vttm_witness_record& record);
    static std::vector<vttm_witness_record> after(const std::vector<Numbered>& from,
                                                  std::uint64_t since);

    std::filesystem::path path_;
    int fd_ = -1;
    std::uint64_t read_ = 0;  // bytes of the file consumed
    std::uint64_t serial_ = 0;
    std::map<std::uint32_t, std::map<std::uint32_t, RunMap>> seen_;  // buffer, generation
    std::vector<Numbered> verifies_;
    std::vector<Numbered> stale_;
    std::vector<Numbered> faults_;
};

}  // namespace vttm::oracle
