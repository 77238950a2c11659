// SPDX-License-Identifier: Apache-2.0
#include "host-backend/oracle/ledger.h"

#include <fmt/format.h>

#include <stdexcept>

namespace vttm::oracle {

std::string_view name_of(Domain d) { return d == Domain::kVram ? "vram" : "gtt"; }

std::string_view name_of(Caching c) {
    switch (c) {
        case Caching::kWb:
            return "wb";
        case Caching::kWc:
            return "wc";
        case Caching::kUc:
            return "uc";
    }
    return "?";
}

void Ledger::add(const BufferInfo& buffer) {
    if (buffer.id == 0) throw std::invalid_argument("ledger: buffer id 0 is not allowed");
    if (buffer.pages == 0) {
        throw std::invalid_argument(fmt::format("ledger: buffer {} has no pages", buffer.id));
    }
    if (buffers_.contains(buffer.id) || freed_.contains(buffer.id)) {
        throw std::invalid_argument(
            fmt::format("ledger: buffer id {} was used before in this run", buffer.id));
    }
    buffers_.emplace(buffer.id, buffer);
}

void Ledger::filled(std::uint32_t id, std::uint32_t generation) {
    const auto it = buffers_.find(id);
    if (it == buffers_.end()) {
        throw std::invalid_argument(fmt::format("ledger: no buffer {} to fill", id));
    }
    if (generation <= it->second.generation) {
        throw std::invalid_argument(
            fmt::format("ledger: generation {} of buffer {} does not grow (now {})", generation, id,
                        it->second.generation));
    }
    it->second.generation = generation;
}

void Ledger::freed(std::uint32_t id) {
    auto node = buffers_.extract(id);
    if (node.empty()) throw std::invalid_argument(fmt::format("ledger: no buffer {} to free", id));
    freed_.insert(std::move(node));
}

void Ledger::freed_all() { freed_.merge(buffers_); }

const BufferInfo* Ledger::find(std::uint32_t id) const {
    const auto it = buffers_.find(id);
    return it == buffers_.end() ? nullptr : &it->second;
}

std::optional<vttm_stamp_id> Ledger::expected(PageId id) const {
    const BufferInfo* b = find(id.buffer);
    if (!b || id.page >= b->pages || b->generation == 0) return std::nullopt;
    return vttm_stamp_id{
        .key = key_, .page = id.page, .buffer = id.buffer, .generation = b->generation};
}

std::uint64_t Ledger::pages() const {
    std::uint64_t n = 0;
    for (const auto& [id, b] : buffers_) n += b.pages;
    return n;
}

std::uint64_t Ledger::pages(Domain domain) const {
    std::uint64_t n = 0;
    for (const auto& [id, b] : buffers_) n += b.domain == domain ? b.pages : 0;
    return n;
}

std::uint64_t Ledger::filled_pages() const {
    std::uint64_t n = 0;
    for (const auto& [id, b] : buffers_) n += b.generation ? b.pages : 0;
    return n;
}

}  // namespace vttm::oracle
