// SPDX-License-Identifier: Apache-2.0
#include "host-backend/cli/buffer_plan.h"

#include <algorithm>
#include <array>
#include <random>
#include <stdexcept>

namespace vttm::cli {
namespace {

constexpr std::uint64_t kKiB = 1024;
constexpr std::uint64_t kPage = 4 * kKiB;
constexpr std::uint64_t kHuge = 2048 * kKiB;

// Sizes besides 2 MiB: from one page to 16 MiB, some of which take several orders of TTM's pool.
constexpr std::array<std::uint64_t, 12> kSizes = {
    4 * kKiB,    16 * kKiB,   28 * kKiB,   64 * kKiB,    256 * kKiB,   1024 * kKiB,
    1028 * kKiB, 3072 * kKiB, 4096 * kKiB, 6148 * kKiB, 8192 * kKiB, 16384 * kKiB,
};

// Buffers of each size below 256 KiB: small sizes are bounded by count, or 4 KiB buffers alone would be
// many thousands.
constexpr std::uint64_t kMaxSmall = 200;

void add(std::vector<PlannedBuffer>& out, std::mt19937_64& rng, std::uint64_t bytes,
         const char* domain) {
    out.push_back({0, bytes, domain, rng() % 2 ? "wc" : "wb", rng() % 4 == 0});
}

void fill_domain(std::vector<PlannedBuffer>& out, std::mt19937_64& rng, std::uint64_t total,
                 const char* domain) {
    std::uint64_t left = total;
    const std::uint64_t share = total / 2 / kSizes.size();
    for (std::uint64_t size : kSizes) {
        std::uint64_t count = share / size;
        count = std::max<std::uint64_t>(count, 1);
        if (size < 256 * kKiB) count = std::min(count, kMaxSmall);
        for (; count > 0 && left >= size; --count, left -= size) add(out, rng, size, domain);
    }
    for (; left >= kHuge; left -= kHuge) add(out, rng, kHuge, domain);
    if (left > 0) add(out, rng, left, domain);
}

}  // namespace

std::vector<PlannedBuffer> plan_buffers(const PlanRequest& request) {
    if (request.gtt_bytes % kPage || request.vram_bytes % kPage)
        throw std::invalid_argument("buffer plan: totals must be multiples of 4 KiB");
    std::mt19937_64 rng(request.seed);
    std::vector<PlannedBuffer> out;
    fill_domain(out, rng, request.gtt_bytes, "gtt");
    fill_domain(out, rng, request.vram_bytes, "vram");
    // Mix sizes in time, as a real program would. std::shuffle's result differs between libraries,
    // so shuffle by hand.
    for (std::size_t i = out.size(); i > 1; --i) std::swap(out[i - 1], out[rng() % i]);
    for (std::size_t i = 0; i < out.size(); ++i)
        out[i].id = request.first_id + static_cast<std::uint32_t>(i);
    return out;
}

}  // namespace vttm::cli
