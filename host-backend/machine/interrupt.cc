// SPDX-License-Identifier: Apache-2.0
#include "host-backend/machine/interrupt.h"

#include <fmt/format.h>
#include <signal.h>
#include <string.h>

#include <array>
#include <atomic>

#include "host-backend/machine/errors.h"

namespace vttm::machine {
namespace {

constexpr std::array kSignals = {SIGINT, SIGTERM, SIGHUP};

// A signal handler can reach nothing but static storage.
std::atomic<int> g_signal{0};
static_assert(std::atomic<int>::is_always_lock_free);
std::array<struct sigaction, kSignals.size()> g_before;

extern "C" void vttm_note_signal(int number) {
    int none = 0;
    g_signal.compare_exchange_strong(none, number, std::memory_order_relaxed);
}

}  // namespace

InterruptGuard::InterruptGuard() {
    struct sigaction action {};
    action.sa_handler = vttm_note_signal;
    sigemptyset(&action.sa_mask);
    action.sa_flags = 0;  // no SA_RESTART: poll() shall return at once
    for (std::size_t i = 0; i < kSignals.size(); ++i) {
        sigaction(kSignals[i], nullptr, &g_before[i]);
        // What the parent had ignored (nohup) stays ignored.
        if (g_before[i].sa_handler != SIG_IGN) sigaction(kSignals[i], &action, nullptr);
    }
}

InterruptGuard::~InterruptGuard() {
    for (std::size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &g_before[i], nullptr);
}

int interrupted() noexcept { return g_signal.load(std::memory_order_relaxed); }

void clear_interrupt() noexcept { g_signal.store(0, std::memory_order_relaxed); }

void throw_if_interrupted() {
    if (const int number = interrupted(); number != 0)
        throw Interrupted({fmt::format("interrupted by {}", ::strsignal(number)), {}, {}, {}});
}

}  // namespace vttm::machine
