// SPDX-License-Identifier: Apache-2.0
// The register file: which offset is what. A register of 64 bits is a pair of 32-bit ones; it is
// read and written through read64() and write64() whatever the width of the access.
#include "host-backend/model/device.h"

namespace vttm::model {

namespace {

constexpr uint64_t kLoMask = 0xffffffffull;
constexpr uint64_t kHiMask = ~kLoMask;
constexpr uint32_t kVmRootsEnd = VTTM_REG_VM_ROOT_LO(VTTM_MAX_VMS);
constexpr uint64_t kFeatures = VTTM_FEATURE_STALE_DETECT | VTTM_FEATURE_LARGE_LEAVES |
                               VTTM_FEATURE_NO_ACCESS | VTTM_FEATURE_WALK_CACHE |
                               VTTM_FEATURE_FAULT_RING | VTTM_FEATURE_FAULT_RETRY |
                               VTTM_FEATURE_COPY_2D | VTTM_FEATURE_COPY_SG | VTTM_FEATURE_HASH |
                               VTTM_FEATURE_SYNC | VTTM_FEATURE_INDIRECT | VTTM_FEATURE_RINGS |
                               VTTM_FEATURE_COUNTERS | VTTM_FEATURE_VRAM_BALLOON |
                               VTTM_FEATURE_POISON;

struct EngineReg {
    unsigned engine;
    unsigned ring;
    uint32_t off;
};

std::optional<EngineReg> engine_reg(uint32_t off) {
    constexpr uint32_t kEngine = VTTM_ENGINE_BASE(1u) - VTTM_ENGINE_BASE(0u);
    constexpr uint32_t kRing = VTTM_RING_BLOCK(0u, 1u) - VTTM_RING_BLOCK(0u, 0u);
    if (off < VTTM_ENGINE_BASE(0u) || off >= VTTM_RING_BLOCK(0u, VTTM_NUM_RINGS))
        return std::nullopt;
    off -= VTTM_ENGINE_BASE(0u);
    const EngineReg reg{off % kRing / kEngine, off / kRing, off % kEngine};
    if (reg.engine >= VTTM_NUM_ENGINES) return std::nullopt;
    return reg;
}

bool is_vm_mode(uint32_t off) {
    return off >= VTTM_REG_VM_MODE(0u) && off < VTTM_REG_VM_MODE(VTTM_MAX_VMS);
}
bool is_vm_root(uint32_t off) { return off >= VTTM_REG_VM_ROOT_LO(0u) && off < kVmRootsEnd; }

}  // namespace

uint64_t Device::features() const {
    return kFeatures | (bus_.wants_witness() ? VTTM_FEATURE_WITNESS : 0u);
}

[[gnu::flatten]] uint64_t Device::mmio_read(uint64_t off, unsigned size) {
    if (removed()) [[unlikely]]
        return size >= 8 ? ~0ull : (1ull << size * 8) - 1;
    if (off < VTTM_REGS_SIZE && (size == 4 || size == 8) && !(off & (size - 1))) {
        const uint32_t reg = static_cast<uint32_t>(off);
        if (size == 8) {
            if (auto v = read64(reg)) return *v;
        } else if (reg == VTTM_REG_TIMESTAMP_LO) {
            return read_timestamp_lo();
        } else if (reg == VTTM_REG_TIMESTAMP_HI) {
            return timestamp_hi_.load();
        } else if (auto v = read32(reg)) {
            return *v;
        } else if (auto lo = read64(reg)) {
            return *lo & kLoMask;
        } else if (reg >= 4) {
            if (auto hi = read64(reg - 4)) return *hi >> 32;
        }
    }
    bad_access();
    return 0;
}

void Device::mmio_write(uint64_t off, uint64_t val, unsigned size) {
    if (off >= VTTM_REGS_SIZE || (size != 4 && size != 8) || (off & (size - 1))) return bad_access();
    const uint32_t reg = static_cast<uint32_t>(off);
    // While a reset is under way nothing is taken; what was written would be lost anyway.
    if (removed() || !gate_.enter()) return;
    bool ok;
    if (size == 8)
        ok = write64(reg, val, ~0ull);
    else
        ok = write32(reg, static_cast<uint32_t>(val)) || write64(reg, val & kLoMask, kLoMask) ||
             (reg >= 4 && write64(reg - 4, val << 32, kHiMask));
    if (!ok) bad_access();
    if (gate_.leave()) start_reset();
}

uint32_t Device::read_timestamp_lo() {
    const uint64_t now = clock_.now_ns();
    timestamp_hi_.store(static_cast<uint32_t>(now >> 32));
    return static_cast<uint32_t>(now);
}

std::optional<uint32_t> Device::read32(uint32_t off) {
    switch (off) {
        case VTTM_REG_MAGIC:
            return VTTM_MAGIC;
        case VTTM_REG_ABI:
            return VTTM_ABI_MAJOR << 16 | VTTM_ABI_MINOR;
        case VTTM_REG_NUM_ENGINES:
            return VTTM_NUM_ENGINES;
        case VTTM_REG_NUM_VMS:
            return VTTM_MAX_VMS;
        case VTTM_REG_NUM_RINGS:
            return VTTM_NUM_RINGS;
        case VTTM_REG_DEV_CTRL:
            return 0;
        case VTTM_REG_DEV_STATUS:
            return gate_.closed() ? VTTM_DEV_STATUS_RESETTING : 0;
        case VTTM_REG_IRQ_STATUS:
            return irq_.status();
        case VTTM_REG_IRQ_ENABLE:
            return irq_.enable();
        case VTTM_REG_BAD_ACCESS:
            return static_cast<uint32_t>(bad_accesses_.load() - bad_accesses_at_reset_.load());
        case VTTM_REG_FAULT_STATUS:
            return faults_.status();
        case VTTM_REG_FAULT_INFO:
            return faults_.info();
        case VTTM_REG_FAULT_COUNT:
            return faults_.count();
        case VTTM_REG_STALE_COUNT:
            return faults_.stale_count();
        case VTTM_REG_TLB_INV_PAGES: {
            std::lock_guard lock(regs_mu_);
            return inv_pages_;
        }
        case VTTM_REG_TLB_INV_CMD:
            return 0;
        case VTTM_REG_TLB_INV_DONE:
            return invalidations_done();
        case VTTM_REG_FAULT_RING_SIZE:
            return fault_ring_.size();
        case VTTM_REG_FAULT_RING_CTRL:
            return fault_ring_.ctrl();
        case VTTM_REG_FAULT_RING_PUT:
            return fault_ring_.put();
        case VTTM_REG_FAULT_RING_GET:
            return fault_ring_.get();
        case VTTM_REG_FAULT_RING_LOST:
            return fault_ring_.lost();
        default:
            if (is_vm_mode(off)) return roots_.mode((off - VTTM_REG_VM_MODE(0u)) / 4);
            if (auto r = engine_reg(off)) return engines_[r->engine]->read32(r->ring, r->off);
            return std::nullopt;
    }
}

std::optional<uint64_t> Device::read64(uint32_t off) {
    switch (off) {
        case VTTM_REG_FEATURES_LO:
            return features();
        case VTTM_REG_VRAM_SIZE_LO:
            return bus_.vram_size();
        case VTTM_REG_VRAM_VISIBLE_LO:
            return vram_visible_.load(std::memory_order_relaxed);
        case VTTM_REG_TIMESTAMP_LO:
            return clock_.now_ns();
        case VTTM_REG_FAULT_ADDR_LO:
            return faults_.addr();
        case VTTM_REG_TLB_INV_START_LO: {
            std::lock_guard lock(regs_mu_);
            return inv_start_;
        }
        case VTTM_REG_FAULT_RING_BASE_LO:
            return fault_ring_.base();
        case VTTM_REG_VRAM_TARGET_LO:
            return vram_balloon_.target();
        case VTTM_REG_VRAM_LIMIT_LO:
            return vram_balloon_.limit();
        default:
            if (is_vm_root(off) && off % 8 == 0)
                return roots_.get((off - VTTM_REG_VM_ROOT_LO(0u)) / 8);
            if (auto v = read_counter(off)) return v;
            if (auto r = engine_reg(off)) return engines_[r->engine]->read64(r->ring, r->off);
            return std::nullopt;
    }
}

bool Device::write32(uint32_t off, uint32_t val) {
    switch (off) {
        case VTTM_REG_MAGIC:
        case VTTM_REG_ABI:
        case VTTM_REG_NUM_ENGINES:
        case VTTM_REG_NUM_VMS:
        case VTTM_REG_NUM_RINGS:
        case VTTM_REG_DEV_STATUS:
        case VTTM_REG_BAD_ACCESS:
        case VTTM_REG_FAULT_INFO:
        case VTTM_REG_FAULT_COUNT:
        case VTTM_REG_STALE_COUNT:
        case VTTM_REG_TLB_INV_DONE:
        case VTTM_REG_FAULT_RING_PUT:
        case VTTM_REG_FAULT_RING_LOST:
            return true;
        case VTTM_REG_DEV_CTRL:
            if (val & VTTM_DEV_CTRL_RESET) begin_reset();
            return true;
        case VTTM_REG_IRQ_STATUS:
            irq_.clear_status(val);
            return true;
        case VTTM_REG_IRQ_ENABLE:
            irq_.write_enable(val);
            return true;
        case VTTM_REG_FAULT_STATUS:
            faults_.clear_status(val);
            return true;
        case VTTM_REG_TLB_INV_PAGES: {
            std::lock_guard lock(regs_mu_);
            inv_pages_ = val;
            return true;
        }
        case VTTM_REG_TLB_INV_CMD:
            invalidate(val);
            return true;
        case VTTM_REG_FAULT_RING_SIZE:
            return fault_ring_.write_size(val);
        case VTTM_REG_FAULT_RING_CTRL:
            return fault_ring_.write_ctrl(val);
        case VTTM_REG_FAULT_RING_GET:
            return fault_ring_.write_get(val);
        default:
            if (is_vm_mode(off)) {
                if (val & ~VTTM_VM_MODE_RETRY) return false;
                roots_.set_mode((off - VTTM_REG_VM_MODE(0u)) / 4, val);
                return true;
            }
            if (auto r = engine_reg(off)) return engines_[r->engine]->write32(r->ring, r->off, val);
            return false;
    }
}

bool Device::write64(uint32_t off, uint64_t val, uint64_t mask) {
    switch (off) {
        case VTTM_REG_FEATURES_LO:
        case VTTM_REG_VRAM_SIZE_LO:
        case VTTM_REG_VRAM_VISIBLE_LO:
        case VTTM_REG_VRAM_TARGET_LO:
        case VTTM_REG_TIMESTAMP_LO:
        case VTTM_REG_FAULT_ADDR_LO:
            return true;
        case VTTM_REG_TLB_INV_START_LO: {
            std::lock_guard lock(regs_mu_);
            inv_start_ = (inv_start_ & ~mask) | (val & mask);
            return true;
        }
        case VTTM_REG_FAULT_RING_BASE_LO:
            return fault_ring_.write_base(val, mask);
        case VTTM_REG_VRAM_LIMIT_LO:
            return vram_balloon_.write_limit(val, mask);
        default:
            if (is_vm_root(off) && off % 8 == 0) {
                const uint32_t vm = (off - VTTM_REG_VM_ROOT_LO(0u)) / 8;
                std::lock_guard lock(regs_mu_);
                roots_.set(vm, (roots_.get(vm) & ~mask) | (val & mask));
                return true;
            }
            if (read_counter(off)) return true;
            if (auto r = engine_reg(off)) return engines_[r->engine]->write64(r->ring, r->off, val, mask);
            return false;
    }
}

}  // namespace vttm::model
