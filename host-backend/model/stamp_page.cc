// SPDX-License-Identifier: Apache-2.0
#include "host-backend/model/stamp_page.h"

namespace vttm::model {

namespace {

// No way out at the first bad line: that would be a branch for each, and no vectors.
[[gnu::always_inline]] inline bool check(const void* page, const vttm_stamp_id& id) {
    const uint64_t base = vttm_stamp_base(&id);
    const auto* w = static_cast<const uint64_t*>(page);
    uint64_t diff = 0;
    for (uint32_t line = 0; line < VTTM_STAMP_LINES; line++, w += 8) {
        uint64_t e[8];
        vttm_stamp_make_line(e, &id, base, line);
        for (int i = 0; i < 8; i++) diff |= w[i] ^ e[i];
    }
    return !diff;
}

void fill_portable(void* page, const vttm_stamp_id& id) { vttm_stamp_fill(page, &id); }
bool is_good_portable(const void* page, const vttm_stamp_id& id) {
    return vttm_stamp_check(page, &id);
}

#if defined(__x86_64__) && defined(__GNUC__)
#define VTTM_VECTORS 1
[[gnu::target("avx2")]] void fill_avx2(void* page, const vttm_stamp_id& id) {
    vttm_stamp_fill(page, &id);
}
[[gnu::target("avx2")]] bool is_good_avx2(const void* page, const vttm_stamp_id& id) {
    return check(page, id);
}
[[gnu::target("avx512f,avx512vl,avx512dq")]] void fill_avx512(void* page,
                                                              const vttm_stamp_id& id) {
    vttm_stamp_fill(page, &id);
}
[[gnu::target("avx512f,avx512vl,avx512dq")]] bool is_good_avx512(const void* page,
                                                                 const vttm_stamp_id& id) {
    return check(page, id);
}
#endif

}  // namespace

bool can_run(StampCode code) {
    switch (code) {
        case StampCode::portable:
            return true;
#ifdef VTTM_VECTORS
        case StampCode::avx2:
            return __builtin_cpu_supports("avx2");
        case StampCode::avx512:
            return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                   __builtin_cpu_supports("avx512dq");
#endif
        default:
            return false;
    }
}

const StampPage& stamp_page(StampCode code) {
    static constexpr StampPage portable{fill_portable, is_good_portable};
#ifdef VTTM_VECTORS
    static constexpr StampPage avx2{fill_avx2, is_good_avx2};
    static constexpr StampPage avx512{fill_avx512, is_good_avx512};
    if (code == StampCode::avx2) return avx2;
    if (code == StampCode::avx512) return avx512;
#endif
    (void)code;
    return portable;
}

const StampPage& stamp_page() {
    static const StampPage& best = stamp_page(can_run(StampCode::avx512) ? StampCode::avx512
                                              : can_run(StampCode::avx2) ? StampCode::avx2
                                                                         : StampCode::portable);
    return best;
}

}  // namespace vttm::model
