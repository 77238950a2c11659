// SPDX-License-Identifier: Apache-2.0
// Buffers (GEM objects) and their mappings into the CPU's address space.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "guest-driver/libvttm/device.h"

namespace vttm::guest {

// An mmap() of a whole buffer; unmapped when it goes.
class Mapping {
public:
    Mapping() = default;
    Mapping(void* address, std::size_t bytes) : address_(address), bytes_(bytes) {}
    Mapping(Mapping&& other) noexcept;
    Mapping& operator=(Mapping&& other) noexcept;
    ~Mapping() { unmap(); }

    std::byte* data() const { return static_cast<std::byte*>(address_); }
    std::size_t size() const { return bytes_; }
    std::span<std::byte> bytes() const { return {data(), bytes_}; }
    std::span<std::uint32_t> words() const {
        return {static_cast<std::uint32_t*>(address_), bytes_ / sizeof(std::uint32_t)};
    }

private:
    void unmap();

    void* address_ = nullptr;
    std::size_t bytes_ = 0;
};

struct BufferSpec {
    std::uint64_t bytes = 0;
    std::uint32_t domains = VTTM_DOMAIN_GTT;  // VTTM_DOMAIN_*
    std::uint32_t caching = VTTM_CACHING_WB;  // VTTM_CACHING_*
    std::uint32_t tag = 0;                    // label in debugfs
};

// An owned GEM handle. Throws Error.
class Buffer {
public:
    Buffer(const Device& device, const BufferSpec& spec);
    Buffer(Buffer&& other) noexcept;
    Buffer& operator=(Buffer&& other) noexcept;
    ~Buffer() { close(); }

    const Device& device() const { return *device_; }
    std::uint32_t handle() const { return handle_; }
    std::uint64_t size() const { return size_; }  // bytes, rounded up to pages
    std::uint64_t pages() const { return size_ / 4096; }

    Mapping map() const;  // readable and writable, shared
    drm_vttm_gem_info info() const;
    // VTTM_MADV_*; false if the content is gone.
    bool madvise(std::uint32_t madv) const;

private:
    void close();

    const Device* device_ = nullptr;
    std::uint32_t handle_ = 0;
    std::uint64_t size_ = 0;
};

}  // namespace vttm::guest
