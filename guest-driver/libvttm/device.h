// SPDX-License-Identifier: Apache-2.0
// One open file of the vttm render node: a GPU address space of its own.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "guest-driver/libvttm/fd.h"
#include "guest-driver/uapi/vttm_drm.h"

namespace vttm::guest {

// Everything made from a Device refers to it and must not outlive it, so a Device does not move.
class Device {
public:
    // Opens `path`. Throws Error: ENODEV if it is no vttm node, EPROTO if the device's ABI major
    // is not the one this library was built for.
    explicit Device(const std::string& path);
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;

    // The first render node whose driver is `vttm`. Throws Error with ENODEV if there is none.
    static Device open() { return Device(find_node()); }
    static std::string find_node();

    int fd() const { return fd_.get(); }
    const std::string& path() const { return path_; }
    int minor() const { return minor_; }  // of the render node, e.g. 128

    // VTTM_PARAM_*. Throws Error.
    std::uint64_t param(std::uint32_t param) const;
    std::uint64_t vram_bytes() const { return param(VTTM_PARAM_VRAM_SIZE); }
    std::uint64_t gtt_bytes() const { return param(VTTM_PARAM_GTT_SIZE); }
    std::uint32_t abi() const { return abi_; }

    // ioctl() restarted on EINTR: 0, or the errno. For tests of errors; see call().
    int try_call(unsigned long request, void* argument) const;
    // The same, but throws Error(`what`).
    void call(unsigned long request, void* argument, const char* what) const;

private:
    std::string path_;
    Fd fd_;
    int minor_ = -1;
    std::uint32_t abi_ = 0;
};

// A binary DRM sync object.
class Syncobj {
public:
    explicit Syncobj(const Device& device, bool signaled = false);
    Syncobj(const Syncobj&) = delete;
    Syncobj& operator=(const Syncobj&) = delete;
    ~Syncobj();

    std::uint32_t handle() const { return handle_; }
    void signal();
    // True once signalled; false if not within `timeout_ns` (or never submitted). Throws Error.
    bool wait(std::int64_t timeout_ns) const;

private:
    const Device& device_;
    std::uint32_t handle_ = 0;
};

}  // namespace vttm::guest
