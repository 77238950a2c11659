// SPDX-License-Identifier: Apache-2.0
#include "host-backend/model/write_spoiler.h"

#include <algorithm>
#include <cstring>

namespace vttm::model {

// Draws what the rule leaves open. A place beyond the packet's bytes is never met.
void WriteSpoiler::place(Spot& f, uint64_t total) const {
    const FaultRule& rule = *f.strike.rule;
    f.from = rule.byte.value_or(total ? f.strike.draw % total / rule.bytes * rule.bytes : 0);
    f.end = std::min(total, f.from + std::min(rule.bytes, total));
    f.from = std::min(f.from, f.end);
}

std::pair<uint64_t, uint64_t> WriteSpoiler::part(const Spot& f, uint64_t len) const {
    const uint64_t from = std::clamp(f.from, done_, done_ + len) - done_;
    const uint64_t end = std::clamp(f.end, done_, done_ + len) - done_;
    return {from, end};
}

uint8_t* WriteSpoiler::stage(uint8_t* to, uint64_t len, uint64_t total) {
    if (!std::exchange(placed_, true))
        for (Spot& f : faults_) place(f, total);
    staged_ = std::ranges::any_of(faults_, [&](const Spot& f) {
        const auto [from, end] = part(f, len);
        return from < end;
    });
    if (!staged_) return to;
    scratch_.resize((len + 7) / 8);
    return reinterpret_cast<uint8_t*>(scratch_.data());
}

void WriteSpoiler::commit(const Cursor::Piece& to, uint64_t len) {
    if (!staged_) {
        done_ += len;
        return;
    }
    auto* bytes = reinterpret_cast<uint8_t*>(scratch_.data());
    std::vector<std::pair<uint64_t, uint64_t>> kept;  // from memory
    for (const Spot& f : faults_) {
        const auto [from, end] = part(f, len);
        const FaultRule& rule = *f.strike.rule;
        if (from == end) continue;
        if (done_ + from == f.from) lane_.injected(f.strike, to.phys + from);
        if (rule.kind == FaultKind::bit_flip) {
            const auto bit = rule.bit.value_or(static_cast<unsigned>(f.strike.draw >> 61));
            bytes[from] = static_cast<uint8_t>(bytes[from] ^ (1u << bit));
            continue;
        }
        kept.emplace_back(from, end);
        if (rule.kind == FaultKind::write_reordered)
            late_.push_back({rule.packets + 1, rule.us,
                             LateWrite{to.space, to.phys + from, {bytes + from, bytes + end}}});
    }
    std::ranges::sort(kept);
    uint64_t at = 0;
    for (const auto& [from, end] : kept) {
        if (from > at) std::memcpy(to.ptr + at, bytes + at, from - at);
        at = std::max(at, end);
    }
    if (len > at) std::memcpy(to.ptr + at, bytes + at, len - at);
    done_ += len;
}

}  // namespace vttm::model
