// SPDX-License-Identifier: Apache-2.0
#include "host-backend/machine/variant.h"

#include <stdexcept>
#include <string>

namespace vttm::machine {
namespace {

// page_poison=1: writes to a freed page are found when it is allocated. It takes the place of init_on_free=1 and keeps its
// promise to the host's scan of RAM: a freed page holds the poison, no stamp.
// watchdog_thresh, rcu_cpu_stall_timeout: under TCG, beside other work, these kernels are slow enough to look stuck.
constexpr std::string_view kChecking =
    "page_poison=1 watchdog_thresh=30 rcupdate.rcu_cpu_stall_timeout=120";

constexpr Variant kVariants[] = {
    {.name = "base", .cmdline = "", .patience = 1, .huge_pages = true, .lockdep = false,
     .kmemleak = false, .kasan = false, .own_pace = true},
    {.name = "nothp", .cmdline = "", .patience = 1, .huge_pages = false, .lockdep = false,
     .kmemleak = false, .kasan = false, .own_pace = true},
    {.name = "debug", .cmdline = kChecking, .patience = 6, .huge_pages = true, .lockdep = true,
     .kmemleak = true, .kasan = false, .own_pace = false},
    {.name = "kasan", .cmdline = kChecking, .patience = 10, .huge_pages = true, .lockdep = true,
     .kmemleak = true, .kasan = true, .own_pace = false},
};

}  // namespace

const Variant& variant_named(std::string_view name) {
    for (const Variant& v : kVariants)
        if (v.name == name) return v;
    throw std::runtime_error("there is no kernel variant \"" + std::string(name) +
                             "\", only base, debug, kasan, nothp");
}

}  // namespace vttm::machine
