// SPDX-License-Identifier: Apache-2.0
// The GPU address space of a device file: who lies where, and the binding of buffers to it.
#pragma once

#include <cstdint>
#include <map>

#include "guest-driver/libvttm/buffer.h"

namespace vttm::guest {

// First-fit allocator of address ranges. Ranges of 2 MiB and more start at a multiple of 2 MiB,
// those of 64 KiB and more at one of 64 KiB, so that large leaves can map them; and an unused page follows
// each range, so that running over an end faults.
class VaAllocator {
public:
    static constexpr std::uint64_t kFirst = 64 * 1024;
    static constexpr std::uint64_t kEnd = 1ull << 47;

    VaAllocator(std::uint64_t first = kFirst, std::uint64_t end = kEnd);

    // The start of a free range of `bytes` (> 0, rounded up to pages). Throws Error with ENOSPC.
    std::uint64_t allocate(std::uint64_t bytes);
    // Gives back what allocate() returned. Throws std::logic_error for any other address.
    void release(std::uint64_t va);

private:
    std::map<std::uint64_t, std::uint64_t> free_;  // start -> bytes, never adjacent
    std::map<std::uint64_t, std::uint64_t> used_;
};

class Vm;

// A buffer bound in a Vm; unbound when it goes. Must not outlive its Vm.
class Binding {
public:
    Binding() = default;
    Binding(Binding&& other) noexcept;
    Binding& operator=(Binding&& other) noexcept;
    ~Binding() { unbind(); }

    std::uint64_t va() const { return va_; }
    void unbind();

private:
    friend class Vm;
    Binding(Vm* vm, std::uint64_t va) : vm_(vm), va_(va) {}

    Vm* vm_ = nullptr;
    std::uint64_t va_ = 0;
};

class Vm {
public:
    explicit Vm(const Device& device) : device_(device) {}
    Vm(const Vm&) = delete;
    Vm& operator=(const Vm&) = delete;

    // Binds the whole of `buffer` at a free address. `flags`: VTTM_BIND_READ_ONLY or 0.
    Binding bind(const Buffer& buffer, std::uint32_t flags = 0);

    // The plain ioctl at an address of the caller's choice: 0 or the errno.
    int try_map(std::uint32_t handle, std::uint64_t va, std::uint32_t flags = 0) const;
    int try_unmap(std::uint64_t va) const;

private:
    friend class Binding;

    const Device& device_;
    VaAllocator addresses_;
};

}  // namespace vttm::guest
