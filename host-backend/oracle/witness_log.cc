// SPDX-License-Identifier: Apache-2.0
#include "host-backend/oracle/witness_log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <limits>
#include <string_view>
#include <system_error>
#include <utility>

#include "host-backend/oracle/file_io.h"

namespace vttm::oracle {
namespace {

constexpr std::size_t kGenerationsKept = 2;

Sighting advanced(const Sighting& from, std::uint64_t pages) {
    Sighting s = from;
    s.phys += pages * kPageSize;
    return s;
}

}  // namespace

WitnessLog::WitnessLog(std::filesystem::path path) : path_(std::move(path)) {}

WitnessLog::~WitnessLog() {
    if (fd_ >= 0) ::close(fd_);
}

WitnessLog::WitnessLog(WitnessLog&& o) noexcept
    : path_(std::move(o.path_)),
      fd_(std::exchange(o.fd_, -1)),
      read_(o.read_),
      serial_(o.serial_),
      seen_(std::move(o.seen_)),
      verifies_(std::move(o.verifies_)),
      stale_(std::move(o.stale_)),
      faults_(std::move(o.faults_)) {}

WitnessLog& WitnessLog::operator=(WitnessLog&& o) noexcept {
    std::swap(path_, o.path_);
    std::swap(fd_, o.fd_);
    std::swap(read_, o.read_);
    std::swap(serial_, o.serial_);
    std::swap(seen_, o.seen_);
    std::swap(verifies_, o.verifies_);
    std::swap(stale_, o.stale_);
    std::swap(faults_, o.faults_);
    return *this;
}

std::size_t WitnessLog::poll() {
    if (fd_ < 0) {
        fd_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
        if (fd_ < 0) {
            if (errno == ENOENT) return 0;
            throw WitnessLogError(
                fmt::format("witness log {}: {}", path_.string(), std::strerror(errno)));
        }
    }
    try {
        const std::uint64_t size = file_size(fd_);
        if (size < read_) {
            throw WitnessLogError(fmt::format("witness log {}: shrank from {} to {} bytes",
                                              path_.string(), read_, size));
        }
        if (read_ == 0) {
            vttm_witness_header header{};
            if (read_at(fd_, &header, sizeof(header), 0) < sizeof(header)) return 0;
            if (header.magic != VTTM_WITNESS_MAGIC || header.version != VTTM_WITNESS_VERSION ||
                header.record_size != sizeof(vttm_witness_record)) {
                throw WitnessLogError(
                    fmt::format("witness log {}: not a log of version {} (magic {:#x}, version {}, "
                                "record size {})",
                                path_.string(), VTTM_WITNESS_VERSION, header.magic, header.version,
                                header.record_size));
            }
            read_ = sizeof(header);
        }
        std::size_t taken = 0;
        std::vector<vttm_witness_record> batch(1024);
        for (;;) {
            const std::size_t got =
                read_at(fd_, batch.data(), batch.size() * sizeof(batch[0]), read_) /
                sizeof(batch[0]);
            for (std::size_t i = 0; i < got; i++) {
                take(batch[i]);
                read_ += sizeof(batch[0]);
                taken++;
            }
            if (got < batch.size()) return taken;
        }
    } catch (const std::system_error& e) {
        throw WitnessLogError(fmt::format("witness log {}: {}", path_.string(), e.what()));
    }
}

void WitnessLog::take(const vttm_witness_record& r) {
    const auto fail = [&](std::string_view what) {
        throw WitnessLogError(fmt::format("witness log {}: record {} at byte {}: {}",
                                          path_.string(), serial_ + 1, read_, what));
    };
    constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();
    switch (r.kind) {
        case VTTM_WITNESS_WRITE:
        case VTTM_WITNESS_VERIFY:
            if (r.npages == 0) fail("no pages");
            if (r.npages > (kMax - r.phys) / kPageSize) {
                fail(fmt::format("{} pages at {:#x} wrap", r.npages, r.phys));
            }
            if (r.space != VTTM_SPACE_VRAM && r.space != VTTM_SPACE_SYSTEM) {
                fail(fmt::format("unknown space {}", r.space));
            }
            if (!page_class_from_protocol(r.stamp_class)) {
                fail(fmt::format("unknown stamp class {}", r.stamp_class));
            }
            serial_++;
            if (r.page > kMax - r.npages) break;
            remember(r);
            if (r.kind == VTTM_WITNESS_VERIFY) verifies_.push_back({serial_, r});
            break;
        case VTTM_WITNESS_STALE:
            serial_++;
            stale_.push_back({serial_, r});
            break;
        case VTTM_WITNESS_FAULT:
            serial_++;
            faults_.push_back({serial_, r});
            break;
        default:
            fail(fmt::format("unknown kind {}", r.kind));
    }
}

void WitnessLog::remember(const vttm_witness_record& r) {
    auto& generations = seen_[r.buffer];
    RunMap& runs = generations[r.generation];
    const std::uint64_t begin = r.page, end = r.page + r.npages;

    // Cut the new range out of what was known, then put it in.
    auto it = runs.upper_bound(begin);
    if (it != runs.begin()) {
        const auto before = std::prev(it);
        const std::uint64_t before_end = before->first + before->second.count;
        if (before_end > begin) {
            if (before_end > end) {
                const std::uint64_t skip = end - before->first;
                runs.emplace(end, Run{before_end - end, advanced(before->second.sighting, skip)});
            }
            before->second.count = begin - before->first;
            if (before->second.count == 0) runs.erase(before);
        }
    }
    it = runs.lower_bound(begin);
    while (it != runs.end() && it->first < end) {
        const std::uint64_t run_end = it->first + it->second.count;
        if (run_end > end) {
            runs.emplace(end, Run{run_end - end, advanced(it->second.sighting, end - it->first)});
        }
        it = runs.erase(it);
    }
    const bool write = r.kind == VTTM_WITNESS_WRITE;
    runs.insert_or_assign(
        begin, Run{r.npages, Sighting{.phys = r.phys,
                                      .system = r.space == VTTM_SPACE_SYSTEM,
                                      .time_ns = r.time_ns,
                                      .serial = serial_,
                                      .write = write,
                                      .cls = write ? PageClass::kGood
                                                   : *page_class_from_protocol(r.stamp_class)}});
    while (generations.size() > kGenerationsKept) generations.erase(generations.begin());
}

std::optional<Sighting> WitnessLog::last(PageId id, std::uint32_t generation) const {
    return last_span(id, generation).first;
}

SightingSpan WitnessLog::last_span(PageId id, std::uint32_t generation) const {
    const std::uint64_t to_end = std::numeric_limits<std::uint64_t>::max() - id.page;
    const SightingSpan never{std::nullopt, std::max<std::uint64_t>(to_end, 1)};
    const auto buffer = seen_.find(id.buffer);
    if (buffer == seen_.end()) return never;
    const auto runs = buffer->second.find(generation);
    if (runs == buffer->second.end()) return never;
    const auto next = runs->second.upper_bound(id.page);
    if (next != runs->second.begin()) {
        const auto run = std::prev(next);
        const std::uint64_t skip = id.page - run->first;
        if (skip < run->second.count) {
            return {advanced(run->second.sighting, skip), run->second.count - skip};
        }
    }
    if (next == runs->second.end()) return never;
    return {std::nullopt, next->first - id.page};
}

WitnessReport WitnessLog::verify_report(const Ledger& ledger, std::uint64_t since,
                                        std::uint64_t bad_since) const {
    WitnessReport report;
    report.who = Witness::kDevice;
    // Per buffer and page: not seen, or the worst that was seen.
    std::map<std::uint32_t, std::vector<bool>> checked;
    std::map<PageId, BadPage> bad;
    const auto from =
        std::upper_bound(verifies_.begin(), verifies_.end(), std::min(since, bad_since),
                         [](std::uint64_t serial, const Numbered& n) { return serial < n.serial; });
    for (auto it = from; it != verifies_.end(); ++it) {
        const vttm_witness_record& r = it->record;
        const BufferInfo* b = ledger.find(r.buffer);
        if (!b || b->generation != r.generation || b->generation == 0 || r.page >= b->pages) {
            continue;
        }
        const PageClass cls = *page_class_from_protocol(r.stamp_class);
        const bool early = it->serial <= since;
        if (early && cls == PageClass::kGood) continue;
        report.present |= !early;
        std::vector<bool>& seen = checked.try_emplace(b->id, b->pages, false).first->second;
        const std::uint64_t count = std::min(r.npages, b->pages - r.page);
        for (std::uint64_t i = 0; i < count; i++) {
            if (!seen[r.page + i]) {
                seen[r.page + i] = true;
                report.checked++;
            }
            if (cls == PageClass::kGood) continue;
            BadPage page;
            page.id = {r.buffer, r.page + i};
            page.generation = r.generation;
            page.cls = cls;
            page.where.kind = r.space == VTTM_SPACE_SYSTEM ? PlaceKind::kGtt : PlaceKind::kVram;
            page.where.addr = r.phys + i * kPageSize;
            bad.try_emplace(page.id, page);  // the first finding stays
        }
    }
    for (const auto& [id, page] : bad) report.bad.push_back(page);
    return report;
}

std::vector<vttm_witness_record> WitnessLog::after(const std::vector<Numbered>& from,
                                                   std::uint64_t since) {
    std::vector<vttm_witness_record> out;
    for (const Numbered& n : from) {
        if (n.serial > since) out.push_back(n.record);
    }
    return out;
}

std::vector<vttm_witness_record> WitnessLog::stale_uses(std::uint64_t since) const {
    return after(stale_, since);
}

std::vector<vttm_witness_record> WitnessLog::faults(std::uint64_t since) const {
    return after(faults_, since);
}

}  // namespace vttm::oracle
