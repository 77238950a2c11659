// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/independent/ring.h"

#include <fmt/format.h>

#include <stdexcept>

namespace vttm::independent {

Ring::Ring(Device& device, unsigned engine, unsigned ring, uint32_t bytes)
    : device_(device),
      block_(VTTM_RING_BLOCK(engine, ring)),
      bytes_(bytes),
      base_(device.AllocSystem(bytes)),
      fence_at_(device.AllocSystem(VTTM_PAGE_SIZE)) {}

void Ring::Enable() {
    device_.Wr64(block_ + VTTM_ENG_RING_BASE_LO, base_);
    Wr(VTTM_ENG_RING_SIZE, bytes_);
    Wr(VTTM_ENG_CTRL, VTTM_ENG_CTRL_ENABLE);
    tail_ = 0;
}

uint32_t Ring::Free() { return (Rd(VTTM_ENG_HEAD) - tail_ - 4) & (bytes_ - 1); }

void Ring::Put(const Program& program) {
    if (program.bytes() > bytes_ - 4) throw std::invalid_argument("more than the ring holds");
    if (!Poll([&] { return Free() >= program.bytes(); }))
        throw std::runtime_error("the ring stays full");
    const auto bytes = std::as_bytes(std::span(program.dwords()));
    const std::span<const uint8_t> all(reinterpret_cast<const uint8_t*>(bytes.data()),
                                       bytes.size());
    const size_t first = std::min<size_t>(all.size(), bytes_ - tail_);
    device_.Write(System(base_ + tail_), all.first(first));
    device_.Write(System(base_), all.subspan(first));  // wraps in the middle of a packet, too
    tail_ = (tail_ + program.bytes()) & (bytes_ - 1);
}

void Ring::Kick() { Wr(VTTM_ENG_TAIL, tail_); }

uint64_t Ring::Fence(bool irq) {
    Submit(Program().Fence(fence_at_, ++seq_, irq));
    return seq_;
}

bool Ring::Done(uint64_t seq) {
    return static_cast<int64_t>(device_.Read64(System(fence_at_)) - seq) >= 0;
}

bool Ring::WaitFence(uint64_t seq, int milliseconds) {
    return Poll([&] { return Done(seq); }, milliseconds);
}

uint32_t Ring::Run(const Program& program) {
    Put(program);
    const uint64_t seq = Fence();
    if (!WaitFence(seq)) {
        throw std::runtime_error(
            fmt::format("fence {} does not come: status {:#x}, head {:#x}, tail {:#x}", seq,
                        Rd(VTTM_ENG_STATUS), Rd(VTTM_ENG_HEAD), tail_));
    }
    return device_.ReadAs<vttm_fence_value>(System(fence_at_)).status;
}

bool Ring::WaitStatus(uint32_t bit) {
    return Poll([&] { return (Rd(VTTM_ENG_STATUS) & bit) == bit; });
}

bool Ring::WaitIdle() { return WaitStatus(VTTM_ENG_STATUS_IDLE); }

bool Ring::Reset(uint32_t bit, bool enable) {
    Wr(VTTM_ENG_CTRL, bit | (enable ? VTTM_ENG_CTRL_ENABLE : 0));
    tail_ = 0;
    return Poll([&] { return !(Rd(VTTM_ENG_STATUS) & VTTM_ENG_STATUS_RESETTING); }, 1000);
}

}  // namespace vttm::independent
