// SPDX-License-Identifier: Apache-2.0
#include "host-backend/model/mmu.h"

#include "protocol/vttm_packets.h"

namespace vttm::model {

Translation Mmu::translate(Walker& walker, uint32_t vm, uint64_t va, bool write) {
    const uint64_t vpn = va >> VTTM_PAGE_SHIFT;
    Translation t;

    // An engine without a VM has no cached leaves either.
    if (vm >= VTTM_MAX_VMS) return {VTTM_FAULT_NO_VM, false, 0, 0};

    uint64_t pte = tlb_.lookup(vm, vpn);
    const WalkResult now = walker.walk(vm, va);
    if (pte) {
        bump(hits_);
        t.stale = now.reason != VTTM_FAULT_NONE || now.pte != pte;
    } else {
        bump(misses_);
        if (now.reason != VTTM_FAULT_NONE) return {now.reason, false, 0, 0};
        pte = now.pte;
        tlb_.insert(vm, vpn, pte);
        evictions_.store(tlb_.evictions(), std::memory_order_relaxed);
    }
    t.phys = pte & VTTM_PTE_ADDR;
    t.space = pte & VTTM_PTE_SYSTEM ? VTTM_SPACE_SYSTEM : VTTM_SPACE_VRAM;
    if (write && !(pte & VTTM_PTE_WRITE))
        t.reason = VTTM_FAULT_READ_ONLY;
    else if (t.space == VTTM_SPACE_VRAM && !bus_.vram_contains(t.phys, VTTM_PAGE_SIZE))
        t.reason = VTTM_FAULT_VRAM_RANGE;
    return t;
}

void Mmu::invalidate(const TlbInvalidation& inv) {
    switch (inv.scope) {
        case VTTM_TLB_INV_VM:
            tlb_.invalidate_vm(inv.vm);
            break;
        case VTTM_TLB_INV_RANGE:
            tlb_.invalidate_range(inv.vm, inv.start >> VTTM_PAGE_SHIFT, inv.pages);
            break;
        default:
            tlb_.invalidate_all();
            break;
    }
}

}  // namespace vttm::model
