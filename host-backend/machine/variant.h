// SPDX-License-Identifier: Apache-2.0
// What is different with each kernel of images/kernel/config. All that depends on the variant asks here: time limits,
// words on the command line, what the kernel can check, and what it cannot show.
#pragma once

#include <chrono>
#include <string_view>

namespace vttm::machine {

struct Variant {
    std::string_view name;
    std::string_view cmdline;  // words that its kernel needs
    int patience;              // time limits are so many times those of base
    bool huge_pages;           // else there are no large folios
    bool lockdep;              // /proc/lockdep_stats says whether it still looks
    bool kmemleak;             // /sys/kernel/debug/kmemleak
    bool kasan;
    bool own_pace;  // its times are those of the code: the assertions cost next to nothing

    template <typename Rep, typename Period>
    std::chrono::duration<Rep, Period> scaled(std::chrono::duration<Rep, Period> limit) const {
        return limit * patience;
    }
};

// Throws std::runtime_error for a name that is none.
const Variant& variant_named(std::string_view name);

}  // namespace vttm::machine
