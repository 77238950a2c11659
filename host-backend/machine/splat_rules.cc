// SPDX-License-Identifier: Apache-2.0
#include "host-backend/machine/splat_rules.h"

#include <regex>
#include <vector>

namespace vttm::machine {
namespace {

struct Rule {
    SplatKind kind;
    const char* pattern;  // searched in the line without its prefix
};

// Order matters: the special before the general. `^` is the start of the message.
constexpr Rule kRules[] = {
    // The end.
    {SplatKind::kPanic, R"(^Kernel panic - not syncing)"},
    {SplatKind::kPanic, R"(^(traps: )?PANIC: )"},

    // Stalls name themselves BUG or INFO; they are hangs, not wrong code.
    {SplatKind::kLockup, R"(^watchdog: BUG: soft lockup - CPU#\d+ stuck for )"},
    {SplatKind::kLockup, R"(^(NMI )?watchdog: .*hard LOCKUP on cpu)"},
    {SplatKind::kLockup, R"(^watchdog: CPU\d+: Watchdog detected hard LOCKUP)"},
    {SplatKind::kLockup,
     R"(^INFO: task \S+:\d+ .*blocked (in I/O wait )?for more than \d+ seconds)"},
    {SplatKind::kLockup, R"(^INFO: task \S+:\d+ is blocked on )"},
    {SplatKind::kLockup, R"(^rcu: INFO: \S+ (self-)?detected (expedited )?stalls? on CPU)"},
    {SplatKind::kLockup,
     R"(^rcu: \S+ kthread (timer wakeup didn't happen|starved) for \d+ jiffies)"},
    {SplatKind::kLockup, R"(^BUG: workqueue lockup - pool)"},
    {SplatKind::kLockup, R"(^INFO: rcu_\S+ detected stalls on tasks)"},

    // Sanitizers.
    {SplatKind::kSanitizer, R"(^BUG: (KASAN|KFENCE|KCSAN|KMSAN): )"},
    {SplatKind::kSanitizer, R"(^UBSAN: )"},

    // Lockdep and its kin. Their headers have no common word but these.
    {SplatKind::kLockdep,
     R"(^WARNING: (possible (circular locking dependency|recursive locking|irq lock inversion)|)"
     R"(possible irq lock inversion dependency|inconsistent lock state|bad unlock balance|)"
     R"(suspicious RCU usage|Nested lock was not taken|lock held when returning to user space|)"
     R"(held lock freed|bad contention detected|chain_key collision|\S+/\d+ still has locks held|.*(-safe -> .*-unsafe lock order|)"
     R"(unsafe lock order) detected))"},
    {SplatKind::kLockdep, R"(^WARNING: .*[- ]unsafe lock order detected)"},
    {SplatKind::kLockdep, R"(^BUG: (MAX_LOCK|MAX_STACK|MAX_LOCKDEP)\S* (too low|entries too low))"},
    {SplatKind::kLockdep, R"(^\[ BUG: .* \]$)"},
    {SplatKind::kLockdep, R"(^INFO: trying to register non-static key)"},
    {SplatKind::kLockdep, R"(^DEBUG_LOCKS_WARN_ON\()"},

    // Faults in kernel mode.
    {SplatKind::kOops, R"(^BUG: (kernel NULL pointer dereference|unable to handle ))"},
    {SplatKind::kOops, R"(^kernel BUG at )"},
    {SplatKind::kOops, R"(^Oops: )"},
    {SplatKind::kOops, R"(^general protection fault)"},
    {SplatKind::kOops, R"(^[A-Za-z][A-Za-z -]*: [0-9a-f]{4} \[#\d+\])"},
    {SplatKind::kOops, R"(^kernel tried to execute NX-protected page)"},

    // Sanity checks.
    {SplatKind::kBug, R"(^BUG: )"},
    {SplatKind::kBug, R"(^BUG \S+ .*\(.*(tainted|Tainted).*\): )"},
    {SplatKind::kBug, R"(^Bad page map in process )"},
    {SplatKind::kBug, R"(^(list_add|list_del) corruption)"},
    {SplatKind::kBug, R"(^(cache_from_obj|slab_err): )"},
    {SplatKind::kBug, R"(^refcount_t: )"},
    {SplatKind::kBug, R"(^pagealloc: (single bit error|memory corruption))"},
    {SplatKind::kBug, R"(^ODEBUG: )"},
    {SplatKind::kBug, R"(^DMA-API: .*(: device driver |cacheline tracking|out of memory))"},
    {SplatKind::kBug, R"(^(\S+: )?Bad swap (file|offset) entry )"},

    // WARN_ON: "WARNING: CPU: 0 PID: 1 at mm/x.c:1 f+0x1/0x2", newer "WARNING: mm/x.c:1 at
    // f+0x1/0x2".
    {SplatKind::kWarning, R"(^WARNING: CPU: \d+ PID: \d+ at )"},
    {SplatKind::kWarning, R"(^WARNING: \S+:\d+ at )"},
    {SplatKind::kWarning, R"(^WARNING: .*, CPU#\d+: )"},

    // Ours.
    {SplatKind::kAgentExited, R"(^vttm-init: (agent exited|fatal: ))"},

    // Recorded only.
    {SplatKind::kOomKill, R"(^(Memory cgroup out|Out) of memory.*: Killed process \d+)"},
    // Of the kernel's own or of a test, perhaps: who has it scan (our kernels do not by themselves) judges its list.
    {SplatKind::kNote, R"(^kmemleak: \d+ new suspected memory leaks)"},
    {SplatKind::kNote, R"(^kmemleak: Cannot allocate a kmemleak_object)"},  // and is off; who asks it for leaks is told
    {SplatKind::kNote, R"(^(Read|Write)-error on swap-device )"},
    {SplatKind::kNote, R"(^\S+: page allocation failure: order:)"},
    {SplatKind::kNote, R"(^(traps: )?\S+\[\d+\]:? (segfault at|general protection fault|trap ))"},
};

struct Compiled {
    SplatKind kind;
    std::regex regex;
};

const std::vector<Compiled>& compiled_rules() {
    static const std::vector<Compiled> rules = [] {
        std::vector<Compiled> out;
        for (const Rule& rule : kRules)
            out.push_back({rule.kind, std::regex(rule.pattern, std::regex::optimize)});
        return out;
    }();
    return rules;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// "[   12.345678] ": a time stamp; "[    T1] ", "[  C0] ": a caller; "<4>": a log level.
bool eat_bracket(std::string_view& line) {
    if (!line.starts_with('[')) return false;
    const std::size_t close = line.find(']');
    if (close == std::string_view::npos || close > 24) return false;
    std::string_view inside = line.substr(1, close - 1);
    while (inside.starts_with(' ')) inside.remove_prefix(1);
    if (inside.starts_with('T') || inside.starts_with('C')) inside.remove_prefix(1);
    if (inside.empty()) return false;
    for (const char c : inside)
        if (!is_digit(c) && c != '.') return false;
    line.remove_prefix(close + 1);
    if (line.starts_with(' ')) line.remove_prefix(1);
    return true;
}

bool eat_level(std::string_view& line) {
    if (line.size() < 3 || line[0] != '<' || !is_digit(line[1])) return false;
    const std::size_t close = line.find('>');
    if (close == std::string_view::npos || close > 4) return false;
    line.remove_prefix(close + 1);
    return true;
}

}  // namespace

std::string_view splat_name(SplatKind kind) {
    switch (kind) {
        case SplatKind::kPanic:
            return "kernel panic";
        case SplatKind::kOops:
            return "kernel oops";
        case SplatKind::kBug:
            return "kernel BUG";
        case SplatKind::kWarning:
            return "kernel WARNING";
        case SplatKind::kSanitizer:
            return "sanitizer report";
        case SplatKind::kLockdep:
            return "lockdep report";
        case SplatKind::kLockup:
            return "lockup, stall or hung task";
        case SplatKind::kAgentExited:
            return "agent exit";
        case SplatKind::kOomKill:
            return "OOM kill";
        case SplatKind::kNote:
            return "note";
    }
    return "unknown";
}

bool is_splat(SplatKind kind) { return kind != SplatKind::kOomKill && kind != SplatKind::kNote; }

bool is_fatal_at_boot(SplatKind kind) {
    return kind == SplatKind::kPanic || kind == SplatKind::kAgentExited;
}

std::string_view strip_prefix(std::string_view line) {
    while (line.ends_with('\r') || line.ends_with('\n')) line.remove_suffix(1);
    while (eat_level(line) || eat_bracket(line)) {
    }
    return line;
}

std::optional<SplatKind> classify_line(std::string_view line) {
    const std::string_view message = strip_prefix(line);
    if (message.size() < 6) return std::nullopt;
    for (const Compiled& rule : compiled_rules())
        if (std::regex_search(message.begin(), message.end(), rule.regex)) return rule.kind;
    return std::nullopt;
}

}  // namespace vttm::machine
