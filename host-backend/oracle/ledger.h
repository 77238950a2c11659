// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string_view>
#include <vector>

#include "host-backend/oracle/page.h"

namespace vttm::oracle {

enum class Domain : std::uint8_t { kVram, kGtt };
enum class Caching : std::uint8_t { kWb, kWc, kUc };

std::string_view name_of(Domain d);   // "vram", "gtt"
std::string_view name_of(Caching c);  // "wb", "wc", "uc"

struct BufferInfo {
    std::uint32_t id = 0;     // unique in a run, never 0
    std::uint64_t pages = 0;  // 4 KiB pages, never 0
    Domain domain = Domain::kGtt;
    Caching caching = Caching::kWb;
    std::uint32_t generation = 0;  // content it holds now; 0 = never filled
};

// What the host itself ordered: which buffers exist and what each page of them must hold. Nothing
// in it comes from the guest.
class Ledger {
public:
    explicit Ledger(std::uint64_t key) : key_(key) {}

    std::uint64_t key() const { return key_; }

    // Throws std::invalid_argument for id 0, no pages, or an id that was ever used in this run.
    void add(const BufferInfo& buffer);
    // The buffer holds @generation from now on. Throws std::invalid_argument if the buffer does not
    // exist or the generation does not grow.
    void filled(std::uint32_t id, std::uint32_t generation);
    // The buffer is gone; its content found anywhere from now on is a left-over. Throws
    // std::invalid_argument if it does not exist.
    void freed(std::uint32_t id);
    void freed_all();

    const BufferInfo* find(std::uint32_t id) const;
    bool was_freed(std::uint32_t id) const { return freed_.contains(id); }
    const std::map<std::uint32_t, BufferInfo>& buffers() const { return buffers_; }

    // What (buffer, page) must hold; nothing if there is no such page or it was never filled.
    std::optional<vttm_stamp_id> expected(PageId id) const;

    std::uint64_t pages() const;  // of all buffers
    std::uint64_t pages(Domain domain) const;
    std::uint64_t filled_pages() const;  // of buffers with a generation

private:
    std::uint64_t key_;
    std::map<std::uint32_t, BufferInfo> buffers_;
    std::map<std::uint32_t, BufferInfo> freed_;
};

}  // namespace vttm::oracle
