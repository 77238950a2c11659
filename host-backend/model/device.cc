// SPDX-License-Identifier: Apache-2.0
#include "host-backend/model/device.h"

#include <algorithm>
#include <bit>

namespace vttm::model {

namespace {
constexpr uint64_t kVramUnit = 2ull << 20;
constexpr uint64_t kMaxVram = 64ull << 30;

// What PCI allows for the size of BAR2.
bool can_show(uint64_t bytes, uint64_t vram) {
    return std::has_single_bit(bytes) && bytes <= std::bit_ceil(vram);
}
}  // namespace

std::string Device::check_config(const vttm_model_config* config, const vttm_model_ops* ops) {
    if (!config || !ops) return "no configuration or no callbacks given";
    if (config->api != VTTM_MODEL_API)
        return "embedder speaks API " + std::to_string(config->api) + ", this model " +
               std::to_string(VTTM_MODEL_API) + ": rebuild the older of the two";
    if (!ops->dma_map || !ops->dma_unmap || !ops->irq)
        return "callbacks dma_map, dma_unmap and irq are required";
    if (config->vram_size < kVramUnit || config->vram_size > kMaxVram ||
        config->vram_size % kVramUnit)
        return "vram_size " + std::to_string(config->vram_size) +
               " is not a multiple of 2 MiB between 2 MiB and 64 GiB";
    if (!config->vram || reinterpret_cast<uintptr_t>(config->vram) % VTTM_PAGE_SIZE)
        return "vram is not a page-aligned pointer";
    if (!can_show(config->vram_visible, config->vram_size))
        return "vram_visible " + std::to_string(config->vram_visible) +
               " is not a power of two up to the size of VRAM";
    if (config->tlb_entries > kMaxTlbEntries)
        return "tlb_entries " + std::to_string(config->tlb_entries) + " is more than " +
               std::to_string(kMaxTlbEntries);
    return {};
}

Device::Device(const vttm_model_config& config, const vttm_model_ops& ops, void* opaque,
               const Clock& clock)
    : bus_(ops, opaque, config.vram, config.vram_size),
      vram_visible_(config.vram_visible),
      clock_(clock),
      trace_(bus_, clock_),
      fault_ring_(bus_),
      irq_(bus_, trace_),
      vram_balloon_(bus_, irq_),
      shared_{bus_, roots_, clock_, trace_, faults_, fault_ring_, irq_, gate_, [this] { engine_reset_done(); },
              [this] { look_again(); }, [this] { return begin_reset(); }, [this] { remove(); }} {
    constexpr vttm_engine_class kClasses[VTTM_NUM_ENGINES] = {VTTM_CLASS_COPY, VTTM_CLASS_STAMP};
    const size_t tlb = config.tlb_entries ? config.tlb_entries : kDefaultTlbEntries;
    for (unsigned e = 0; e < VTTM_NUM_ENGINES; e++)
        engines_[e] = std::make_unique<Engine>(shared_, e, kClasses[e], tlb);
}

Device::~Device() {
    for (auto& engine : engines_) engine->stop();
}

bool Device::is_visible_size(uint64_t bytes) const { return can_show(bytes, bus_.vram_size()); }

bool Device::set_vram_visible(uint64_t bytes) {
    if (!is_visible_size(bytes)) return false;
    vram_visible_.store(bytes, std::memory_order_relaxed);
    return true;
}

// --- Reset, pause --------------------------------------------------------------------------------

// Begins a reset; false if one is under way. From here on no register write is taken and no engine
// takes another step, but those under way are not waited for.
bool Device::begin_reset() {
    const ResetGate::Close closed = gate_.close();
    if (closed == ResetGate::Close::already) return false;
    trace_.device(VTTM_TRACE_RESET);
    if (closed == ResetGate::Close::start) start_reset();
    return true;
}

// No register write is under way. The engines obey between two chunks each; the last one to do so
// clears the registers.
void Device::start_reset() {
    {
        std::lock_guard lock(reset_mu_);
        reset_left_ = VTTM_NUM_ENGINES;
    }
    for (auto& engine : engines_) engine->request_device_reset();
}

void Device::engine_reset_done() {
    std::lock_guard lock(reset_mu_);
    if (--reset_left_) return;
    {
        std::lock_guard regs(regs_mu_);
        roots_.reset();
        inv_start_ = 0;
        inv_pages_ = 0;
        for (unsigned e = 0; e < VTTM_NUM_ENGINES; e++) counts_at_reset_[e] = counts(e);
    }
    faults_.reset();
    fault_ring_.reset();
    irq_.reset();
    vram_balloon_.reset();
    bad_accesses_at_reset_.store(bad_accesses_.load());
    resets_.fetch_add(1);
    gate_.open();
    reset_cv_.notify_all();
}

void Device::reset() {
    begin_reset();
    std::unique_lock lock(reset_mu_);
    reset_cv_.wait(lock, [this] { return !gate_.closed(); });
}

void Device::pause() {
    trace_.device(VTTM_TRACE_PAUSE);
    for (auto& engine : engines_) engine->pause();
}

void Device::resume() {
    trace_.device(VTTM_TRACE_RESUME);
    for (auto& engine : engines_) engine->resume();
}

// Memory that was written may be what a ring of any engine waits for.
void Device::look_again() {
    for (auto& engine : engines_) engine->look_again();
}

// --- TLB invalidation ----------------------------------------------------------------------------

void Device::invalidate(uint32_t cmd) {
    std::lock_guard lock(regs_mu_);
    const TlbInvalidation inv{cmd & 3u, cmd >> 16, inv_start_, inv_pages_};
    for (auto& engine : engines_) engine->request_invalidate(inv);
}

uint32_t Device::invalidations_done() const {
    // The engines are never far apart, but a loaded state may have their counts wrap.
    uint64_t done = engines_[0]->invalidations_done();
    for (const auto& engine : engines_) {
        const uint64_t n = engine->invalidations_done();
        if (static_cast<int64_t>(n - done) < 0) done = n;
    }
    return static_cast<uint32_t>(done);
}

}  // namespace vttm::model
