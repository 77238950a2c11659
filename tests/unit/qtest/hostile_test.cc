// SPDX-License-Identifier: Apache-2.0
// A guest that does what it likes to the device on the bus: QEMU must stay up, answer in time, and
// have a sound device after a reset. The same behind an IOMMU, with the machine saved and brought back
// in the middle of it, and with a device that fails as its host wants. Each round follows from its seed;
// VTTM_QTEST_FUZZ_SEED names the first, VTTM_QTEST_FUZZ_SECONDS how long each kind goes on (4).
#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <optional>
#include <random>
#include <thread>

#include "protocol/vttm_fault.h"
#include "tests/unit/qtest/noise.h"
#include "tests/unit/qtest/snapshots.h"
#include "tests/unit/qtest/vtd.h"

namespace vttm::qtest {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kSteps = 400;
// An access or a word with the monitor is two hops; a step has some twenty.
constexpr int kHops = 20;
constexpr uint64_t kRamSize = 64 * kMiB;

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
    const char* text = std::getenv(name);
    return text && *text ? std::strtoull(text, nullptr, 0) : otherwise;
}

/// The line of QEMU's log that tells of a broken promise, or an empty string.
std::string FindTrouble(const std::string& log) {
    for (const char* sign : {"ssertion", "ERROR:", "abort", "Sanitizer", "runtime error"}) {
        const size_t at = log.find(sign);
        if (at == std::string::npos) continue;
        const size_t begin = log.rfind('\n', at) + 1;  // npos + 1 is 0
        return log.substr(begin, log.find('\n', at) - begin);
    }
    return {};
}

class Hostile : public QtestFixture {
protected:
    Clock::duration QmpTakes() {
        const auto start = Clock::now();
        vm->Qmp("query-status");
        return Clock::now() - start;
    }
};

// What the host does meanwhile.
struct Around {
    const char* name;
    bool iommu = false;
    bool snapshots = false;
    bool faults = false;
};
void PrintTo(const Around& around, std::ostream* os) { *os << around.name; }

class HostileGuest : public Hostile, public ::testing::WithParamInterface<Around> {
protected:
    std::string Plan(uint64_t seed) const {
        return fmt::format(R"({{"seed": {}, "faults": [
            {{"kind": "engine-hang", "engine": "stamp", "probability": 0.01, "count": 0}},
            {{"kind": "irq-lost", "engine": "copy", "probability": 0.2, "count": 0}},
            {{"kind": "irq-spurious", "engine": "copy", "probability": 0.2, "count": 0}},
            {{"kind": "fence-late", "engine": "copy", "packets": 2, "probability": 0.2, "count": 0}},
            {{"kind": "bit-flip", "engine": "copy", "probability": 0.1, "count": 0}},
            {{"kind": "write-reordered", "engine": "copy", "probability": 0.1, "count": 0}},
            {{"kind": "dma-error", "engine": "stamp", "probability": 0.1, "count": 0}},
            {{"kind": "vram-poison", "offset": 4096, "pages": 4}},
            {{"kind": "latency", "engine": "stamp", "us": 500, "probability": 0.05}},
            {{"kind": "device-reset", "engine": "copy", "probability": 0.02, "count": 0}},
            {{"kind": "surprise-removal", "engine": "copy", "probability": 0.005}}]}})",
                           seed);
    }
    /// Before the steps of a round.
    void Begin(uint64_t seed) {
        if (GetParam().iommu) {
            Vtd(*vm).SwitchOn();
            for (unsigned n = 0; n < 8; n++) Vtd(*vm).MapIova(n, (kData + n * 4096) | kVtdReadWrite);
        }
        if (GetParam().faults) vm->SetDeviceProperty("fault-plan", Plan(seed));
    }
    /// Between two of them.
    void Interfere(uint64_t seed, int step) {
        if (step % 97 == 0) vm->SetDeviceProperty("vram-target", (seed + step) % 5 * 2 * kMiB);
        if (GetParam().iommu && step % 31 == 0) {
            Vtd vtd(*vm);
            vtd.MapIova(step % 8, step % 2 ? 0 : (kData + step % 8 * 4096) | kVtdReadWrite);
            if (step % 3 == 0) vtd.Invalidate();
        }
        // A device that was taken away comes back.
        if (GetParam().faults && step % 151 == 150) vm->SetDeviceProperty("fault-plan", Plan(seed + step));
    }
    void SaveOrLoad(Snapshots& snapshots, int step) {
        if (step == kSteps / 4) ASSERT_EQ(snapshots.Save(), "");
        if (step == kSteps / 4 * 3) {
            ASSERT_EQ(snapshots.Load(), "");
            ASSERT_EQ(snapshots.Delete(), "");
        }
        if (step % (kSteps / 4) == 0 && vm->Qmp("query-status")["status"] != "running") vm->Qmp("cont");
    }
};

/// The steps of one round.
class Guest {
public:
    Guest(Vm& vm, uint64_t seed)
        : vm_(vm),
          config_(vm.ExtendedConfig(kSlot)),
          power_(Gpu(vm).Capability(kCapPower)),
          express_(Gpu(vm).Capability(kCapExpress)),
          msix_(Gpu(vm).Capability(kCapMsix)),
          rng_(seed) {}

    void Step() {
        switch (Below(18)) {
            case 0:
            case 1:
            case 2:
                Access(kRegsBase + Register(), Size());
                break;
            case 3:
                Access(kRegsBase + Below(VTTM_REGS_SIZE), Size());
                break;
            case 4:
                Access(kVramBase + (Below(2) ? 8 * kMiB - 1 - Below(16) : Below(8 * kMiB)), Size());
                break;
            case 5:
                Access(kMsixBase + Below(Below(2) ? 64 : 4096), Size());
                break;
            case 6:
                Config();
                break;
            case 7:
                PutTable();
                break;
            case 8:
                vm_.Write32(kRegsBase + VTTM_REG_DEV_CTRL, 1);
                break;
            case 9:
                vm_.Write32(kRegsBase + VTTM_REG_TLB_INV_CMD, static_cast<uint32_t>(rng_()));
                break;
            case 10:
                Power();
                break;
            case 11:
                Messages();
                break;
            default:
                PutPackets();
                break;
        }
    }

private:
    uint64_t Below(uint64_t n) { return rng_() % n; }
    unsigned Size() { return 1u << (Below(4) ? 2 + Below(2) : Below(2)); }

    uint64_t Register() {
        switch (Below(5)) {
            case 0:
                return Below(0x30) * 4;  // up to VRAM_LIMIT
            case 1:
                return VTTM_REG_VM_ROOT_LO(Below(4));
            case 2:
                return VTTM_REG_VM_MODE(Below(4));
            case 3:
                return VTTM_COUNTER_BASE(Below(2)) + Below(0x50);
            default:
                return VTTM_RING_BLOCK(Below(2), Below(VTTM_NUM_RINGS)) + Below(0x14) * 4;
        }
    }
    void Access(uint64_t addr, unsigned size) {
        if (Below(3) == 0)
            vm_.Read(addr, size);
        else
            vm_.Write(addr, Value() & (size == 8 ? ~0ull : (1ull << size * 8) - 1), size);
    }
    /// Numbers, and addresses where a driver must not point.
    uint64_t Value() {
        const uint64_t near = Below(64) * 4096;
        switch (Below(11)) {
            case 0:
                return Below(16);
            case 1:
                return kRegsBase + Below(VTTM_REGS_SIZE);
            case 2:
                return kVramBase + near;
            case 3:
                return kMsixBase;
            case 4:
                return kRamSize - Below(2) * 4096 - Below(64);
            case 5:
                return (kTables + near) | Below(32);
            case 6:
                return 1ull << Below(64);
            case 7:
                return 0xfed00000;  // HPET
            case 8:
                return kIova + near % 0x10000;
            case 9:
                return config_ + Below(0x110);  // for messages, above all
            default:
                return rng_();
        }
    }
    void Config() {
        const unsigned reg = static_cast<unsigned>(Below(3) ? Below(0x40) & ~3u : Below(256) & ~3u);
        if (Below(3) == 0)
            ExtendedConfig();
        else if (Below(4) == 0)
            vm_.Config32(kSlot, reg);
        else
            vm_.SetConfig32(kSlot, reg, static_cast<uint32_t>(Value()));
        // Most rounds would be over here: the device is where it was, most times.
        if (Below(8)) Gpu(vm_).MapBars();
    }
    /// All of it through memory, in accesses of any size; most often what only this way leads to.
    void ExtendedConfig() {
        constexpr uint64_t kRebar = 0x100;
        if (Below(2)) {
            vm_.Write32(config_ + 4, 0);  // it can be changed then only
            vm_.Write32(config_ + kRebar + 8, static_cast<uint32_t>(Below(6)) << 8);
        }
        const uint64_t reg = Below(4) ? kRebar + Below(16) : Below(4096);
        Access(config_ + reg, 1u << Below(3));
    }
    /// Sleeps, wakes, resets the function; works on what is left then.
    void Power() {
        if (Below(2)) vm_.SetConfig32(kSlot, power_ + 4, static_cast<uint32_t>(Below(4)));
        if (Below(2)) vm_.SetConfig32(kSlot, power_ + 4, 0);
        if (Below(4) == 0) vm_.SetConfig32(kSlot, express_ + 8, 1u << 15);
        if (Below(8)) Gpu(vm_).MapBars();
    }
    /// Interrupts on, and their messages anywhere.
    void Messages() {
        vm_.SetConfig32(kSlot, msix_, 1u << 31);
        for (unsigned v = 0; v < VTTM_NUM_VECTORS; v++) {
            vm_.Write64(kMsixBase + 16 * v, Below(2) ? kMessage : Value() & ~3ull);
            vm_.Write64(kMsixBase + 16 * v + 8, static_cast<uint32_t>(Value()));
        }
        vm_.Write32(kRegsBase + VTTM_REG_IRQ_ENABLE, ~0u);
    }
    void PutTable() {
        const uint64_t at = kTables + Below(4) * 4096 + Below(8) * 8;
        vm_.Write64(at, Value() | VTTM_PTE_VALID | (Below(2) ? VTTM_PTE_SYSTEM : 0));
    }
    /// Words of packets, right or wrong, and a doorbell.
    void PutPackets() {
        static constexpr struct {
            uint32_t op, dwords;
        } kKinds[] = {
            {VTTM_OP_NOP, 1},           {VTTM_OP_SET_VM, 2},     {VTTM_OP_FENCE, 5},
            {VTTM_OP_COPY, 7},          {VTTM_OP_FILL, 6},       {VTTM_OP_STAMP_WRITE, 12},
            {VTTM_OP_STAMP_VERIFY, 12}, {VTTM_OP_COPY_2D, 9},    {VTTM_OP_FILL_2D, 7},
            {VTTM_OP_SCATTER, 6},       {VTTM_OP_GATHER, 6},     {VTTM_OP_HASH, 9},
            {VTTM_OP_TIMESTAMP, 3},     {VTTM_OP_SEM_SIGNAL, 5}, {VTTM_OP_SEM_WAIT, 6},
            {VTTM_OP_COND_SKIP, 9},     {VTTM_OP_INDIRECT, 4}};
        const unsigned e = static_cast<unsigned>(Below(2));
        const unsigned r = Below(2) ? 0 : static_cast<unsigned>(Below(VTTM_NUM_RINGS));
        const uint64_t regs = kRegsBase + VTTM_RING_BLOCK(e, r);
        const uint64_t ring = kRing + e * 0x10000 + r * kRingSize;
        uint32_t& tail = tail_[e][r];
        if (r) {
            vm_.Write32(regs + VTTM_ENG_CTRL, VTTM_ENG_CTRL_RING_RESET);
            vm_.Write64(regs + VTTM_ENG_RING_BASE_LO, ring);
            vm_.Write32(regs + VTTM_ENG_RING_SIZE, kRingSize);
            vm_.Write32(regs + VTTM_ENG_PRIORITY, static_cast<uint32_t>(Below(5)));
            vm_.Write32(regs + VTTM_ENG_CTRL, VTTM_ENG_CTRL_ENABLE);
            tail = 0;
        }
        std::vector<uint32_t> words;
        for (uint64_t n = 1 + Below(3); n; n--) {
            const auto& kind = kKinds[Below(std::size(kKinds))];
            words.push_back(VTTM_PKT_HDR(kind.op, Below(Below(4) ? 16 : 256), kind.dwords));
            for (uint32_t i = 1; i < kind.dwords; i += 2) {
                const uint64_t v = Value();
                words.push_back(Lo(v));
                if (i + 1 < kind.dwords) words.push_back(Hi(v));
            }
        }
        for (uint32_t word : words) {
            vm_.Write32(ring + tail, word);
            tail = (tail + 4) % kRingSize;
        }
        vm_.Write32(regs + VTTM_ENG_TAIL, tail);
        if (Below(4) == 0) {
            vm_.Write32(kRegsBase + VTTM_ENGINE_BASE(e) + VTTM_ENG_CTRL, 3);
            for (uint32_t& t : tail_[e]) t = 0;
        }
    }

    Vm& vm_;
    const uint64_t config_;
    const unsigned power_, express_, msix_;
    std::mt19937_64 rng_;
    uint32_t tail_[VTTM_NUM_ENGINES][VTTM_NUM_RINGS] = {};
};

TEST_P(HostileGuest, QemuStaysUpAndAnswers) {
    const uint64_t first = FromEnvironment("VTTM_QTEST_FUZZ_SEED", 1);
    const auto end =
        Clock::now() + std::chrono::seconds(FromEnvironment("VTTM_QTEST_FUZZ_SECONDS", 4));
    VmOptions options{.witness = true};
    if (GetParam().iommu) Vtd::AddTo(options);
    Start(options);
    std::optional<Snapshots> snapshots;
    if (GetParam().snapshots) snapshots.emplace(*vm);
    // Where each access is a matter of two threads, the noise counts for each.
    const auto quiet = GetParam().iommu ? 4 * kQuietAnswer : kQuietAnswer;
    Noise noise;
    Clock::duration slowest{0};
    uint64_t seed = first;
    for (; seed == first || Clock::now() < end; seed++) {
        SCOPED_TRACE(fmt::format("VTTM_QTEST_FUZZ_SEED={}", seed));
        Begin(seed);
        Guest guest(*vm, seed);
        for (int step = 0; step < kSteps; step++) {
            // The guest's own accesses wait for the main loop's lock, as QMP does.
            noise.Take();
            const auto start = Clock::now();
            guest.Step();
            Interfere(seed, step);
            if (step % 50 == 0) QmpTakes();
            const Clock::duration took = Clock::now() - start;
            ASSERT_LT(took, AnswerLimit(quiet, noise, kHops)) << "at step " << step;
            slowest = std::max(slowest, took);
            if (snapshots) ASSERT_NO_FATAL_FAILURE(SaveOrLoad(*snapshots, step)) << "at step " << step;
        }
        ASSERT_TRUE(vm->process().Running()) << vm->process().Log();
        if (GetParam().faults) vm->SetDeviceProperty("fault-plan", "");
        SystemReset();
        BringUp();
        ASSERT_EQ(gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_VRAM, 0, 64, Lo(seed))}), 0u);
        ASSERT_EQ(vm->Read32(kVramBase), Lo(seed));
        ASSERT_EQ(
            gpu->Run(VTTM_ENGINE_STAMP, {StampWrite(VTTM_SPACE_SYSTEM, kData, 1,
                                                    {.key = 1, .buffer = 1, .generation = 1})}),
            0u);
        ASSERT_EQ(gpu->Reg(VTTM_REG_BAD_ACCESS), 0u);
        ASSERT_EQ(FindTrouble(vm->process().Log()), "");
    }
    RecordProperty("rounds", static_cast<int>(seed - first));
    RecordProperty("slowest_answer_ms", static_cast<int>(slowest / std::chrono::milliseconds(1)));
    EXPECT_EQ(vm->Quit(), 0);
}

INSTANTIATE_TEST_SUITE_P(Beside, HostileGuest,
                         ::testing::Values(Around{.name = "Nothing"}, Around{.name = "AnIommu", .iommu = true},
                                           Around{.name = "Snapshots", .snapshots = true},
                                           Around{.name = "SnapshotsAndAnIommu", .iommu = true, .snapshots = true},
                                           Around{.name = "Faults", .faults = true}),
                         [](const auto& info) { return info.param.name; });

// A guest like that one reaches what it has to reach: the resizable BAR, the messages, the power states.
TEST_F(Hostile, TheGuestGetsEverywhere) {
    TempDir traces;
    Start({.more = {"-trace", "vttm_vram_resize", "-trace", "vttm_power_state", "-trace", "vttm_reset", "-trace",
                    "vttm_dma_refused", "-trace", "vttm_irq_deliver", "-D", traces.File("trace")}});
    for (uint64_t seed = 1; seed <= 10; seed++) {
        Guest guest(*vm, seed);
        for (int step = 0; step < kSteps; step++) guest.Step();
        SystemReset();
        BringUp();
    }
    std::ifstream file(traces.File("trace"));
    const std::string log{std::istreambuf_iterator<char>(file), {}};
    for (const char* event : {"vttm_vram_resize", "vttm_power_state D0 to D3", "vttm_power_state D3 to D0", "vttm_reset",
                              "vttm_dma_refused", "vttm_irq_deliver"})
        EXPECT_NE(log.find(event), log.npos) << event;
}

// Whether the test above could see what it looks for: a QEMU that stands still, and its last words.
TEST_F(Hostile, PlantedStandstillIsSeen) {
    StartCold();
    constexpr auto kStill = 2 * kQuietAnswer;
    Noise noise;
    ASSERT_LT(QmpTakes(), AnswerLimit(kQuietAnswer, noise));
    vm->process().Signal(SIGSTOP);
    std::thread later([&] {
        std::this_thread::sleep_for(kStill);
        vm->process().Signal(SIGCONT);
    });
    noise.Take();
    const Clock::duration took = QmpTakes();
    EXPECT_GE(took, kStill - std::chrono::milliseconds(50));
    EXPECT_GE(took, AnswerLimit(kQuietAnswer, noise, 0)) << "noise apart";
    later.join();
}

TEST(HostileLog, PlantedTroubleIsFound) {
    EXPECT_EQ(FindTrouble(""), "");
    EXPECT_EQ(FindTrouble("warning: Blocked re-entrant IO\nterminating on signal 15\n"), "");
    for (const char* line :
         {"qemu-system-x86_64: ../src/hw/pci/msix.c:1: msix_notify: Assertion `x' failed.",
          "ERROR:../src/hw/vttm/vttm.c:1:f: assertion failed: (x)",
          "**: qemu_mutex_lock: Invalid argument, abort", "==1==ERROR: AddressSanitizer: heap-use"})
        EXPECT_EQ(FindTrouble(fmt::format("first\n{}\nlast\n", line)), line);
}

// A flood of the commands that cost the most, with both TLBs in use, does not keep QEMU from
// answering.
TEST_F(Hostile, FloodOfInvalidations) {
    Start();
    const std::vector<Packet> busy(20, Fill(VTTM_SPACE_VRAM, 0, 8 * kMiB, 1));
    gpu->Submit(VTTM_ENGINE_COPY, busy);
    gpu->SetReg64(VTTM_REG_TLB_INV_START_LO, 0);
    gpu->SetReg(VTTM_REG_TLB_INV_PAGES, ~0u);
    Noise noise;
    for (uint32_t i = 0; i < 3000; i++) {
        gpu->SetReg(VTTM_REG_TLB_INV_CMD, VTTM_TLB_INV_CMD(i % 3, i % 256));
        if (i % 500) continue;
        noise.Take();
        const Clock::duration took = QmpTakes();
        EXPECT_LT(took, AnswerLimit(kQuietAnswer, noise));
    }
    const auto end = Clock::now() + kPatience;
    while (gpu->Reg(VTTM_REG_TLB_INV_DONE) != 3000) ASSERT_LT(Clock::now(), end);
}

// An interrupt whose message goes to the device's own registers: a write from within the device,
// which QEMU blocks. The reset that it asks for does not come.
TEST_F(Hostile, MessageToOwnRegisters) {
    Start();
    const uint64_t entry = kMsixBase + VTTM_MSIX_ERROR * 16;
    vm->Write32(entry, Lo(kRegsBase + VTTM_REG_DEV_CTRL));
    vm->Write32(entry + 4, 0);
    vm->Write32(entry + 8, VTTM_DEV_CTRL_RESET);
    gpu->SetReg(VTTM_REG_IRQ_ENABLE, VTTM_IRQ_ERROR);
    for (int i = 0; i < 20; i++) {
        ASSERT_EQ(gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_VRAM, 8 * kMiB, 4, 0)}),
                  static_cast<uint32_t>(VTTM_FAULT_VRAM_RANGE));
        gpu->ClearFault();
    }
    QmpTakes();  // behind the bottom half
    EXPECT_EQ(gpu->Reg(VTTM_REG_IRQ_ENABLE), VTTM_IRQ_ERROR) << "the device was reset by itself";
    EXPECT_EQ(FindTrouble(vm->process().Log()), "");
}

// What the device reads and writes by itself, put into its own BARs: none of it is reached.
class OwnBars : public QtestFixture, public ::testing::WithParamInterface<uint64_t> {};

TEST_P(OwnBars, HoldNothingThatTheDeviceUses) {
    const uint64_t at = GetParam();
    Start();
    const auto bus = static_cast<uint32_t>(VTTM_FAULT_BUS);
    const uint64_t magic = vm->Read64(at);
    // A fence; the next one tells.
    ASSERT_EQ(gpu->Run(VTTM_ENGINE_COPY, {MakePacket(VTTM_OP_FENCE, 0, {Lo(at), Hi(at), 7, 0})}),
              bus);
    EXPECT_EQ(gpu->Reg64(VTTM_REG_FAULT_ADDR_LO), at);
    gpu->ClearFault();
    // A page table and a page.
    gpu->SetReg64(VTTM_REG_VM_ROOT_LO(2), at | VTTM_PTE_SYSTEM | VTTM_PTE_VALID);
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {SetVm(2), Fill(VTTM_SPACE_VM, 0, 4, 1)}), bus);
    gpu->MapPages({at | VTTM_PTE_SYSTEM | VTTM_PTE_WRITE | VTTM_PTE_VALID});
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {SetVm(1), Fill(VTTM_SPACE_VM, 0, 4, 1)}), bus);
    // The fault ring.
    gpu->SetReg64(VTTM_REG_FAULT_RING_BASE_LO, at);
    gpu->SetReg(VTTM_REG_FAULT_RING_SIZE, VTTM_FAULT_RING_MIN_SIZE);
    gpu->SetReg(VTTM_REG_FAULT_RING_CTRL, VTTM_FAULT_RING_CTRL_ENABLE);
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_SYSTEM, at, 4, 1)}), bus);
    EXPECT_EQ(gpu->Reg(VTTM_REG_FAULT_RING_PUT), 0u);
    EXPECT_EQ(gpu->Reg(VTTM_REG_FAULT_RING_LOST), 1u);
    // A ring.
    const uint32_t engine = VTTM_ENGINE_BASE(VTTM_ENGINE_STAMP);
    gpu->SetReg(engine + VTTM_ENG_CTRL, 0);
    gpu->SetReg64(engine + VTTM_ENG_RING_BASE_LO, at);
    gpu->SetReg(engine + VTTM_ENG_CTRL, VTTM_ENG_CTRL_ENABLE);
    gpu->SetReg(engine + VTTM_ENG_TAIL, 64);
    const auto end = Clock::now() + kPatience;
    while (!(gpu->Reg(engine + VTTM_ENG_STATUS) & VTTM_ENG_STATUS_HALTED))
        ASSERT_LT(Clock::now(), end) << "the engine takes packets from there";
    EXPECT_EQ(vm->Read64(at), magic) << "and nothing was written";
    EXPECT_EQ(FindTrouble(vm->process().Log()), "");
}

INSTANTIATE_TEST_SUITE_P(Where, OwnBars,
                         ::testing::Values(kVramBase, kMsixBase, kRegsBase + 0xf000));

}  // namespace
}  // namespace vttm::qtest
