// SPDX-License-Identifier: Apache-2.0
#include "guest-driver/libvttm/buffer.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <utility>

#include "guest-driver/libvttm/error.h"

namespace vttm::guest {

Mapping::Mapping(Mapping&& other) noexcept
    : address_(std::exchange(other.address_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
    if (this != &other) {
        unmap();
        address_ = std::exchange(other.address_, nullptr);
        bytes_ = std::exchange(other.bytes_, 0);
    }
    return *this;
}

void Mapping::unmap() {
    if (address_ != nullptr) {
        ::munmap(address_, bytes_);
        address_ = nullptr;
    }
}

Buffer::Buffer(const Device& device, const BufferSpec& spec) : device_(&device) {
    drm_vttm_gem_create request = {};
    request.size = spec.bytes;
    request.domains = spec.domains;
    request.caching = spec.caching;
    request.tag = spec.tag;
    if (const int error = device.try_call(DRM_IOCTL_VTTM_GEM_CREATE, &request); error != 0) {
        throw Error(error, fmt::format("GEM_CREATE of {} bytes (tag {})", spec.bytes, spec.tag));
    }
    handle_ = request.handle;
    size_ = request.size;
}

Buffer::Buffer(Buffer&& other) noexcept
    : device_(other.device_), handle_(std::exchange(other.handle_, 0)), size_(other.size_) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
    if (this != &other) {
        close();
        device_ = other.device_;
        handle_ = std::exchange(other.handle_, 0);
        size_ = other.size_;
    }
    return *this;
}

void Buffer::close() {
    if (handle_ != 0) {
        drm_gem_close request = {};
        request.handle = std::exchange(handle_, 0);
        device_->try_call(DRM_IOCTL_GEM_CLOSE, &request);
    }
}

Mapping Buffer::map() const {
    drm_vttm_gem_mmap request = {};
    request.handle = handle_;
    device_->call(DRM_IOCTL_VTTM_GEM_MMAP, &request, "GEM_MMAP");
    void* address = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, device_->fd(),
                           static_cast<off_t>(request.offset));
    if (address == MAP_FAILED) {
        throw_errno(fmt::format("mmap of {} bytes of handle {}", size_, handle_));
    }
    return {address, size_};
}

drm_vttm_gem_info Buffer::info() const {
    drm_vttm_gem_info request = {};
    request.handle = handle_;
    device_->call(DRM_IOCTL_VTTM_GEM_INFO, &request, "GEM_INFO");
    return request;
}

bool Buffer::madvise(std::uint32_t madv) const {
    drm_vttm_gem_madvise request = {};
    request.handle = handle_;
    request.madv = madv;
    device_->call(DRM_IOCTL_VTTM_GEM_MADVISE, &request, "GEM_MADVISE");
    return request.retained != 0;
}

}  // namespace vttm::guest
