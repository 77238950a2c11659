// SPDX-License-Identifier: Apache-2.0
#include "guest-driver/libvttm/agent/machine_actions.h"

#include <fmt/format.h>
#include <sched.h>
#include <signal.h>
#include <sys/reboot.h>
#include <unistd.h>

#include <thread>
#include <vector>

#include "guest-driver/libvttm/error.h"

namespace vttm::guest {
namespace {

constexpr int kAgentExitStatus = 3;

void power_off() {
    ::sync();
    if (::reboot(RB_POWER_OFF) != 0) {
        throw_errno("reboot(RB_POWER_OFF)");
    }
}

[[noreturn]] void spin_on(int cpu) {
    cpu_set_t only;
    CPU_ZERO(&only);
    CPU_SET(cpu, &only);
    ::sched_setaffinity(0, sizeof(only), &only);
    const sched_param top = {.sched_priority = ::sched_get_priority_max(SCHED_FIFO)};
    ::sched_setscheduler(0, SCHED_FIFO, &top);
    for (;;) {
        asm volatile("" ::: "memory");
    }
}

// Each CPU spins above everything else, with all guards against that switched off: nothing of the
// guest's user space runs any more.
[[noreturn]] void hang(const SystemFiles& files) {
    files.try_write("/proc/sys/kernel/sched_rt_runtime_us", "-1");
    const int cpus = static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN));
    for (int cpu = 0; cpu < cpus; ++cpu) {
        files.try_write(fmt::format("/sys/kernel/debug/sched/fair_server/cpu{}/runtime", cpu), "0");
    }
    // The own CPU comes last: once it spins, nothing else gets started on it.
    const int own = ::sched_getcpu();
    for (int cpu = 0; cpu < cpus; ++cpu) {
        if (cpu != own) {
            std::thread(spin_on, cpu).detach();
        }
    }
    spin_on(own);
}

void plant(Fault fault) {
    const SystemFiles files;
    switch (fault) {
        case Fault::kPanic:
            files.write("/proc/sysrq-trigger", "c");
            break;
        case Fault::kOops:
            files.write("/sys/kernel/debug/provoke-crash/DIRECT", "EXCEPTION");
            break;
        case Fault::kHang:
            hang(files);
        case Fault::kAgentExit:
            ::_exit(kAgentExitStatus);
    }
}

}  // namespace

MachineActions real_machine_actions() { return {power_off, plant}; }

}  // namespace vttm::guest
