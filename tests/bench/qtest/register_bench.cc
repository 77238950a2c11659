// SPDX-License-Identifier: Apache-2.0
// What a 4-byte register read costs a guest's CPU: vttm beside QEMU's own device `edu`, in one
// machine, in turns. The CPU (TCG) runs a loop of reads that the benchmark starts through memory.
// Compared is CPU time of the QEMU process; with --demand the program ends with 9 if vttm takes more
// than 1.05 times what edu takes.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <thread>

#include "protocol/vttm_regs.h"
#include "tests/bench/demands.h"
#include "tests/bench/paired.h"
#include "tests/unit/qtest/vm.h"

namespace vttm::qtest {
namespace {

constexpr uint64_t kVttm = 0xe0000000, kEdu = 0xe0200000;
constexpr unsigned kVttmSlot = 4, kEduSlot = 5;
constexpr uint32_t kReads = 500000;

// Cells that start the loop: how many reads (0 when done), and of which address.
constexpr uint64_t kCount = 0x7000, kAddress = 0x7004;
constexpr uint64_t kGdtRegister = 0x7100, kGdt = 0x7110, kRealMode = 0x8000, kProtected = 0x8020;

// Real mode: lgdt [0x7100]; set CR0.PE; jump to 0x8020 with 32 bits.
constexpr uint8_t kEnter[] = {0xfa, 0x0f, 0x01, 0x16, 0x00, 0x71, 0x0f, 0x20, 0xc0, 0x0c,
                              0x01, 0x0f, 0x22, 0xc0, 0xea, 0x20, 0x80, 0x08, 0x00};
constexpr uint8_t kGdtr[] = {0x17, 0x00, 0x10, 0x71, 0x00, 0x00};
// Flat code and data.
constexpr uint8_t kSegments[] = {0, 0,    0,    0, 0,    0,    0, 0, 0xff, 0xff, 0,    0,
                                 0, 0x9a, 0xcf, 0, 0xff, 0xff, 0, 0, 0,    0x92, 0xcf, 0};
constexpr uint8_t kLoop[] = {
    0x66, 0xb8, 0x10, 0x00,                                      // mov ax, 16
    0x8e, 0xd8,                                                  // mov ds, ax
    0x8b, 0x0d, 0x00, 0x70, 0x00, 0x00,                          // 1: mov ecx, [count]
    0x85, 0xc9,                                                  // test ecx, ecx
    0x74, 0xf6,                                                  // jz 1b
    0x8b, 0x15, 0x04, 0x70, 0x00, 0x00,                          // mov edx, [address]
    0x8b, 0x02,                                                  // 2: mov eax, [edx]
    0x49,                                                        // dec ecx
    0x75, 0xfb,                                                  // jnz 2b
    0xc7, 0x05, 0x00, 0x70, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,  // mov dword [count], 0
    0xeb, 0xdf,                                                  // jmp 1b
};

class Machine {
public:
    Machine() {
        // Firmware that only jumps to where the program is.
        std::string firmware(65536, '\xf4');
        firmware.replace(0xfff0, 5, std::string("\xea\x00\x80\x00\x00", 5));
        std::ofstream(dir_.File("bios"), std::ios::binary) << firmware;
        vm_ = std::make_unique<Vm>(
            VmOptions{.accel = "tcg",
                      .more = {"-bios", dir_.File("bios"), "-S", "-device", "edu,addr=05.0",
                               "-pidfile", dir_.File("pid")}});
        place(kVttmSlot, kVttm);
        place(kEduSlot, kEdu);
        vm_->WriteBytes(kGdtRegister, kGdtr);
        vm_->WriteBytes(kGdt, kSegments);
        vm_->WriteBytes(kRealMode, kEnter);
        vm_->WriteBytes(kProtected, kLoop);
        if (vm_->Read32(kVttm) != VTTM_MAGIC) throw QemuError("vttm is not where it should be");
        if ((vm_->Read32(kEdu) & 0xff) != 0xed) throw QemuError("edu is not where it should be");
        vm_->Qmp("cont");
        read(kVttm);
        read(kEdu);
    }

    // kReads reads of @addr. What else counts is the same for all: QEMU's main loop that answers, and
    // the guest's CPU, which spins from its end to the next look.
    void read(uint64_t addr) {
        vm_->Write32(kAddress, static_cast<uint32_t>(addr));
        const auto start = std::chrono::steady_clock::now();
        vm_->Write32(kCount, kReads);
        while (vm_->Read32(kCount)) {
            const auto gone = std::chrono::steady_clock::now() - start;
            if (gone > std::chrono::seconds(60)) throw QemuError("the guest's loop does not end");
            std::this_thread::sleep_for(std::chrono::microseconds(500));
        }
    }
    clockid_t cpu_clock() {
        pid_t pid = 0;
        clockid_t clock;
        std::ifstream(dir_.File("pid")) >> pid;
        if (pid <= 0 || clock_getcpuclockid(pid, &clock)) throw QemuError("no CPU clock of QEMU");
        return clock;
    }

private:
    void place(unsigned slot, uint64_t base) {
        vm_->SetConfig32(slot, 0x10, static_cast<uint32_t>(base));
        vm_->SetConfig32(slot, 0x04, 2);
    }

    TempDir dir_;
    std::unique_ptr<Vm> vm_;
};

Machine& machine() {
    static Machine m;
    return m;
}

bench::Demands& demands() {
    // In reads per time of edu's. The 5 % are what the median of 41 pairs may miss by: see
    // docs/benchmarks.md for its scatter.
    static bench::Demands all({{"register read (CPU)", 1 / 1.05}});
    return all;
}

void BM_register_read(benchmark::State& state) {
    Machine& m = machine();
    const clockid_t clock = m.cpu_clock();
    bench::Pairs pairs;
    for (auto _ : state) {
        const auto spent =
            pairs.run([&] { m.read(kVttm); }, [&] { m.read(kEdu); }, clock);
        state.SetIterationTime(spent.cpu);
    }
    state.counters["ns_per_read"] = pairs.work_seconds() / kReads * 1e9;
    state.counters["ns_edu"] = pairs.bound_seconds() / kReads * 1e9;
    state.counters["vttm_to_edu"] = 1 / pairs.ratio();
    state.counters["least"] = 1 / pairs.most();
    state.counters["most"] = 1 / pairs.least();
    state.counters["wall"] = 1 / pairs.wall();
    demands().measured("register read (CPU)", pairs.ratio());
}

BENCHMARK(BM_register_read)->UseManualTime()->Iterations(41)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace vttm::qtest

int main(int argc, char** argv) {
    vttm::qtest::demands().parse(argc, argv);
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
    if (!std::filesystem::exists(vttm::qtest::QemuPath())) {
        std::fprintf(stderr, "no QEMU at %s: ./vttm build makes it\n",
                     vttm::qtest::QemuPath().c_str());
        return 1;
    }
    benchmark::RunSpecifiedBenchmarks();
    return vttm::qtest::demands().status();
}
