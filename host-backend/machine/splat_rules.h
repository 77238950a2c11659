// SPDX-License-Identifier: Apache-2.0
// Which lines of a guest's console tell of a fault.
#pragma once

#include <optional>
#include <string_view>

namespace vttm::machine {

enum class SplatKind {
    kPanic,        // the kernel is dead
    kOops,         // fault in kernel mode, or BUG()
    kBug,          // "BUG:" of the sanity checks (bad page state, sleeping in atomic, slab, list)
    kWarning,      // WARN_ON
    kSanitizer,    // KASAN, KFENCE, KCSAN, UBSAN
    kLockdep,      // lock order, lock state, RCU usage
    kLockup,       // hung task, soft or hard lockup, RCU stall, workqueue lockup
    kAgentExited,  // init's lines: the agent ended, or init gave up
    kOomKill,      // no splat: recorded
    kNote,         // no splat: recorded (swap I/O errors, allocation failures, segfaults, what kmemleak says)
};

// For messages: "kernel panic", "oops", ...
std::string_view splat_name(SplatKind kind);

// True for the kinds that end a run.
bool is_splat(SplatKind kind);

// True if a guest with this splat surely never gets as far as the agent.
bool is_fatal_at_boot(SplatKind kind);

// The line without time stamp, caller id, log level and carriage return.
std::string_view strip_prefix(std::string_view line);

// What a console line (with or without prefix) tells; nullopt for an ordinary line. The first rule
// that matches counts.
std::optional<SplatKind> classify_line(std::string_view line);

}  // namespace vttm::machine
