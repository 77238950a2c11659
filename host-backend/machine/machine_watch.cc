// SPDX-License-Identifier: Apache-2.0
// What the machine makes of a sick guest: which error, with what evidence.
#include <fmt/format.h>

#include <fstream>
#include <thread>
#include <utility>

#include "host-backend/machine/interrupt.h"
#include "host-backend/machine/machine_impl.h"
#include "host-backend/machine/process.h"

namespace vttm::machine {
namespace {

using Clock = std::chrono::steady_clock;
using Millis = std::chrono::milliseconds;

// How long the rest of a splat, or libvirt's word on a QEMU that ended, may take to come.
constexpr Millis kSettle{1500};
constexpr Millis kTick{50};
// How long a kernel that panics may take to print all blocked tasks.
constexpr Millis kLastWords{10000};
// What QEMU knows of a guest that stands still: the CPU, and whether the swap disk owes an answer (in
// use) or has a request that nobody told it of (last_avail_idx behind the ring's idx).
constexpr const char* kHangQuestions[] = {
    "info status",
    "info registers -a",
    "info lapic",
    "info irq",
    "info blockstats",
    "info virtio-queue-status /machine/peripheral/virtio-disk0/virtio-backend 0",
    "info virtio-queue-element /machine/peripheral/virtio-disk0/virtio-backend 0"};

std::string join(const std::vector<std::string>& lines, std::size_t limit) {
    std::string out;
    for (std::size_t i = 0; i < lines.size() && i < limit; ++i) out += "  | " + lines[i] + "\n";
    if (lines.size() > limit) out += fmt::format("  | ({} more lines)\n", lines.size() - limit);
    return out;
}

}  // namespace

void Machine::Impl::poll_console() { console->poll(); }

const Splat* Machine::Impl::first_splat() const {
    for (const Splat& splat : console->splats())
        if (!tolerate_splats || is_fatal_at_boot(splat.kind)) return &splat;
    return nullptr;
}

void Machine::Impl::check() {
    if (const int number = interrupted(); number != 0) throw_if_interrupted();
    if (!domain_) raise_gone();
    if (hang_) throw GuestHang(*hang_);  // a hung guest is asked nothing more
    poll_console();
    if (const Splat* splat = first_splat())
        if (!booting_ || is_fatal_at_boot(splat->kind)) raise_splat(*splat);
    if (booting_)  // a WARNING may stand before the panic
        for (const Splat& splat : console->splats())
            if (is_fatal_at_boot(splat.kind)) raise_splat(splat);
    check_domain_state();
}

void Machine::Impl::check_domain_state() {
    DomainState& state = domain_->state();
    bool stopped = false;
    std::string io_error;
    {
        const std::lock_guard lock(state.mutex);
        stopped = state.stopped.has_value();
        io_error = state.io_error;
    }
    if (!io_error.empty()) {
        Problem problem =
            keep_evidence({io_error == "enospc"
                               ? "the host's disk is full: QEMU cannot write the guest's swap disk"
                               : "QEMU cannot read or write the guest's swap disk: " + io_error,
                           {},
                           fmt::format("free space at {}, or choose another place (VTTM_CACHE=DIR)",
                                       workspace.disk_dir().string()),
                           {}});
        if (io_error == "enospc") throw DiskFull(std::move(problem));
        throw InfraError(std::move(problem));
    }
    if (stopped || (pid != 0 && !process_alive(pid))) raise_gone();
}

void Machine::Impl::raise_splat(const Splat& first) {
    // The excerpt shall be whole; the vector may move while lines come, so take the place.
    const auto index = static_cast<std::size_t>(&first - console->splats().data());
    const auto deadline = Clock::now() + kSettle;
    while (!settled_ && !console->splats()[index].complete && Clock::now() < deadline) {
        std::this_thread::sleep_for(kTick);
        poll_console();
    }
    settled_ = true;
    const Splat splat = console->splats()[index];  // a copy: the dump of a hang prints a panic
    if (splat.kind == SplatKind::kLockup && domain_ && process_alive(pid) &&
        !std::exchange(hang_dumped_, true))
        dump_hang();
    Problem problem;
    problem.excerpt = join(splat.lines, 30);
    const std::string line(splat.line);
    if (splat.kind == SplatKind::kAgentExited) {
        problem.what = "the guest's agent ended: " + line;
        if (!console->oom_kills().empty())
            problem.what +=
                fmt::format("; the guest's OOM killer had ended {} processes, the last: {}",
                            console->oom_kills().size(), console->oom_kills().back());
        if (console->notes().size() > 0) problem.what += "; " + console->notes().back();
    } else {
        problem.what = fmt::format("{} in the guest: {}", splat_name(splat.kind), line);
    }
    problem.todo = splat.kind == SplatKind::kLockup
                       ? "the whole report is in console.log there, all blocked tasks in hang.txt"
                       : "the whole report is in console.log there";
    const bool boot = booting_;
    problem = keep_evidence(std::move(problem));
    if (boot) {
        problem.what = "the guest did not boot as far as the agent: " + problem.what;
        throw BootFailure(std::move(problem));
    }
    if (splat.kind == SplatKind::kAgentExited) throw AgentGone(std::move(problem));
    if (splat.kind == SplatKind::kLockup) throw GuestHang(std::move(problem));
    throw GuestPanic(std::move(problem));
}

bool Machine::Impl::wait_stopped(Millis limit) {
    const auto deadline = Clock::now() + limit;
    for (;;) {
        {
            const std::lock_guard lock(domain_->state().mutex);
            if (domain_->state().stopped) return true;
        }
        if (Clock::now() >= deadline) return false;
        std::this_thread::sleep_for(kTick);
    }
}

// QEMU is gone or about to go. The cause that the console tells comes first: a panic ends QEMU too.
void Machine::Impl::raise_gone() {
    throw_if_interrupted();
    std::optional<int> detail;
    if (domain_) {
        wait_stopped(kSettle);
        const std::lock_guard lock(domain_->state().mutex);
        detail = domain_->state().stopped;
    }
    poll_console();
    console->finish();
    if (const Splat* splat = first_splat()) raise_splat(*splat);

    Problem problem;
    const bool by_guest = detail == VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN;
    if (!domain_ && stopped_)
        problem.what = "the virtual machine was stopped already";
    else if (by_guest)
        problem.what = "the guest reset or powered off by itself";
    else if (detail == VIR_DOMAIN_EVENT_STOPPED_DESTROYED)
        problem.what = "somebody destroyed the domain " + name;
    else
        problem.what = fmt::format("QEMU (process {}) died: it crashed or was killed", pid);
    problem.excerpt = by_guest ? console->tail(12) : qemu_log_tail();
    problem.todo = by_guest
                       ? "the console's end shows what it did last"
                       : "was it the host's OOM killer (dmesg)? QEMU's last words are in qemu.log";
    problem = keep_evidence(std::move(problem));
    if (booting_ && by_guest) {
        problem.what = "the guest's kernel did not reach the agent: " + problem.what;
        throw BootFailure(std::move(problem));
    }
    throw MachineGone(std::move(problem));
}

std::exception_ptr Machine::Impl::late_splat() {
    try {
        poll_console();
        console->finish();
        settled_ = true;  // the guest is gone: nothing more comes
        if (const Splat* splat = first_splat()) raise_splat(*splat);
    } catch (const Error&) {
        return std::current_exception();
    } catch (const std::system_error&) {  // its log is gone: nothing to learn
    }
    return nullptr;
}

void Machine::Impl::channel_closed() { raise_gone(); }

bool Machine::Impl::paused() {
    check();
    const std::lock_guard lock(domain_->state().mutex);
    return domain_->state().suspended;
}

bool Machine::Impl::dump_hang() {
    constexpr Millis kAnswer{3000};
    std::string dump;
    bool answers = true;
    for (const char* command : kHangQuestions) {
        const auto text = answers ? domain_->hmp_within(command, kAnswer) : std::nullopt;
        answers = text.has_value();
        dump += fmt::format("== {}\n{}\n", command,
                            answers ? *text : "(QEMU's monitor does not answer)");
    }
    if (answers) {
        // The kernel's own view: the command line makes it panic upon an NMI, and print then where
        // each blocked task is. Of a hung task it has printed only the name so far: stacks are
        // below the console's level.
        const std::uint64_t before = console->bytes_seen();
        console->end_report();
        domain_->hmp_within("nmi", kAnswer);
        const auto start = Clock::now();
        while (!wait_stopped(kTick)) {
            poll_console();
            const bool speaks = console->bytes_seen() != before;
            if (Clock::now() - start > (speaks ? kLastWords : 2 * kSettle)) break;
        }
        poll_console();
        dump += (console->bytes_seen() == before)
                    ? "== the kernel printed nothing upon an NMI\n"
                    : "== the console after an NMI\n" + console->tail(ConsoleWatcher::kTailLines);
    }
    report_file("hang.txt", dump);
    return answers;
}

Problem Machine::Impl::describe_hang(std::string what) {
    const bool answers = !domain_ || dump_hang();
    Problem problem;
    problem.what = std::move(what);
    qemu_hangs_ = !answers;
    if (!answers) problem.what += "; QEMU's monitor does not answer either (QEMU itself hangs)";
    problem.excerpt =
        console->splats().empty() ? console->tail(12) : join(console->splats().back().lines, 16);
    problem.todo =
        "registers and the kernel's stack are in hang.txt there; a very slow host needs a "
        "higher liveness limit";
    hang_ = keep_evidence(std::move(problem));
    return *hang_;
}

void Machine::Impl::raise_monitor_silent(const MonitorSilent& silent) {
    if (domain_ && pid != 0 && !process_alive(pid)) raise_gone();
    qemu_hangs_ = true;
    hang_ = keep_evidence(
        {fmt::format("QEMU hangs: its monitor has not answered '{}' for {} s", silent.command,
                     std::chrono::duration<double>(silent.waited).count()),
         {},
         "is the host overloaded, or the process stopped? a very slow host needs a "
         "higher liveness limit",
         qemu_log_tail()});
    throw GuestHang(*hang_);
}

Problem Machine::Impl::keep_evidence(Problem problem) {
    if (!stopped_ || domain_) problem.where = save_logs();
    return problem;
}

}  // namespace vttm::machine
