// SPDX-License-Identifier: Apache-2.0
#include "host-backend/model/packet.h"

namespace vttm::model {

namespace {

template <typename T>
constexpr uint32_t dwords_of() {
    return sizeof(T) / sizeof(uint32_t);
}

}  // namespace

bool framing_ok(vttm_engine_class cls, uint32_t header) {
    const uint32_t n = VTTM_PKT_DWORDS(header);
    switch (VTTM_PKT_OP(header)) {
        case VTTM_OP_NOP:
            return n >= 1 && n <= VTTM_PKT_MAX_DWORDS;
        case VTTM_OP_SET_VM:
            return n == dwords_of<vttm_pkt_set_vm>();
        case VTTM_OP_FENCE:
            return n == dwords_of<vttm_pkt_fence>();
        case VTTM_OP_TIMESTAMP:
            return n == dwords_of<vttm_pkt_timestamp>();
        case VTTM_OP_SEM_SIGNAL:
            return n == dwords_of<vttm_pkt_sem_signal>();
        case VTTM_OP_SEM_WAIT:
            return n == dwords_of<vttm_pkt_sem_wait>();
        case VTTM_OP_COND_SKIP:
            return n == dwords_of<vttm_pkt_cond_skip>();
        case VTTM_OP_INDIRECT:
            return n == dwords_of<vttm_pkt_indirect>();
        case VTTM_OP_COPY:
            return cls == VTTM_CLASS_COPY && n == dwords_of<vttm_pkt_copy>();
        case VTTM_OP_FILL:
            return cls == VTTM_CLASS_COPY && n == dwords_of<vttm_pkt_fill>();
        case VTTM_OP_COPY_2D:
            return cls == VTTM_CLASS_COPY && n == dwords_of<vttm_pkt_copy_2d>();
        case VTTM_OP_FILL_2D:
            return cls == VTTM_CLASS_COPY && n == dwords_of<vttm_pkt_fill_2d>();
        case VTTM_OP_SCATTER:
        case VTTM_OP_GATHER:
            return cls == VTTM_CLASS_COPY && n == dwords_of<vttm_pkt_sg>();
        case VTTM_OP_HASH:
            return cls == VTTM_CLASS_STAMP && n == dwords_of<vttm_pkt_hash>();
        case VTTM_OP_STAMP_WRITE:
        case VTTM_OP_STAMP_VERIFY:
            return cls == VTTM_CLASS_STAMP && n == dwords_of<vttm_pkt_stamp>();
        default:
            return false;
    }
}

bool unprivileged_ok(uint32_t header) {
    constexpr uint32_t kVm = VTTM_PKT_DST(VTTM_SPACE_VM) | VTTM_PKT_SRC(VTTM_SPACE_VM);
    static_assert(kVm == 0, "a space that is not VM has a bit set");
    uint32_t spaces = VTTM_PKT_DST(3u) | VTTM_PKT_SRC(3u);
    switch (VTTM_PKT_OP(header)) {
        case VTTM_OP_NOP:
            return true;
        case VTTM_OP_SET_VM:
        case VTTM_OP_FENCE:
            return false;
        case VTTM_OP_SCATTER:
        case VTTM_OP_GATHER:
            spaces |= VTTM_PKT_LIST(3u);
            break;
        default:
            break;
    }
    return !(VTTM_PKT_FLAGS(header) & spaces);
}

bool flags_ok(uint32_t header) {
    constexpr uint32_t kSpaces = VTTM_PKT_DST(3u) | VTTM_PKT_SRC(3u);
    uint32_t known = 0;
    switch (VTTM_PKT_OP(header)) {
        case VTTM_OP_NOP:
            return true;
        case VTTM_OP_FENCE:
            known = VTTM_PKT_FLAG_IRQ;
            break;
        case VTTM_OP_SET_VM:
            break;
        case VTTM_OP_TIMESTAMP:
        case VTTM_OP_SEM_WAIT:
            known = VTTM_PKT_DST(3u);
            break;
        case VTTM_OP_SEM_SIGNAL:
            known = VTTM_PKT_DST(3u) | VTTM_PKT_FLAG_ADD;
            break;
        case VTTM_OP_INDIRECT:
            known = VTTM_PKT_DST(3u) | VTTM_PKT_FLAG_UNPRIVILEGED;
            break;
        case VTTM_OP_COND_SKIP:
            known = VTTM_PKT_DST(3u) | VTTM_PKT_FLAG_DWORD;
            break;
        case VTTM_OP_SCATTER:
        case VTTM_OP_GATHER:
            known = kSpaces | VTTM_PKT_LIST(3u);
            break;
        default:
            known = kSpaces;
            break;
    }
    return !(VTTM_PKT_FLAGS(header) & ~known);
}

}  // namespace vttm::model
