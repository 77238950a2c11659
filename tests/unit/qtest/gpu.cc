// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/qtest/gpu.h"

#include <fstream>
#include <thread>

namespace vttm::qtest {

namespace {

constexpr unsigned kCommand = 0x04;
constexpr unsigned kBar0 = 0x10;
constexpr uint32_t kCommandMemory = 1u << 1;
constexpr uint32_t kCommandMaster = 1u << 2;
constexpr uint32_t kMsixEnable = 1u << 31;
constexpr uint64_t kMsixEntrySize = 16;

template <typename Condition>
bool WaitFor(std::chrono::milliseconds timeout, Condition condition) {
    const auto end = std::chrono::steady_clock::now() + timeout;
    while (!condition()) {
        if (std::chrono::steady_clock::now() > end) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
}

Packet Stamp(uint32_t opcode, uint32_t space, uint64_t addr, uint32_t npages,
             const vttm_stamp_id& first, uint64_t result) {
    const uint32_t flags = VTTM_PKT_DST(space) | VTTM_PKT_SRC(VTTM_SPACE_SYSTEM);
    return MakePacket(opcode, flags,
                      {Lo(addr), Hi(addr), npages, first.buffer, first.generation, Lo(first.page),
                       Hi(first.page), Lo(first.key), Hi(first.key), Lo(result), Hi(result)});
}

}  // namespace

Packet MakePacket(uint32_t opcode, uint32_t flags, std::initializer_list<uint32_t> operands) {
    Packet packet{VTTM_PKT_HDR(opcode, flags, operands.size() + 1)};
    packet.insert(packet.end(), operands);
    return packet;
}

Packet Fill(uint32_t space, uint64_t addr, uint64_t len, uint32_t value) {
    return MakePacket(VTTM_OP_FILL, VTTM_PKT_DST(space),
                      {Lo(addr), Hi(addr), Lo(len), Hi(len), value});
}

Packet Copy(uint32_t dst_space, uint64_t dst, uint32_t src_space, uint64_t src, uint64_t len) {
    return MakePacket(VTTM_OP_COPY, VTTM_PKT_DST(dst_space) | VTTM_PKT_SRC(src_space),
                      {Lo(dst), Hi(dst), Lo(src), Hi(src), Lo(len), Hi(len)});
}

Packet SetVm(uint32_t vm) { return MakePacket(VTTM_OP_SET_VM, 0, {vm}); }

Packet StampWrite(uint32_t space, uint64_t addr, uint32_t npages, const vttm_stamp_id& first) {
    return Stamp(VTTM_OP_STAMP_WRITE, space, addr, npages, first, 0);
}

Packet StampVerify(uint32_t space, uint64_t addr, uint32_t npages, const vttm_stamp_id& first) {
    return Stamp(VTTM_OP_STAMP_VERIFY, space, addr, npages, first, kResult);
}

void Gpu::MapBars() {
    vm_.SetConfig32(kSlot, kBar0 + 4 * VTTM_BAR_REGS, Lo(kRegsBase));
    vm_.SetConfig32(kSlot, kBar0 + 4 * VTTM_BAR_VRAM, Lo(kVramBase));
    vm_.SetConfig32(kSlot, kBar0 + 4 * VTTM_BAR_VRAM + 4, Hi(kVramBase));
    vm_.SetConfig32(kSlot, kBar0 + 4 * VTTM_BAR_MSIX, Lo(kMsixBase));
    vm_.SetConfig32(kSlot, kCommand, kCommandMemory | kCommandMaster);
    for (unsigned e = 0; e < VTTM_NUM_ENGINES; e++) tail_[e] = 0;
}

void Gpu::SetBusMaster(bool on) {
    vm_.SetConfig32(kSlot, kCommand, kCommandMemory | (on ? kCommandMaster : 0));
}

unsigned Gpu::Capability(unsigned id) {
    constexpr int kMost = 48;  // a device that is gone reads as an endless list
    unsigned cap = vm_.Config32(kSlot, 0x34) & 0xfc;
    for (int i = 0; cap && i < kMost; i++) {
        const uint32_t header = vm_.Config32(kSlot, cap);
        if ((header & 0xff) == id) return cap;
        cap = (header >> 8) & 0xfc;
    }
    return 0;
}

void Gpu::EnableMsix() {
    for (uint32_t v = 0; v < VTTM_NUM_VECTORS; v++) {
        const uint64_t entry = kMsixBase + v * kMsixEntrySize;
        vm_.Write32(entry, Lo(kMessage + 16 * v));
        vm_.Write32(entry + 4, Hi(kMessage + 16 * v));
        vm_.Write32(entry + 8, kMessageData + v);
        vm_.Write32(entry + 12, 0);
    }
    const unsigned cap = Capability(kCapMsix);
    if (!cap) throw QemuError("no MSI-X capability");
    vm_.SetConfig32(kSlot, cap, kMsixEnable);
}

void Gpu::MaskVector(unsigned vector, bool masked) {
    vm_.Write32(kMsixBase + vector * kMsixEntrySize + 12, masked);
}

bool Gpu::VectorPending(unsigned vector) {
    const unsigned cap = Capability(kCapMsix);
    const uint64_t pba = kMsixBase + (vm_.Config32(kSlot, cap + 8) & ~7u);
    return vm_.Read64(pba) >> vector & 1;
}

bool Gpu::WaitMessage(unsigned vector, std::chrono::milliseconds timeout) {
    const uint64_t at = kMessage + 16 * vector;
    if (!WaitFor(timeout, [&] { return vm_.Read32(at) == kMessageData + vector; })) return false;
    vm_.Write32(at, 0);
    return true;
}

void Gpu::StartEngine(unsigned engine) {
    const uint32_t base = VTTM_ENGINE_BASE(engine);
    SetReg64(base + VTTM_ENG_RING_BASE_LO, kRing + engine * 0x10000);
    SetReg(base + VTTM_ENG_RING_SIZE, kRingSize);
    SetReg(base + VTTM_ENG_CTRL, VTTM_ENG_CTRL_ENABLE);
}

void Gpu::MapPages(const std::vector<uint64_t>& entries) {
    if (entries.size() > VTTM_PT_ENTRIES) throw QemuError("one table of leaves only");
    const auto table = [](unsigned level) { return kTables + level * VTTM_PAGE_SIZE; };
    for (unsigned level = 3; level > 0; level--) {
        vm_.Write64(table(level), table(level - 1) | VTTM_PTE_SYSTEM | VTTM_PTE_VALID);
    }
    for (size_t i = 0; i < entries.size(); i++) vm_.Write64(table(0) + 8 * i, entries[i]);
    SetReg64(VTTM_REG_VM_ROOT_LO(1), table(3) | VTTM_PTE_SYSTEM | VTTM_PTE_VALID);
}

uint64_t Gpu::Submit(unsigned engine, const std::vector<Packet>& packets, uint32_t fence_flags) {
    const uint64_t fence = kFence + 64 * engine;
    std::vector<uint32_t> words;
    seq_++;
    for (const Packet& packet : packets) words.insert(words.end(), packet.begin(), packet.end());
    const Packet end =
        MakePacket(VTTM_OP_FENCE, fence_flags, {Lo(fence), Hi(fence), Lo(seq_), Hi(seq_)});
    words.insert(words.end(), end.begin(), end.end());

    const uint64_t ring = kRing + engine * 0x10000;
    for (uint32_t word : words) {
        vm_.Write32(ring + tail_[engine], word);
        tail_[engine] = (tail_[engine] + 4) % kRingSize;
    }
    SetReg(VTTM_ENGINE_BASE(engine) + VTTM_ENG_TAIL, tail_[engine]);
    return seq_;
}

bool Gpu::WaitFence(unsigned engine, uint64_t seq, std::chrono::milliseconds timeout) {
    return WaitFor(timeout, [&] { return vm_.Read64(kFence + 64 * engine) == seq; });
}

uint32_t Gpu::Run(unsigned engine, const std::vector<Packet>& packets) {
    const uint64_t seq = Submit(engine, packets);
    if (!WaitFence(engine, seq)) throw QemuError("the fence does not come");
    return vm_.Read32(kFence + 64 * engine + offsetof(vttm_fence_value, status));
}

void QtestBase::SetUp() {
    if (!std::filesystem::exists(QemuPath())) {
        GTEST_SKIP() << "no QEMU to test at " << QemuPath()
                     << " (./vttm build makes it; VTTM_QEMU names another)";
    }
}

void QtestFixture::StartCold(const VmOptions& options) {
    gpu.reset();
    vm = std::make_unique<Vm>(options);
    gpu = std::make_unique<Gpu>(*vm);
}

void QtestFixture::Start(const VmOptions& options) {
    StartCold(options);
    BringUp();
}

void QtestFixture::BringUp() {
    gpu->MapBars();
    gpu->EnableMsix();
    for (unsigned e = 0; e < VTTM_NUM_ENGINES; e++) gpu->StartEngine(e);
}

void QtestFixture::KeepBusy() {
    gpu->Submit(VTTM_ENGINE_COPY,
                std::vector<Packet>(20, Fill(VTTM_SPACE_VRAM, 0, 8 * kMiB, 1)));
    gpu->Submit(VTTM_ENGINE_STAMP,
                std::vector<Packet>(
                    20, StampWrite(VTTM_SPACE_SYSTEM, 8 * kMiB, 4096,
                                   {.key = 1, .page = 0, .buffer = 1, .generation = 1})));
}

void QtestFixture::SystemReset() {
    vm->Qmp("system_reset");
    vm->Event("RESET");
}

std::vector<uint8_t> QtestFixture::VramFile(uint64_t offset, size_t size) const {
    std::vector<uint8_t> bytes(size);
    std::ifstream file(vm->vram_path(), std::ios::binary);
    file.seekg(offset);
    file.read(reinterpret_cast<char*>(bytes.data()), size);
    return bytes;
}

void QtestFixture::SetVramFile(uint64_t offset, const std::vector<uint8_t>& bytes) const {
    std::fstream file(vm->vram_path(), std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(offset);
    file.write(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

}  // namespace vttm::qtest
