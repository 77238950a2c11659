// SPDX-License-Identifier: Apache-2.0
#include "guest-driver/libvttm/device.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>

#include <algorithm>
#include <filesystem>
#include <string_view>

#include "guest-driver/libvttm/error.h"
#include "protocol/vttm_regs.h"

namespace vttm::guest {
namespace {

constexpr std::string_view kDriver = "vttm";

std::string driver_name(int fd) {
    char name[64] = {};
    drm_version version = {};
    version.name = name;
    version.name_len = sizeof(name) - 1;
    if (::ioctl(fd, DRM_IOCTL_VERSION, &version) != 0) {
        return {};
    }
    return {name, std::min<std::size_t>(version.name_len, sizeof(name) - 1)};
}

}  // namespace

std::string Device::find_node() {
    const std::filesystem::path directory = "/dev/dri";
    std::vector<std::string> nodes;
    std::error_code none;
    for (const auto& entry : std::filesystem::directory_iterator(directory, none)) {
        if (entry.path().filename().string().starts_with("renderD")) {
            nodes.push_back(entry.path().string());
        }
    }
    std::sort(nodes.begin(), nodes.end());
    for (const std::string& node : nodes) {
        const Fd fd(::open(node.c_str(), O_RDWR | O_CLOEXEC));
        if (fd.valid() && driver_name(fd.get()) == kDriver) {
            return node;
        }
    }
    throw Error(ENODEV,
                fmt::format("no render node of driver {} among {} in {} (is vttm.ko loaded?)",
                            kDriver, nodes.size(), directory.string()));
}

Device::Device(const std::string& path)
    : path_(path), fd_(::open(path.c_str(), O_RDWR | O_CLOEXEC)) {
    if (!fd_.valid()) {
        throw_errno("open " + path);
    }
    const std::string driver = driver_name(fd_.get());
    if (driver != kDriver) {
        throw Error(ENODEV, fmt::format("{} belongs to driver '{}'", path, driver));
    }
    struct stat status = {};
    if (::fstat(fd_.get(), &status) != 0) {
        throw_errno("fstat " + path);
    }
    minor_ = static_cast<int>(::minor(status.st_rdev));
    abi_ = static_cast<std::uint32_t>(param(VTTM_PARAM_ABI));
    if ((abi_ >> 16) != VTTM_ABI_MAJOR) {
        throw Error(EPROTO, fmt::format("{} has ABI {}.{}, this library speaks {}.x", path,
                                        abi_ >> 16, abi_ & 0xffffu, VTTM_ABI_MAJOR));
    }
}

int Device::try_call(unsigned long request, void* argument) const {
    while (::ioctl(fd_.get(), request, argument) != 0) {
        if (errno != EINTR && errno != EAGAIN) {
            return errno;
        }
    }
    return 0;
}

void Device::call(unsigned long request, void* argument, const char* what) const {
    if (const int error = try_call(request, argument); error != 0) {
        throw Error(error, what);
    }
}

std::uint64_t Device::param(std::uint32_t param) const {
    drm_vttm_get_param request = {};
    request.param = param;
    call(DRM_IOCTL_VTTM_GET_PARAM, &request, "GET_PARAM");
    return request.value;
}

Syncobj::Syncobj(const Device& device, bool signaled) : device_(device) {
    drm_syncobj_create request = {};
    request.flags = signaled ? DRM_SYNCOBJ_CREATE_SIGNALED : 0;
    device_.call(DRM_IOCTL_SYNCOBJ_CREATE, &request, "SYNCOBJ_CREATE");
    handle_ = request.handle;
}

Syncobj::~Syncobj() {
    drm_syncobj_destroy request = {};
    request.handle = handle_;
    device_.try_call(DRM_IOCTL_SYNCOBJ_DESTROY, &request);
}

void Syncobj::signal() {
    drm_syncobj_array request = {};
    request.handles = reinterpret_cast<std::uintptr_t>(&handle_);
    request.count_handles = 1;
    device_.call(DRM_IOCTL_SYNCOBJ_SIGNAL, &request, "SYNCOBJ_SIGNAL");
}

bool Syncobj::wait(std::int64_t timeout_ns) const {
    timespec now = {};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    drm_syncobj_wait request = {};
    request.handles = reinterpret_cast<std::uintptr_t>(&handle_);
    request.count_handles = 1;
    request.timeout_nsec = now.tv_sec * 1'000'000'000LL + now.tv_nsec + timeout_ns;
    request.flags = DRM_SYNCOBJ_WAIT_FLAGS_WAIT_FOR_SUBMIT;
    const int error = device_.try_call(DRM_IOCTL_SYNCOBJ_WAIT, &request);
    if (error != 0 && error != ETIME) {
        throw Error(error, "SYNCOBJ_WAIT");
    }
    return error == 0;
}

}  // namespace vttm::guest
