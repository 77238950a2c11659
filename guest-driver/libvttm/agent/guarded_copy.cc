// SPDX-License-Identifier: Apache-2.0
#include "guest-driver/libvttm/agent/guarded_copy.h"

#include <setjmp.h>
#include <signal.h>

#include <cstring>

#include "guest-driver/libvttm/error.h"

namespace vttm::guest {
namespace {

// A signal handler reaches nothing but variables of static duration; each thread has its own.
thread_local sigjmp_buf* recovery = nullptr;

void on_bus_error(int signal) {
    if (recovery != nullptr) {
        siglongjmp(*recovery, 1);
    }
    ::signal(signal, SIG_DFL);
    ::raise(signal);
}

}  // namespace

void install_bus_error_handler() {
    struct sigaction action = {};
    action.sa_handler = on_bus_error;
    action.sa_flags = SA_NODEFER;  // so that the jump needs not restore the signal mask
    if (::sigaction(SIGBUS, &action, nullptr) != 0) {
        throw_errno("sigaction SIGBUS");
    }
}

bool guarded_copy(void* dst, const void* src, std::size_t bytes) {
    sigjmp_buf here;
    if (sigsetjmp(here, 0) != 0) {
        recovery = nullptr;
        return false;
    }
    recovery = &here;
    // The compiler knows that memcpy() reads no `recovery`; the signal handler does.
    asm volatile("" ::: "memory");
    std::memcpy(dst, src, bytes);
    asm volatile("" ::: "memory");
    recovery = nullptr;
    return true;
}

}  // namespace vttm::guest
