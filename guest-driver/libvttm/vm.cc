// SPDX-License-Identifier: Apache-2.0
#include "guest-driver/libvttm/vm.h"

#include <fmt/format.h>

#include <iterator>
#include <stdexcept>
#include <utility>

#include "guest-driver/libvttm/error.h"

namespace vttm::guest {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kBig = 64 * 1024;
constexpr std::uint64_t kHuge = 2ull << 20;

constexpr std::uint64_t align_up(std::uint64_t value, std::uint64_t to) {
    return (value + to - 1) / to * to;
}

}  // namespace

VaAllocator::VaAllocator(std::uint64_t first, std::uint64_t end) {
    free_.emplace(first, end - first);
}

std::uint64_t VaAllocator::allocate(std::uint64_t bytes) {
    if (bytes == 0 || bytes > kEnd) {
        throw Error(ENOSPC, fmt::format("no address range of {} bytes", bytes));
    }
    const std::uint64_t need = align_up(bytes, kPage) + kPage;
    const std::uint64_t alignment = bytes >= kHuge ? kHuge : bytes >= kBig ? kBig : kPage;
    for (auto it = free_.begin(); it != free_.end(); ++it) {
        const auto [start, length] = *it;
        const std::uint64_t va = align_up(start, alignment);
        if (va - start > length || length - (va - start) < need) {
            continue;
        }
        const std::uint64_t tail = length - (va - start) - need;
        free_.erase(it);
        if (va != start) {
            free_.emplace(start, va - start);
        }
        if (tail != 0) {
            free_.emplace(va + need, tail);
        }
        used_.emplace(va, need);
        return va;
    }
    throw Error(ENOSPC, fmt::format("no address range of {} bytes", bytes));
}

void VaAllocator::release(std::uint64_t va) {
    const auto used = used_.find(va);
    if (used == used_.end()) {
        throw std::logic_error(fmt::format("address {:#x} is not allocated", va));
    }
    auto [start, length] = *used;
    used_.erase(used);
    auto next = free_.upper_bound(start);
    if (next != free_.end() && next->first == start + length) {
        length += next->second;
        next = free_.erase(next);
    }
    if (next != free_.begin()) {
        const auto before = std::prev(next);
        if (before->first + before->second == start) {
            before->second += length;
            return;
        }
    }
    free_.emplace(start, length);
}

Binding::Binding(Binding&& other) noexcept
    : vm_(std::exchange(other.vm_, nullptr)), va_(std::exchange(other.va_, 0)) {}

Binding& Binding::operator=(Binding&& other) noexcept {
    if (this != &other) {
        unbind();
        vm_ = std::exchange(other.vm_, nullptr);
        va_ = std::exchange(other.va_, 0);
    }
    return *this;
}

void Binding::unbind() {
    if (vm_ != nullptr) {
        // An address whose unmapping failed stays reserved: it must not be given out again.
        if (vm_->try_unmap(va_) == 0) {
            vm_->addresses_.release(va_);
        }
        vm_ = nullptr;
        va_ = 0;
    }
}

Binding Vm::bind(const Buffer& buffer, std::uint32_t flags) {
    const std::uint64_t va = addresses_.allocate(buffer.size());
    if (const int error = try_map(buffer.handle(), va, flags); error != 0) {
        addresses_.release(va);
        throw Error(error, fmt::format("VM_BIND of {} bytes at {:#x}", buffer.size(), va));
    }
    return {this, va};
}

int Vm::try_map(std::uint32_t handle, std::uint64_t va, std::uint32_t flags) const {
    drm_vttm_vm_bind request = {};
    request.op = VTTM_BIND_MAP;
    request.handle = handle;
    request.va = va;
    request.flags = flags;
    return device_.try_call(DRM_IOCTL_VTTM_VM_BIND, &request);
}

int Vm::try_unmap(std::uint64_t va) const {
    drm_vttm_vm_bind request = {};
    request.op = VTTM_BIND_UNMAP;
    request.va = va;
    return device_.try_call(DRM_IOCTL_VTTM_VM_BIND, &request);
}

}  // namespace vttm::guest
