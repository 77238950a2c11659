// SPDX-License-Identifier: Apache-2.0
// The GPU: register file, reset, and what the engines share.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>

#include "host-backend/model/engine.h"
#include "host-backend/model/fault_lane.h"
#include "host-backend/model/reset_gate.h"
#include "host-backend/model/vram_balloon.h"

namespace vttm::model {

inline constexpr uint32_t kDefaultTlbEntries = 1u << 20;
inline constexpr uint32_t kMaxTlbEntries = 1u << 24;

// Of one engine, in the order of VTTM_CNT_*.
using Counts = std::array<uint64_t, VTTM_NUM_COUNTERS>;

class Device {
public:
    // @config was checked by check_config().
    Device(const vttm_model_config& config, const vttm_model_ops& ops, void* opaque,
           const Clock& clock = Clock());
    ~Device();
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;

    // What is wrong with the arguments of vttm_model_create(), or an empty string.
    static std::string check_config(const vttm_model_config* config, const vttm_model_ops* ops);

    uint64_t mmio_read(uint64_t off, unsigned size);
    void mmio_write(uint64_t off, uint64_t val, unsigned size);
    void reset();
    void pause();
    void resume();
    // False if BAR2 cannot have this size.
    bool set_vram_visible(uint64_t bytes);
    std::string stats_json() const;
    // All that the guest can tell of, but for VRAM's bytes (state.cc). Both throw StateError, and then
    // nothing has changed; both wait for the workers. No register is accessed meanwhile. Where BAR2
    // is given, it has to be as the saved device shows it.
    StateBytes save();
    void restore(std::span<const uint8_t> bytes, const uint64_t* vram_visible = nullptr);
    // For tests, which let the engines work in turns.
    Engine& engine(unsigned e) { return *engines_[e]; }
    VramBalloon& vram_balloon() { return vram_balloon_; }

    // Faults on demand (faults.cc); by the host only. Throws FaultPlanError, and then nothing changes.
    void set_fault_plan(std::string_view text);
    bool has_fault_plan() const;
    std::string faults_json() const;
    bool removed() const { return removed_.load(std::memory_order_relaxed); }

private:
    class PauseGuard {
    public:
        explicit PauseGuard(Device& device) : device_(device) { device.pause(); }
        ~PauseGuard() { device_.resume(); }
        PauseGuard(const PauseGuard&) = delete;
        PauseGuard& operator=(const PauseGuard&) = delete;

    private:
        Device& device_;
    };
    struct State;
    template <class Io>
    void io(Io& io, State& s) const;
    State state() const;
    State load(StateReader& in) const;
    void prepare(State& state);
    void commit(State& state) noexcept;
    uint64_t features() const;
    std::optional<uint32_t> read32(uint32_t off);
    std::optional<uint64_t> read64(uint32_t off);
    bool write32(uint32_t off, uint32_t val);
    bool write64(uint32_t off, uint64_t val, uint64_t mask);
    uint32_t read_timestamp_lo();
    Counts counts(unsigned engine) const;
    static Counts counts_of(const EngineTotals& totals, uint64_t faults, uint64_t stale);
    bool is_visible_size(uint64_t bytes) const;
    std::optional<uint64_t> read_counter(uint32_t off) const;
    void invalidate(uint32_t cmd);
    uint32_t invalidations_done() const;
    bool begin_reset();
    void start_reset();
    void engine_reset_done();
    void look_again();
    void remove();
    void bring_back();
    void strike_at_once(FaultRecord& record);
    uint64_t injected() const;
    void bad_access() { bad_accesses_.fetch_add(1, std::memory_order_relaxed); }

    Bus bus_;
    std::atomic<uint64_t> vram_visible_;  // the bus changes it under the guest
    Clock clock_;
    Tracer trace_;
    VmRoots roots_;
    FaultUnit faults_;
    FaultRing fault_ring_;
    IrqController irq_;
    VramBalloon vram_balloon_;
    std::atomic<uint64_t> bad_accesses_{0};
    std::atomic<uint64_t> bad_accesses_at_reset_{0};
    std::atomic<uint64_t> resets_{0};
    std::atomic<uint32_t> timestamp_hi_{0};

    // roots_ (read-modify-write), inv_start_, inv_pages_, counts_at_reset_
    mutable std::mutex regs_mu_;
    uint64_t inv_start_ = 0;
    uint32_t inv_pages_ = 0;
    std::array<Counts, VTTM_NUM_ENGINES> counts_at_reset_{};

    std::mutex reset_mu_;
    std::condition_variable reset_cv_;
    unsigned reset_left_ = 0;  // engines that have not obeyed yet
    ResetGate gate_;           // closed: from begin_reset() until all is done

    std::atomic<bool> removed_{false};  // by the host: reads are all ones, nothing else works

    EngineShared shared_;
    std::array<std::unique_ptr<Engine>, VTTM_NUM_ENGINES> engines_;

    mutable std::mutex plan_mu_;  // which one record_ is; and injected_before_
    std::unique_ptr<FaultRecord> record_;
    uint64_t injected_before_ = 0;  // by earlier plans
};

}  // namespace vttm::model
